"""What the firmware needs of its chip (bench/chip, in QEMU): 128 KB of flash, 32 KB of RAM. Counted, not timed."""

import os
import pathlib
import subprocess

import pytest

from cardwire_lab import ROOT, json_lines
from chip_lab import BOARDS, chip

BENCH = pathlib.Path(os.environ.get("CARDWIRE_PROGRAMS") or ROOT / "build" / "bin").parent / "bench"
FLASH, RAM = 131072, 32768
TICK = {"an385": 40, "an505": 50}  # instructions, of 1 ns each (--icount 0)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=BOARDS)
def uses(lab, request):
    board = request.param
    device = lab.folder / f"line-{board}"
    process = chip(lab, lab.subfolder(f"budget-{board}"), device, "--icount", "0", board=board)
    done = subprocess.run([str(BENCH / "chip"), f"t1:{device}"], capture_output=True, text=True, check=False,
                          timeout=600)
    process.stop()
    rows = json_lines(done.stdout)
    print(done.stdout, done.stderr)
    assert len(rows) == 3 * 2 * 2, done.stderr  # each profile and key, full and resumed
    for row in rows:
        row["instructions"] = row["ticks"] * TICK[board]
    if os.environ.get("CARDWIRE_BUDGET"):  # ./test prints it
        first = ", ".join(f"{r['profile']} {r['key']} {r['instructions'] / 1e6:.0f}" for r in rows
                          if r["login"] == "full")
        with open(os.environ["CARDWIRE_BUDGET"], "a", encoding="ascii") as f:
            f.write(f"firmware {board}: flash {rows[0]['flash']} of {FLASH}, RAM {max(r['ram'] for r in rows)} of {RAM}; "
                    f"million instructions of a first login: {first}\n")
    return rows


def test_flash(uses):
    assert all(0 < u["flash"] <= FLASH for u in uses)


def test_ram(uses):
    """Static, deepest heap and deepest stack together."""
    assert all(0 < u["ram"] <= RAM for u in uses)


def test_instructions(uses):
    """RSA and P-256 are what a login costs; a resumed one without ECDHE has neither."""
    cost = {(u["profile"], u["key"], u["login"]): u["instructions"] for u in uses}
    assert all(v > 100_000 for v in cost.values())
    for profile in ("ecdhe", "rsa"):
        assert cost[profile, "p256", "resumed"] < cost[profile, "p256", "full"] / 20
