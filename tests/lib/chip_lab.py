"""Cards that are firmware on a microcontroller in QEMU (scripts/chip), each at the end of a serial line."""

import os
import struct
import subprocess
import sys
import types

import pytest

from cardwire_lab import ROOT, wait_for
from rawcard import RawCard, tlv
from t1 import T1Reader

sys.path.insert(0, str(ROOT / "tests" / "replay"))

from readers import Carried  # noqa: E402

BOARDS = {"an385": "m3", "an505": "m33"}


def image(board):
    path = ROOT / "build-chip" / f"cardwire-{BOARDS[board]}.elf"
    if not path.exists():
        pytest.skip("the firmware is not built")  # pytest called by hand; ./test builds it
    return path


def chip(lab, folder, device, *options, board="an385"):
    """A chip with its memory in `folder` and its line at `device`; stop() ends it."""
    process = lab.start("chip", [ROOT / "scripts" / "chip", "--state", folder, "--t1", device, "--image",
                                 image(board), "--board", board, *options])
    wait_for("the chip's line", lambda: os.path.exists(device), process)
    return process


def insert_chip(lab, pcscd, folder, board, *options):
    """A chip in a reader of the PC/SC daemon; stop() takes it out."""
    line = lab.subfolder(f"chip-{board}") / "line"
    chip(lab, folder, line, *options, board=board)
    card = lab.start("share", [lab.program("cardwire"), "--reader", f"t1:{line}", "share", "--vpcd",
                               f"127.0.0.1:{pcscd.port}"])
    pcscd.notice(lab, [card])
    return card


def symbols(board):
    """{name: address} of the image."""
    done = subprocess.run(["arm-none-eabi-nm", image(board)], capture_output=True, text=True, check=True)
    return {row[2].removesuffix(".lto_priv.0"): int(row[0], 16) for row in (line.split() for line in done.stdout.splitlines()) if len(row) == 3}


def stats(transceive, anew=False):
    """What the chip tells of its own use, docs/firmware.md."""
    answer = transceive(bytes([0x80, 0xFE, anew, 0, 0]))
    assert answer[-2:] == b"\x90\x00", answer.hex()
    found = tlv(answer[:-2])
    (flash, flash_window), (static, ram_window), (stack, stack_size) = (struct.unpack(">II", found[tag])
                                                                         for tag in (0x81, 0x82, 0x83))
    rate, ticks = struct.unpack(">IQ", found[0x84])
    return types.SimpleNamespace(flash=flash, flash_window=flash_window, static=static, ram_window=ram_window,
                                 stack=stack, stack_size=stack_size, rate=rate, ticks=ticks)


class ChipCard(RawCard):
    """rawcard's terminal at a chip (ChipReader), which is the caller's to stop."""

    def __init__(self, reader):  # pylint: disable=super-init-not-called
        self.reader, self.net, self.log = reader, None, []

    def reset(self):
        self.reader.reset()

    def raw(self, apdu):
        answer = self.reader.transceive(apdu)
        self.log.append((apdu, answer))
        return answer[:-2], struct.unpack(">H", answer[-2:])[0]


class ChipLine(Carried):
    """Chips, one after the other, through reader/ (t1:DEVICE)."""

    def __init__(self, lab, board, build):
        super().__init__(lambda folder, device: chip(lab, folder, device,
                                                     *(["--contactless"] if self.contactless else []), board=board),
                         lab.subfolder(board), build)


class ChipReader(T1Reader):
    """Chips, one after the other, at the end of T=1 as tests/lib/t1.py speaks it; what tests/replay wants of a
    reader."""

    def __init__(self, lab, board, *options, folder=None):
        self.lab, self.board, self.options, self.folder = lab, board, options, folder
        self.process = None
        self.line = lab.subfolder(f"chip-{board}") / "line"
        self.start()
        super().__init__(self.line)

    def start(self):
        self.stop()
        self.folder = self.folder or self.lab.subfolder(f"memory-{self.board}")
        self.process = chip(self.lab, self.folder, self.line, *self.options, board=self.board)

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def close(self):
        super().close()
        if self.process and self.process.poll() is not None:
            raise AssertionError(f"the chip is gone: {self.process.tail()}")

    def blank(self):
        self.close()
        self.folder = None
        self.start()
        self.open()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        super().close()
        self.stop()
