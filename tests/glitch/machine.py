"""A Cortex-M3 that can be stopped before any instruction, copied, and made to go wrong: Unicorn with the
card's image in it."""

import dataclasses
import hashlib

import unicorn
from unicorn import arm_const as arm

import p256
from image import Image

RAM, RAM_SIZE = 0x20000000, 256 * 1024
CODE_SIZE = 512 * 1024
FLASH, FLASH_SIZE, PAGE = 0x08000000, 32 * 1024, 2048
REGISTER = [getattr(arm, f"UC_ARM_REG_R{i}") for i in range(13)]
PC, SP, LR = arm.UC_ARM_REG_PC, arm.UC_ARM_REG_SP, arm.UC_ARM_REG_LR
BREAK = b"\x00\xbe"  # BKPT
NOWHERE = 0xE0000000
# Instructions. Unicorn counts always, or throws away what it has translated at each change.
PLENTY = 50_000_000


class Crashed(Exception):
    """A fault of the processor: on a chip, a reset."""


class Endless(Exception):
    """More instructions than a card could mean: on a chip, the watchdog."""


@dataclasses.dataclass(frozen=True)
class State:
    registers: object
    ram: bytes
    flash: bytes
    pc: int


def glitch_program(machine, offset, data, length, _):
    new = machine.read(data, length)
    old = machine.read(FLASH + offset, length)
    machine.write(FLASH + offset, bytes(a & b for a, b in zip(old, new)))
    return 0


def glitch_erase(machine, page, *_):
    machine.write(FLASH + page * PAGE, b"\xff" * PAGE)
    return 0


class Machine:
    def __init__(self, image: Image):
        self.image = image
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M3)
        self.uc.mem_map(0, CODE_SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        self.uc.mem_map(FLASH, FLASH_SIZE, unicorn.UC_PROT_READ)
        self.uc.mem_write(FLASH, b"\xff" * FLASH_SIZE)
        self.uc.mem_map(RAM, RAM_SIZE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        for address, data in image.segments:
            self.uc.mem_write(address, data)
        self.used = image.address("end") - RAM  # of RAM: data, and below a stack at its top
        self.stack = 16 * 1024
        self.done = image.address("glitch_done") & ~1
        self.command, _ = image.symbols["glitch_command"]
        self.response, _ = image.symbols["glitch_response"]
        self.entries = self._called_back()
        self.cold = bytes(self.uc.mem_read(RAM, self.used))
        self.keys_made = 0
        for function in (*p256.FUNCTIONS, glitch_program, glitch_erase):
            at = image.address(function.__name__) & ~1
            self.uc.hook_add(unicorn.UC_HOOK_CODE, self._on_host, function, at, at)

    # --- what the host does --------------------------------------------------------------------------------------

    def _on_host(self, uc, address, size, function):
        arguments = [uc.reg_read(REGISTER[i]) for i in range(4)]
        try:
            value = function(self, *arguments)
        except unicorn.UcError:  # pointers to nowhere
            uc.reg_write(PC, NOWHERE)
            return
        uc.reg_write(REGISTER[0], value)
        uc.reg_write(PC, uc.reg_read(LR))

    def read(self, address, length):
        return bytes(self.uc.mem_read(address, length))

    def write(self, address, data):
        self.uc.mem_write(address, data)

    def random(self):
        self.keys_made += 1
        return hashlib.sha256(b"%d" % self.keys_made).digest()

    def _called_back(self):
        """Where the library may come back into what is ours: the begin of each function of ours."""
        starts, last = [], None
        for instruction in self.image.code.values():
            if instruction.function != last and instruction.ours:
                starts.append(instruction.address)
            last = instruction.function
        return starts

    # --- memory -----------------------------------------------------------------------------------

    def save(self, pc):
        low = bytes(self.uc.mem_read(RAM, self.used))
        high = bytes(self.uc.mem_read(RAM + RAM_SIZE - self.stack, self.stack))
        return State(self.uc.context_save(), low + high, self.memory(), pc)

    def restore(self, state):
        self.uc.mem_write(RAM, state.ram[:self.used])
        self.uc.mem_write(RAM + RAM_SIZE - self.stack, state.ram[self.used:])
        self.uc.mem_write(FLASH, state.flash)
        self.uc.context_restore(state.registers)

    # --- running ----------------------------------------------------------------------------------

    def enter(self, name, argument=0):
        """Stands before the first instruction of a function; the address."""
        self.uc.reg_write(SP, RAM + RAM_SIZE - 16)
        self.uc.reg_write(LR, self.done | 1)
        self.uc.reg_write(REGISTER[0], argument)
        return self.image.address(name) & ~1

    def run(self, pc, limit=PLENTY):
        """To the end of the function that was entered; its value."""
        try:
            self.uc.emu_start(pc | 1, self.done, count=limit)
        except unicorn.UcError as e:
            raise Crashed(str(e)) from None
        if self.uc.reg_read(PC) != self.done:
            raise Endless
        return self.uc.reg_read(REGISTER[0])

    def call(self, name, argument=0, limit=PLENTY):
        return self.run(self.enter(name, argument), limit)

    def step(self, pc):
        """One instruction, an IT with those under it; where it leads."""
        try:
            self.uc.emu_start(pc | 1, self.done, count=1)
        except unicorn.UcError as e:
            raise Crashed(str(e)) from None
        return self.uc.reg_read(PC) & ~1

    def patch(self, address, data):
        self.uc.mem_write(address, data)
        self.uc.ctl_remove_cache(address, address + len(data))

    def step_patched(self, pc, address, data):
        """The same with other bytes at `address` for this once."""
        old = bytes(self.uc.mem_read(address, len(data)))
        self.patch(address, data)
        try:
            return self.step(pc)
        finally:
            self.patch(address, old)

    def through_library(self, pc):
        """From an instruction that is not ours to the next that is."""
        stops = set(self.entries) | {self.uc.reg_read(LR) & ~1, self.done}
        old = {a: bytes(self.uc.mem_read(a, 2)) for a in stops}
        for address in stops:
            self.patch(address, BREAK)
        try:
            self.uc.emu_start(pc | 1, 0, count=PLENTY)
        except unicorn.UcError as e:
            if self.uc.reg_read(PC) & ~1 not in stops:
                raise Crashed(str(e)) from None
        finally:
            for address, data in old.items():
                self.patch(address, data)
        return self.uc.reg_read(PC) & ~1

    def apdu(self, command, limit=PLENTY):
        """(data, status word) of one command, run without a fault."""
        return self.answer(self.run(self.begin(command), limit))

    def begin(self, command):
        """Stands before the first instruction of a command; the address."""
        self.uc.mem_write(self.command, command)
        return self.enter("glitch_process", len(command))

    def answer(self, length):
        size = self.image.symbols["glitch_response"][1]
        data = bytes(self.uc.mem_read(self.response, min(length, size)))
        return data[:-2], int.from_bytes(data[-2:], "big") if len(data) >= 2 else 0

    def memory(self):
        """The card's flash."""
        return self.read(FLASH, FLASH_SIZE)

    def power(self, contactless=False):
        """Off, whatever it was at, and on: only what is in flash stays."""
        self.uc.mem_write(RAM, self.cold)
        if self.call("glitch_power", int(contactless)) != 0:
            raise Crashed("the card does not start")
