"""Cards that are firmware on a microcontroller in QEMU (scripts/chip), each at the end of a serial line."""

import os

import pytest

from cardwire_lab import ROOT, wait_for

BOARDS = {"an385": "m3", "an505": "m33"}


def image(board):
    path = ROOT / "build-chip" / f"cardwire-{BOARDS[board]}.elf"
    if not path.exists():
        pytest.skip("the firmware is not built")  # pytest called by hand; ./test builds it
    return path


def chip(lab, folder, device, *options, board="an385"):
    """A chip with its memory in `folder` and its line at `device`; stop() ends it."""
    process = lab.start("chip", [ROOT / "scripts" / "chip", "--state", folder, "--link", device, "--image",
                                 image(board), "--board", board, *options])
    wait_for("the chip's line", lambda: os.path.islink(device), process)
    return process
