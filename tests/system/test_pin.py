"""The PIN in the terminal's memory: where it must be, and that each place is wiped as soon as it was used.
The terminal runs under a debugger and is dumped while it stands still, so that nothing that comes later can
have written over a PIN that was only left lying.

Two stops for each PIN: right after the VERIFY command went to the card (the APDU must be gone; the PIN itself
may still be in the variable that holds it), and when the function that asked for the PIN returns (gone
altogether)."""

import os
import pty
import shutil
import subprocess
import threading

import pytest

from cardwire_lab import Lab, Pcscd
from rawcard import PIN, PUK
from small_bank import small_bank

pytestmark = pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")

NAME = "bank.cardwire.test"
VERIFY = {use: bytes([0x00, 0x20, 0x00, use, len(PIN)]) + PIN.encode() for use in (0x81, 0x82)}


@pytest.fixture(scope="module")
def bank():
    """A bank, and a card of it behind a PC/SC daemon."""
    with Lab() as lab:
        it = small_bank(lab, PIN, options=("--puk-file", lab.file("puk", PUK + "\n")))
        it.pcscd = Pcscd(lab)
        it.pcscd.insert(lab, [it.card])
        yield it


# One PIN: its way in, the stop after the exchange, the return of the function that asked for it.
STOPS = """
tbreak applet_verify
{go}
generate-core-file {folder}/{n}-before
tbreak applet_status
continue
generate-core-file {folder}/{n}-sent
frame function cli_pin_verify
finish
generate-core-file {folder}/{n}-after
"""


def debug(bank, folder, script, *args, env=None, extra=()):
    """Runs cardwire under gdb to the end of the script; the dumps are in `folder`."""
    commands = folder / "commands"
    commands.write_text("set debuginfod enabled off\nset pagination off\nset confirm off\n" + script
                        + "\nkill\n")
    done = subprocess.run([
        "gdb", "-nx", "-batch", *extra, "-x", commands, "--args", bank.lab.program("cardwire"),
        "--reader", bank.pcscd.reader(0), "--server", f"127.0.0.1:{bank.port}", *map(str, args)],
        env=dict(bank.lab.env, **bank.pcscd.env, **(env or {})), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, errors="replace", timeout=300, check=False)
    if "ptrace" in done.stderr:
        pytest.skip(f"no debugger here: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout + done.stderr


def assert_wiped(folder, number, use, said):
    dumps = {}
    for name in ("before", "sent", "after"):
        path = folder / f"{number}-{name}"
        assert path.exists(), said
        dumps[name] = path.read_bytes()
        path.unlink()
    # The search does find things, and the debugger stood where it should.
    assert dumps["before"].count(PIN.encode()) == 1
    assert VERIFY[use] not in dumps["sent"], "the VERIFY command lies in memory"
    assert dumps["sent"].count(PIN.encode()) == 1, "a copy of the PIN lies in memory"
    assert PIN.encode() not in dumps["after"], "the PIN lies in memory"


def test_pin_is_gone_as_soon_as_it_is_given(bank, tmp_path):
    said = debug(bank, tmp_path, STOPS.format(folder=tmp_path, n=1, go="run"), "--name", NAME,
                 "--pin-file", bank.pin, "connect")
    assert_wiped(tmp_path, 1, 0x81, said)


def test_both_pins_of_a_payment_are_gone(bank, tmp_path):
    """`pay` verifies twice: for the line (81) and for the order (82)."""
    said = debug(bank, tmp_path, STOPS.format(folder=tmp_path, n=1, go="run")
                 + STOPS.format(folder=tmp_path, n=2, go="continue"), "--pin-file", bank.pin, "pay",
                 "--to", bank.payee, "--amount", "1.00", "--currency", "EUR", "--yes")
    assert_wiped(tmp_path, 1, 0x81, said)
    assert_wiped(tmp_path, 2, 0x82, said)


CHANGE = """
tbreak applet_pin_{verb}
run
generate-core-file {folder}/before
tbreak applet_status
continue
generate-core-file {folder}/sent
frame function cli_pin
finish
generate-core-file {folder}/after
"""


@pytest.mark.parametrize("verb, option, first", [("change", "--pin-file", PIN), ("unblock", "--puk-file", PUK)])
def test_both_numbers_of_a_new_pin_are_gone(bank, tmp_path, verb, option, first):
    """The old PIN or the PUK, the new PIN, and the command that carried both."""
    new = "60714263951"
    said = debug(bank, tmp_path, CHANGE.format(folder=tmp_path, verb=verb), "pin", verb, option,
                 bank.lab.file("first", first + "\n"), "--new-pin-file", bank.lab.file("new", new + "\n"))
    dumps = {}
    for name in ("before", "sent", "after"):
        path = tmp_path / name
        assert path.exists(), said
        dumps[name] = path.read_bytes()
        path.unlink()
    carried = bytes([len(first)]) + first.encode() + new.encode()
    for digits in (first.encode(), new.encode()):
        assert dumps["before"].count(digits) == 1
        assert dumps["sent"].count(digits) == 1, "a copy of the number lies in memory"
        assert digits not in dumps["after"], "the number lies in memory"
    assert carried not in dumps["sent"], "the command lies in memory"
    # The card took it, or there was nothing to look for; and it gets its old PIN back.
    back = bank.lab.run("cardwire", "--reader", bank.pcscd.reader(0), "pin", "change", "--pin-file",
                        bank.lab.file("first", new + "\n"), "--new-pin-file", bank.lab.file("new", PIN + "\n"),
                        env=dict(bank.lab.env, **bank.pcscd.env))
    assert back.returncode == 0, back.stderr


class Typist:
    """A terminal (pty) at which somebody types when asked for the PIN."""

    def __init__(self, typed):
        self.master, self.slave = pty.openpty()
        self.name, self.typed, self.shown = os.ttyname(self.slave), typed, b""
        threading.Thread(target=self._type, daemon=True).start()

    def _type(self):
        asked = False
        while True:
            try:
                self.shown += os.read(self.master, 1024)
            except OSError:
                return
            if not asked and b"PIN" in self.shown and b": " in self.shown:
                asked = True
                os.write(self.master, self.typed.encode() + b"\r")

    def close(self):
        os.close(self.slave)
        os.close(self.master)


def test_typed_pin_is_gone_as_soon_as_it_is_given(bank, tmp_path):
    typist = Typist(PIN)
    try:
        said = debug(bank, tmp_path, STOPS.format(folder=tmp_path, n=1, go="run"), "--name", NAME,
                     "connect", extra=["--tty", typist.name])
        assert b"PIN" in typist.shown, said
        assert PIN.encode() not in typist.shown  # no echo
    finally:
        typist.close()
    assert_wiped(tmp_path, 1, 0x81, said)


NO_PIN = PIN[:-1] + "x"  # not all digits: refused before anything is sent
REFUSED = """
tbreak {function}
run
finish
generate-core-file {folder}/after
print $_exitcode
"""


@pytest.mark.parametrize("typed", [False, True], ids=["file", "typed"])
def test_pin_that_is_none_is_wiped_too(bank, tmp_path, typed):
    """Somebody who mistypes by one key has given away all the others."""
    typist = Typist(NO_PIN) if typed else None
    args = [] if typed else ["--pin-file", bank.lab.file("no-pin", NO_PIN + "\n")]
    try:
        said = debug(bank, tmp_path, REFUSED.format(
            function="pin_ask" if typed else "pin_read", folder=tmp_path), "--name", NAME, *args, "connect",
            extra=["--tty", typist.name] if typed else [])
    finally:
        if typist:
            typist.close()
    core = tmp_path / "after"
    assert core.exists() and "Value returned" in said, said
    found = core.read_bytes()
    assert NAME.encode() in found  # the search does find things
    assert NO_PIN.encode() not in found and NO_PIN[:-1].encode() not in found
