"""What README.md tells people to type does work, line by line, in a folder of its own."""

import os
import pathlib
import re
import subprocess

from cardwire_lab import ROOT

PROGRAMS = pathlib.Path(os.environ.get("CARDWIRE_PROGRAMS") or ROOT / "build" / "bin")


def test_own_bank_and_card_step_by_step(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    assert len(blocks) == 3  # the bank, the card and what they do; the card as a chip; the end of it
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "bin").symlink_to(PROGRAMS)
    (tmp_path / "scripts").mkdir()
    for name in ("build", "chip"):
        script = tmp_path / "scripts" / name
        script.write_text(f'#!/bin/sh\nexec "{ROOT}/scripts/{name}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith("CARDWIRE")}
    # `set -m` as in a person's shell
    done = subprocess.run(["bash", "-c", "set -em\n" + "".join(blocks)], cwd=tmp_path, env=env,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verification successful" in done.stderr
    assert "Paid       12.34 EUR to Ben Example" in done.stdout and "of the journal of" in done.stdout
    assert "987.66" in done.stdout and "Ada Example" in done.stdout
    assert "Lunch" in done.stdout and "ClientKeyExchange" in done.stdout
    # The payee that the card refused, and took after the bank's update; what it looks like inside
    assert "refused by the card" in done.stdout and done.stdout.count("Booked: payment") == 2
    assert "order-counter" in done.stdout
    assert done.stdout.count("everything is in order") == 2 and (tmp_path / "mybank-copy" / "bank.db").exists()
    assert not (tmp_path / "mybank" / "line").is_symlink()  # the chip was there, and is gone


def test_links_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
