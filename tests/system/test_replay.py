"""The replay corpus (tests/replay): each file against the card in a process of ours, against cardwire-card at a
socket, against cardwire-card in the reader of a PC/SC daemon, by software that nobody here wrote, and against the
firmware on its two boards. And that the runner can fail."""

import functools
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "replay"))

import corpus  # noqa: E402
import readers  # noqa: E402
from cardwire_lab import Pcscd, json_lines, wait_for  # noqa: E402
from chip_lab import BOARDS, ChipLine  # noqa: E402
from serial_lab import serial_card  # noqa: E402
from replay import Mismatch, Replay  # noqa: E402
from world import World  # noqa: E402

FILES = [pytest.param(path, id=path.stem) for path in corpus.files()]
slow = pytest.mark.slow


class Hand:
    """Changes the card in the daemon's reader, as a person would. The daemon looks for cards only so often: the
    next card goes into the other slot, while it is still finding out that the last one is gone."""

    def __init__(self, lab, pcscd):
        self.lab, self.pcscd = lab, pcscd
        self.card, self.slot = None, 0

    def empty(self, slot):
        said = self.lab.run("cardwire", "--json", "readers", env=dict(self.lab.env, **self.pcscd.env))
        return [r["card"] for r in json_lines(said.stdout)[-1]["readers"]
                if r["name"].endswith(f"{slot:02d}")] == [False]

    def __call__(self, what):
        if self.card:
            self.card.stop()
        if what == "blank":
            self.folder = self.lab.subfolder("replay-card")
        self.slot = 1 - self.slot
        wait_for("the daemon noticing that the slot is empty", lambda: self.empty(self.slot),
                 self.pcscd.process)
        self.card = self.lab.start("cardwire-card", [
            self.lab.program("cardwire-card"), "--state", self.folder, "--vpcd",
            f"127.0.0.1:{self.pcscd.port + self.slot}", *(["--contactless"] if what == "contactless" else [])])
        return self.pcscd.reader(self.slot).removeprefix("pcsc:")


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def reader(request, lab):
    """Opened once: the corpus asks for blank cards."""
    lab.env["CARDWIRE_CARD_NOSYNC"] = "1"
    if request.param == "vpcd":
        it = readers.Vpcd(lab, lab.subfolder("vpcd"))
    elif request.param == "t1":
        it = readers.Line(functools.partial(serial_card, lab), lab.subfolder("t1"), ROOT / "build")
    elif request.param == "tcl":
        it = readers.Fields(functools.partial(serial_card, lab), lab.subfolder("tcl"), ROOT / "build")
    elif request.param in BOARDS:
        it = ChipLine(lab, request.param, ROOT / "build")
    elif request.param == "pcsc":
        pcscd = Pcscd(lab)
        it = readers.Pcsc(change=Hand(lab, pcscd), env=dict(os.environ, **pcscd.env))
    else:
        build = ROOT / ("build-asan" if request.param == "inproc-asan" else "build")
        if not (build / "tests" / "replay" / "apdu_pipe").exists():
            pytest.skip(f"{build.name} is not built")  # pytest called by hand
        it = readers.Inproc(lab.subfolder(request.param), build)
    yield it
    it.close()


# What these ask a card for, it does at a contact line only: PIV's keys and PIN, an order's PIN, and to say so.
CONTACT = {"info", "line", "orders", "pin", "piv-admin", "piv-data", "piv-keys", "piv-pin"}

# A serial line is a contact line: it cannot change the field.
READERS = [("inproc", FILES, ()), ("inproc-asan", FILES, slow),
           ("t1", [f for f in FILES if f.id != "contactless"], ()),
           ("tcl", [f for f in FILES if f.id not in CONTACT], ()), ("vpcd", FILES, slow), ("pcsc", FILES, slow),
           *((board, FILES, slow) for board in BOARDS)]


@pytest.mark.parametrize("reader, path", [pytest.param(name, *file.values, id=f"{name}-{file.id}", marks=marks)
                                          for name, files, marks in READERS for file in files],
                         indirect=["reader"], scope="module")
def test_corpus(reader, world, path):
    assert Replay(reader, world).run(path) > 0


# --- the runner can fail ----------------------------------------------------------------------------

@pytest.fixture(scope="module")
def card(lab):
    it = readers.Inproc(lab.subfolder("failing"), ROOT / "build")
    yield it
    it.close()


def fails(card, world, tmp_path, text):
    """What the runner says of this file."""
    path = tmp_path / "wrong.apdu"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Mismatch) as e:
        Replay(card, world).run(path)
    return str(e.value)


SELECT = "> 00 A4 04 00 05 F043574C01 00\n"
FCI = "6F 0D 84 05 F0 43 57 4C 01 A5 04 88 02 00 02 9000"


@pytest.mark.parametrize("expected, at", [
    ("6F 0D 84 05 F0 43 57 4C 02 A5 04 88 02 00 02 9000", 8),       # a wrong byte
    ("6F 0D 84 05 F0 43 57 4C 01 A5 04 88 02 00 02 9001", 16),      # a wrong status word
    ("6F 0D 84 05 F0 43 57 4C 01 A5 04 88 02 00 9000", 14),         # the answer is longer
    ("6F 0D 84 05 F0 43 57 4C 01 A5 04 88 02 00 02 00 9000", 15),   # and shorter
    ("6F ..*13 9000", 14), ("6F 0D 84 $A=12 02 9000", 15), ("6A82", 0)])
def test_a_wrong_expectation_is_reported(card, world, tmp_path, expected, at):
    said = fails(card, world, tmp_path, "card blank\n\n@ GPCS §11.9: the reason\n" + SELECT + f"< {expected}\n")
    lines = said.splitlines()
    assert lines[0].endswith("wrong.apdu:4: the reason")
    assert lines[1].split() == ["clause", "GPCS", "§11.9"]
    assert " ".join(lines[3].split()) == f"expected {expected}"
    assert lines[4].split("got", 1)[1].replace(" ", "") == FCI.replace(" ", "")
    assert lines[5].split() == ["differs", "at", "byte", str(at)]


@pytest.mark.parametrize("text, said", [
    ("@ GPCS §11.9\n> 00 A4 04 00 [ $NOBODY ] 00\n< 9000\n", "$NOBODY has no value"),
    ("@ GPCS §11.9\nsecured > 80 F0 80 02\n< 9000\n", "no channel is open"),
    ("check same 00, 01\n", "does not hold"),
    ("check other 00, 00\n", "does not hold"),
    ("hash D 00\ncheck ecdsa $UPDATE_KEY, 3006020101020101, $D\n", "does not hold"),
    ("check rsa 23, 03, 02, 02\n", "does not hold"),
    (f"check ecdh $UPDATE_KEY, {'00' * 31}01, {'00' * 32}\n", "does not hold"),
    ("certify C tls 3000\n", "certify"),
    ("atr 3B 00\n", "the card's is 3B"),
    ("channel open issuer\n", "card cryptogram"),
    ("channel open nobody\n", "nobody"),
    ("server tls13\nhear 00\n", "the server heard nothing"),
    ("server tls13\nfeed 00*64\nover WORD\n", "at the server's end"),
    ("no-such-directive\n", "there is no directive no-such-directive"),
    ("card full\n", "only blank cards"),
    ("let lower 00\n", "lower is no name"),
    ("pump\n", "no server is running"),
    ("wrap DATA 00 CA 05 00 00\n", "no channel is open"),
])
def test_a_directive_that_cannot_be_is_reported(card, world, tmp_path, text, said):
    line = text.count("\n") + (0 if text.startswith("@") else 1)
    answer = fails(card, world, tmp_path, "card blank\n" + text)
    assert f"wrong.apdu:{line}: " in answer and said in answer, answer


class Liar:
    """A reader that changes one bit of each answer that carries protection."""

    used = False

    def __init__(self, card):
        self.card, self.lying = card, False

    def __getattr__(self, name):
        return getattr(self.card, name)

    def transceive(self, command):
        answer = self.card.transceive(command)
        if command[0] & 4 and command[1] != 0x82:
            answer = bytes([answer[0] ^ 1]) + answer[1:]
        return answer


def test_an_answer_that_is_not_the_card_s_is_noticed(card, world, tmp_path):
    text = "card blank\nchannel open\n@ GPCS §11.9\nsecured > 80 1A 00 00 00\n< ..* 9000\n"
    assert "R-MAC" in fails(Liar(card), world, tmp_path, text)


def run(lab, *args, **options):
    return subprocess.run([sys.executable, ROOT / "tests" / "replay" / "replay.py", *map(str, args)],
                          capture_output=True, text=True, timeout=120, check=False, cwd=lab.folder, **options)


def test_the_program(lab):
    """replay.py by hand: what it says, and its exit codes."""
    wrong = lab.file("wrong.apdu", "card blank\n@ GPCS §11.9\n" + SELECT + "< 9000\n")
    good = ROOT / "tests" / "replay" / "select.apdu"
    folder = lab.subfolder("by-hand")
    done = run(lab, "-v", "--reader", f"inproc:{folder}", good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "select.apdu:" in done.stdout and f"    < {FCI.replace('9000', '90 00')}\n" in done.stdout
    assert list(folder.iterdir())
    done = run(lab, wrong, good)
    assert (done.returncode, done.stderr) == (1, "")
    assert "wrong.apdu:3: " in done.stdout and re.search(r"select\.apdu: \d+ pairs", done.stdout)
    done = run(lab, "--reader", "serial:x")
    assert done.returncode == 2 and "unknown reader" in done.stderr
    done = run(lab, "--reader", f"pipe:{ROOT}/build/tests/replay/apdu_pipe inproc:{lab.folder}/none/x", good)
    assert done.returncode == 2 and "cannot make the card's folder" in done.stderr


def test_a_reader_that_has_one_card_only(lab):
    """A blank card takes one file; the next is left out, and the program says so."""
    good = ROOT / "tests" / "replay" / "select.apdu"
    pipe = f"pipe:{ROOT}/build/tests/replay/apdu_pipe inproc:{lab.folder}/only"
    active = lab.file("active.apdu", "personalise active\n")
    done = run(lab, "--reader", pipe, good, good, active, good)
    assert done.returncode == 3
    said = [line.split(": ", 1)[1] for line in done.stdout.splitlines()]
    assert [bool(re.fullmatch(r"\d+ pairs", s)) for s in said] == [True, True, True, False]
    assert said[3].startswith("left out: ") and "not blank" in said[3]


@slow
def test_the_program_at_a_pc_sc_reader(lab):
    pcscd = Pcscd(lab)
    pcscd.insert(lab, [lab.subfolder("inserted")])
    env = dict(os.environ, **pcscd.env)
    good = ROOT / "tests" / "replay" / "select.apdu"
    for reader in ("pcsc", pcscd.reader(0)):
        done = run(lab, "--reader", reader, good, env=env)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    done = run(lab, "--reader", "pcsc", "--card", f"echo '{pcscd.NAME} 00 00'; echo >>{lab.folder}/asked", good,
               env=env)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert (lab.folder / "asked").is_file()
