"""The card at the end of a serial line (T=1, ISO/IEC 7816-3), as a program and as firmware on a microcontroller: it
logs in and pays, and whatever comes over the line, it needs no more than a reset."""

import fcntl
import random
import time

import pytest

from cardwire_lab import Lab, wait_for
from chip_lab import chip
from serial_lab import Wire, block, serial_card
from small_bank import logs_in, pays, small_bank

PIN = "135790"
ATR = bytes.fromhex("3BF59700FF8131FE4580738001C024")
SELECT = bytes.fromhex("00A4040000")  # of nothing: answered 6700 or 6A82, but answered
IFS = block(0xC1, b"\xfe")


@pytest.fixture(scope="module", params=["program", "an385", pytest.param("an505", marks=pytest.mark.slow)])
def bank(request):
    """The card was issued in another reader: a program and a chip take each other's memory."""
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.device = lab.folder / "line"
        if request.param == "program":
            it.line = serial_card(lab, it.card, it.device)
        else:
            it.line = chip(lab, it.card, it.device, board=request.param)
        yield it


def cardwire(bank, *args, device=None, **options):
    return bank.cardwire(f"t1:{device or bank.device}", *args, **options)


@pytest.mark.parametrize("profile", ["tls13", "ecdhe", "rsa"])
def test_login(bank, profile):
    logs_in(bank, f"t1:{bank.device}", profile)


def test_payment(bank):
    pays(bank, f"t1:{bank.device}")


def test_nobody_there(bank):
    code, said = cardwire(bank, "login", device=f"{bank.device}-not")
    assert code != 0 and "start the card there" in said["detail"], said


def test_one_at_a_time(bank):
    with Wire(bank.device) as wire:
        assert wire.hear(len(ATR)) == ATR
        fcntl.flock(wire.fd, fcntl.LOCK_EX)
        code, said = cardwire(bank, "login")
        assert code != 0 and "another program uses the card" in said["detail"], said


def test_line_closed_in_the_middle(bank):
    """Of a block, of a command that the card is at, of its answer: the next one finds a card that starts."""
    command = block(0x00, SELECT)
    for cut in range(1, len(command) + 1):
        with Wire(bank.device) as wire:
            assert wire.hear(len(ATR)) == ATR
            wire.say(command[:cut])
    code, said = cardwire(bank, "login")
    assert code == 0, said


def test_card_dies_in_the_middle_of_an_answer(bank):
    """The reader says so, and does not take half an answer for one."""
    lab = bank.lab
    folder, device = lab.subfolder("dies"), lab.folder / "dies-line"
    card = serial_card(lab, folder, device, "--etu", "1/1000")  # an answer takes a tenth of a second
    pipe = lab.program("cardwire").parent.parent / "tests" / "replay" / "apdu_pipe"
    reader = lab.start("apdu_pipe", [pipe, f"t1:{device}"], stdin=-1, stdout=-1, text=True)
    assert reader.stdout.readline().strip() == ATR.hex().upper()
    reader.stdin.write(SELECT.hex().upper() + "\n")
    reader.stdin.flush()
    time.sleep(0.1)
    card.kill()
    assert reader.wait(60) == 1
    assert reader.stdout.read() == ""
    assert "gone" in reader.said() or "does not answer" in reader.said(), reader.said()


# ---- a reader that does not know how ----


@pytest.fixture
def wire(bank):
    with Wire(bank.device) as it:
        assert it.hear(len(ATR)) == ATR
        yield it


def answers(wire, sequence=0):
    """A command in order is answered in order."""
    wire.say(block(sequence << 6, SELECT))
    head = wire.hear(3)
    assert head[:2] == bytes([0, sequence << 6]), head
    assert len(wire.hear(head[2] + 1)) == head[2] + 1


def test_without_ifs(wire):
    answers(wire)


def test_ifs_first(wire):
    wire.say(IFS)
    assert wire.hear(5) == block(0xE1, b"\xfe")
    answers(wire)


@pytest.mark.parametrize("noise", [b"\x00", b"\x55", b"\xff", b"\xff\x11", b"\x00\x00\x40\x01\x02", b"\x00" * 3,
                                   b"\xff" * 2000, bytes(range(256)) * 8])
def test_noise(wire, noise):
    wire.say(noise)
    heard = wire.hear(100, 1.5)
    assert len(heard) % 4 == 0 and len(heard) <= 12  # R-blocks, three at most, or nothing
    for i in range(0, len(heard), 4):
        assert heard[i + 1] & 0xC0 == 0x80, heard
    answers(wire)


def test_byte_by_byte(wire):
    for byte in block(0x00, SELECT):
        wire.say(bytes([byte]))
        time.sleep(0.01)
    assert wire.hear(3)[:2] == b"\x00\x00"


def test_two_blocks_at_once(wire):
    """The second comes while it is not the reader's turn: lost, or half of it, or refused, but never done twice."""
    wire.say(block(0x00, SELECT) * 2)
    head = wire.hear(3)
    assert head[:2] == b"\x00\x00"
    wire.hear(head[2] + 1)
    assert wire.hear(4, 1.5) in (b"", block(0x92), block(0x91))
    answers(wire, 1)


def test_random_lines(bank):
    """Of bytes, seeded, each on a line of its own; afterwards the card is as it was."""
    rng = random.Random(14443)
    for _ in range(30):
        with Wire(bank.device) as wire:
            assert wire.hear(len(ATR)) == ATR
            for _ in range(5):
                wire.say(rng.choice([rng.randbytes(rng.randrange(1, 300)), block(rng.randrange(256),
                                     rng.randbytes(rng.randrange(255))), block(0x00, SELECT)]))
                wire.hear(600, 0.05)
    assert bank.line.poll() is None
    code, said = cardwire(bank, "login")
    assert code == 0, said


def test_slow_line_takes_its_time(bank):
    """--etu: no less than the characters take, by the clock; how much more is the machine's affair."""
    lab = bank.lab
    device = lab.folder / "slow-line"
    serial_card(lab, lab.subfolder("slow"), device, "--etu", "1/2000")
    with Wire(device) as wire:
        start = time.monotonic()
        assert wire.hear(len(ATR)) == ATR
        assert time.monotonic() - start >= 15 * 12 / 2000
        start = time.monotonic()
        answers(wire)
        assert time.monotonic() - start >= (9 + 6) * 11 / 2000


@pytest.mark.parametrize("etu", ["0", "1", "1/", "1/0", "2/1", "1/446401", "x", "-1/9600"])
def test_wrong_etu(bank, etu):
    done = bank.lab.run("cardwire-card", "--state", bank.lab.folder / "none", "--t1", bank.lab.folder / "x", "--etu", etu)
    assert done.returncode == 2 and "1/9600" in done.stderr, done


def test_path_taken(bank):
    done = bank.lab.run("cardwire-card", "--state", bank.lab.subfolder("second"), "--t1", bank.device)
    assert done.returncode == 1 and "is there already" in done.stderr, done


def test_line_ends_with_the_card(bank):
    lab = bank.lab
    device = lab.folder / "ends"
    card = serial_card(lab, lab.subfolder("ends-card"), device)
    card.stop()
    wait_for("the link going", lambda: not device.is_symlink())
