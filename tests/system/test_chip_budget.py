"""What the firmware needs of its chip (bench/chip, in QEMU): 128 KB of flash, 32 KB of RAM. Counted, not timed."""

import os
import pathlib
import subprocess

import pytest

from cardwire_lab import ROOT, json_lines
from chip_lab import chip

BENCH = pathlib.Path(os.environ.get("CARDWIRE_PROGRAMS") or ROOT / "build" / "bin").parent / "bench"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uses(lab):
    device = lab.folder / "budget-line"
    process = chip(lab, lab.subfolder("budget"), device, "--icount", "0")
    done = subprocess.run([str(BENCH / "chip"), f"t1:{device}"], capture_output=True, text=True, check=False,
                          timeout=280)
    process.stop()
    rows = json_lines(done.stdout)
    print(done.stdout, done.stderr)
    assert len(rows) == 3 * 2 * 2, done.stderr  # each profile and key, full and resumed
    return rows


def test_flash(uses):
    assert all(0 < u["flash"] <= 131072 for u in uses)


def test_ram(uses):
    """Static, deepest heap and deepest stack together."""
    assert all(0 < u["ram"] <= 32768 for u in uses)


def test_instructions(uses):
    """A tick of the chip is 40 instructions. RSA and P-256 are what a login costs; a resumed one without ECDHE
    has neither."""
    cost = {(u["profile"], u["key"], u["login"]): u["ticks"] * 40 for u in uses}
    assert all(v > 100_000 for v in cost.values())
    for profile in ("ecdhe", "rsa"):
        assert cost[profile, "p256", "resumed"] < cost[profile, "p256", "full"] / 20
