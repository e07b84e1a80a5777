"""The card's code as instructions: which are ours, and what each could be made to do wrong. From the
disassembly that binutils gives of an image made by tests/glitch/build."""

import dataclasses
import functools
import pathlib
import re
import struct
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = ("/base/", "/proto/", "/card/", "/tests/glitch/")
# Called by the library at each allocation, some thousand times in a command, and decides nothing.
NOT_TRIED = ("/card/pool.c",)
REGISTERS = [f"r{i}" for i in range(13)] + ["sp", "lr", "pc"]
ALIASES = {"sb": "r9", "sl": "r10", "fp": "r11", "ip": "r12"}
CONDITIONS = ("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")

HEAD = re.compile(r"^([0-9a-f]+) <(.+)>:$")
PLACE = re.compile(r"^(/.+):(\d+)(?: \(discriminator \d+\))?$")
CODE = re.compile(r"^ +([0-9a-f]+):\t([0-9a-f]{4})(?: ([0-9a-f]{4}))? *\t(\S+)(?:\t(.*))?$")


@dataclasses.dataclass(frozen=True)
class Instruction:
    address: int
    size: int
    mnemonic: str
    operands: str
    function: str
    place: str  # file:line, of the innermost function that was inlined here
    ours: bool

    def __str__(self):
        return f"{self.function} {self.place} {self.address:x}: {self.mnemonic} {self.operands}"

    @functools.cached_property
    def name(self):
        return self.mnemonic.split(".")[0]

    @functools.cached_property
    def it_count(self):
        """Of an IT: how many instructions stand under it; else 0."""
        return len(self.name) - 1 if re.fullmatch(r"it[te]{0,3}", self.name) else 0

    @functools.cached_property
    def branch(self):
        """The target of a conditional branch, or None."""
        if self.name in ("cbz", "cbnz"):
            return int(self.operands.split(",")[1].split()[0], 16)
        if self.name[0] == "b" and self.name[1:] in CONDITIONS:
            return int(self.operands.split()[0], 16)
        return None

    @functools.cached_property
    def calls(self):
        return self.name in ("bl", "blx")

    @functools.cached_property
    def loaded(self):
        """[(number of a register, greatest value)] that a load fills; a return address is none."""
        operands = self.operands.split("@")[0].split(";")[0]
        stem = re.sub("(" + "|".join(CONDITIONS) + ")$", "", self.name) if self.name not in (
            "ldrsb", "ldrsh") else self.name
        if stem in ("pop", "ldmia", "ldm", "ldmdb", "ldmfd"):
            names = re.findall(r"[a-z0-9]+", operands[operands.index("{"):])
            top = 0xFFFFFFFF
        elif stem in ("ldr", "ldrb", "ldrh", "ldrd", "ldrsb", "ldrsh"):
            names = [o.strip() for o in operands.split("[")[0].split(",")[:2 if stem == "ldrd" else 1]]
            if "[" not in operands:
                names = [operands.split(",")[0].strip()]
            top = {"ldrb": 0xFF, "ldrh": 0xFFFF}.get(stem, 0xFFFFFFFF)
        else:
            return []
        numbers = [REGISTERS.index(ALIASES.get(n, n)) for n in names if n]
        return [(n, top) for n in numbers if n < 13]


class Image:
    def __init__(self, elf):
        self.elf = pathlib.Path(elf)
        self.segments = list(self._segments())
        self.symbols = {}
        for line in self._tool("nm", "-S").splitlines():
            parts = line.split()
            if len(parts) >= 3:
                size = int(parts[1], 16) if len(parts) == 4 else 0
                self.symbols[parts[-1]] = int(parts[0], 16), size
        self.code = {}
        self._disassemble()
        self.after_call = {i.address + i.size for i in self.code.values() if i.calls}

    def _tool(self, name, *arguments):
        done = subprocess.run([f"arm-none-eabi-{name}", *arguments, str(self.elf)], check=True,
                              capture_output=True, text=True)
        return done.stdout

    def _segments(self):
        """(address, bytes) of what is loaded."""
        data = self.elf.read_bytes()
        offset, size, count = (struct.unpack_from("<I", data, 28)[0],
                               *struct.unpack_from("<HH", data, 42))
        for i in range(count):
            kind, at, address, _, length = struct.unpack_from("<5I", data, offset + i * size)
            if kind == 1:
                yield address, data[at:at + length]

    def _disassemble(self):
        function, place, ours = "", "", False
        for line in self._tool("objdump", "-d", "-l").splitlines():
            if m := CODE.match(line):
                address = int(m[1], 16)
                self.code[address] = Instruction(address, 4 if m[3] else 2, m[4], m[5] or "", function,
                                                 place, ours)
            elif m := PLACE.match(line):
                ours = any(f"{ROOT}{part}" in m[1] for part in OURS) and not m[1].endswith(NOT_TRIED)
                place = f"{m[1].removeprefix(str(ROOT) + '/')}:{m[2]}"
            elif m := HEAD.match(line):
                function, place, ours = m[2], "", False

    def address(self, name):
        return self.symbols[name][0]
