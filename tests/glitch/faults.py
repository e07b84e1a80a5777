"""What one glitch can do to one instruction, and the run through a command that tries each of them.

    skip   the instruction is not carried out; of an IT: those under it are, whatever the condition
    flip   a conditional branch goes the other way; of an IT: the conditions are inverted
    load   what was loaded into a register is 0, or all ones
    value  what a function returns is 0, or all ones
    bits   one bit of the instruction's code is another, for this once
"""

import struct

from machine import REGISTER, Crashed

KINDS = ("skip", "flip", "load", "value", "bits")
ALL_ONES = 0xFFFFFFFF
NOP = {2: b"\x00\xbf", 4: b"\xaf\xf3\x00\x80"}


def inverted_it(code):
    """An IT whose conditions are all the other ones (ARM DDI 0403E §A7.3.2)."""
    mask = code & 0xF
    end = mask & -mask
    above = 0xF & ~(end | (end - 1))
    return code ^ 0x10 ^ above


def moved(register, value, size):
    """MOV of a constant, as long as what it stands for."""
    if size == 2:
        return struct.pack("<H", 0x2000 | register << 8 | value)
    return struct.pack("<HH", 0xF04F, register << 8 | value)


class Point:
    """The machine stands before `instruction`; what can go wrong with it, each as a function that carries it
    out and says where it leads."""

    def __init__(self, machine, instruction, returned):
        self.machine, self.instruction, self.returned = machine, instruction, returned

    def _set(self, register, value):
        self.machine.uc.reg_write(REGISTER[register], value)

    def _loaded(self, register, value):
        to = self.machine.step(self.instruction.address)
        self._set(register, value)
        return to

    def _value(self, value):
        self._set(0, value)
        return self.instruction.address

    def _flip(self):
        i, machine = self.instruction, self.machine
        if i.it_count:
            code = struct.unpack("<H", machine.read(i.address, 2))[0]
            return machine.step_patched(i.address, i.address, struct.pack("<H", inverted_it(code)))
        to = machine.step(i.address)
        return i.branch if to != i.branch else i.address + i.size

    def _patched(self, address, data):
        return self.machine.step_patched(self.instruction.address, address, data)

    def faults(self, kinds):
        """[(kind, detail, function)]"""
        i = self.instruction
        block = [i]
        for _ in range(i.it_count):
            block.append(self.machine.image.code[block[-1].address + block[-1].size])
        under = block[1:]
        if "skip" in kinds:
            yield "skip", str(i), lambda: i.address + i.size
            for one in under:
                yield "skip", str(one), lambda one=one: self._patched(one.address, NOP[one.size])
        if "flip" in kinds and (i.branch or i.it_count):
            yield "flip", str(i), self._flip
        if "load" in kinds:
            for register, top in i.loaded:
                for value in (0, top):
                    yield ("load", f"{i} -> r{register}={value:x}",
                           lambda register=register, value=value: self._loaded(register, value))
            for one in under:
                for register, _ in one.loaded:
                    for value in (0, 0xFF):
                        yield ("load", f"{one} -> r{register}={value:x}",
                               lambda one=one, code=moved(register, value, one.size):
                               self._patched(one.address, code))
        if "value" in kinds and self.returned:
            for value in (0, ALL_ONES):
                yield "value", f"{i} <- r0={value:x}", lambda value=value: self._value(value)
        if "bits" in kinds:
            for one in block:
                code = int.from_bytes(self.machine.read(one.address, one.size), "little")
                for bit in range(8 * one.size):
                    data = (code ^ 1 << bit).to_bytes(one.size, "little")
                    yield ("bits", f"{one} ^ bit {bit}",
                           lambda one=one, data=data: self._patched(one.address, data))


def walk(machine, pc, wanted=lambda address: True):
    """Runs a command instruction by instruction; yields (Point, State) before each that is ours and wanted."""
    returned = False
    while pc != machine.done:
        instruction = machine.image.code.get(pc)
        if instruction is None:
            raise Crashed(f"no code at {pc:x}")
        if not instruction.ours:
            pc = machine.through_library(pc)
            returned = pc in machine.image.after_call
            continue
        if wanted(pc):
            state = machine.save(pc)
            yield Point(machine, instruction, returned), state
            machine.restore(state)
        to = machine.step(pc)
        returned = to != pc + instruction.size and to in machine.image.after_call
        pc = to
