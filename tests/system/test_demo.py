"""./demo --json: every step of the story, through pcscd and in process."""

import json
import os
import subprocess
import sys

import pytest

from cardwire_lab import ROOT

KEYS = {"step", "profile", "reader", "ok", "detail", "apdus", "bytes_to_card", "bytes_from_card", "ms"}
STEPS = ["wrong-pin", "pay-rsa2048", "replay-rsa2048", "receipt-rsa2048", "pay-p256", "replay-p256",
         "receipt-p256", "false-bank-untrusted", "false-bank-wrong-name", "false-bank-expired", "blocked"]


def demo(env=None):
    """Without ./demo's own build step: ./test has built, and may be given other programs."""
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "demo.py"), "--json"],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600,
                          env=dict(os.environ, **(env or {})), check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture(scope="module")
def told():
    code, steps, stderr = demo()
    assert code == 0, f"{stderr}\n" + "\n".join(str(s) for s in steps if s["ok"] is not True)
    return steps


def test_demo_holds(told):
    assert told and all(set(s) == KEYS for s in told)
    assert all(s["ok"] is True for s in told)


@pytest.mark.parametrize("reader", ["pcsc", "inproc"])
def test_demo_tells_every_step(told, reader):
    here = [(s["step"], s["profile"]) for s in told if s["reader"] == reader]
    names = [name for name, _ in here]
    for step in STEPS:
        assert names.count(step) == 1, step
    assert names.count("contactless") == (reader == "pcsc")
    for kind in ("rsa2048", "p256"):
        for profile in ("tls13", "ecdhe", "rsa"):
            assert (f"login-{kind}", profile) in here


def test_demo_counts_what_crosses_the_reader(told):
    for s in told:
        if s["step"].startswith(("login", "pay", "replay", "false-bank", "blocked")):
            assert s["apdus"] > 5 and s["bytes_to_card"] > 500 and s["bytes_from_card"] > 100, s
        if s["step"] == "wrong-pin":
            assert s["apdus"] >= 2  # SELECT, VERIFY
        assert s["ms"] > 0


def test_demo_without_a_daemon_says_why_and_goes_on(tmp_path):
    """A pcscd that cannot start, put before the real one."""
    bad = tmp_path / "pcscd"
    bad.write_text("#!/bin/sh\necho no smart cards today\nexit 1\n")
    bad.chmod(0o755)
    code, steps, _ = demo({"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert code == 0
    daemon = [s for s in steps if s["step"] == "pcscd"]
    assert daemon[0]["ok"] is None and "no smart cards today" in daemon[0]["detail"]
    assert [s for s in steps if s["step"] == "blocked"][0]["reader"] == "inproc"


def test_demo_fails_when_a_step_fails(tmp_path):
    """With a bank that lets blocked cards in, the exit code is not 0."""
    programs = tmp_path / "bin"
    programs.mkdir()
    real = os.environ.get("CARDWIRE_PROGRAMS") or str(ROOT / "build" / "bin")
    for name in ("cardwire", "cardwire-card"):
        (programs / name).symlink_to(f"{real}/{name}")
    (programs / "cardwired").write_text(
        f'#!/bin/sh\ncase "$*" in *"card block"*) echo "{{}}"; exit 0;; esac\n'
        f'exec "{real}/cardwired" "$@"\n')
    (programs / "cardwired").chmod(0o755)
    code, steps, _ = demo({"CARDWIRE_PROGRAMS": str(programs)})
    assert code == 1
    assert {s["step"] for s in steps if s["ok"] is False} == {"blocked"}
