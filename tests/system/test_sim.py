"""The bank's core under sim/: some seeds come to a good end, the same seed is the same run, and every fault of our own
making is found (docs/sim.md)."""

import os
import pathlib
import subprocess

import pytest

from cardwire_lab import ROOT, json_lines

PROGRAMS = pathlib.Path(os.environ.get("CARDWIRE_PROGRAMS") or ROOT / "build" / "bin")
SIM = PROGRAMS.parent / "sim" / "sim"

MUTANTS = ("no-repeat", "no-counter", "no-block", "no-funds", "early-ack", "wrong-fate", "half", "other-amount",
           "other-order")


def sim(*arguments):
    """(exit code, what it counted, what it said)"""
    done = subprocess.run([SIM, "--json", *map(str, arguments)], capture_output=True, text=True, check=False,
                          timeout=300)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json_lines(done.stdout)[-1], done.stderr


@pytest.mark.parametrize("seed", range(1, 7))
def test_nothing_is_lost_and_nothing_booked_twice(seed):
    code, counted, said = sim("--seed", seed)
    assert code == 0 and counted["good"] and counted["steps"] == 3000, said
    # It was no easy run: every kind of thing did happen.
    assert counted["booked"] > 50 and counted["audits"] > 5
    assert all(counted[name] > 10 for name in ("repeated", "refused", "unknown", "store", "lost", "faults", "deaths"))


def test_the_same_seed_is_the_same_run():
    runs = [sim("--seed", 11, "--steps", 1000)[1] for _ in range(2)]
    assert runs[0] == runs[1]
    assert sim("--seed", 12, "--steps", 1000)[1]["digest"] != runs[0]["digest"]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_is_found(mutant):
    code, counted, said = sim("--seed", 1, "--mutant", mutant)
    assert code == 1 and not counted["good"] and counted["steps"] <= 600
    assert "sim: step" in said and f"--seed 1 --steps 3000 --mutant {mutant}" in said


def test_every_mutant_is_tried():
    done = subprocess.run([SIM, "--mutant", "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert set(done.stderr.split("mutants:")[1].split()) == {"none", *MUTANTS}
