"""The card as firmware on a microcontroller (docs/firmware.md), over T=1 as an implementation of the standard speaks
it that shares nothing with ours: commands and answers in chains, blocks that are lost and hurt, times that run
out. Logins and payments through our own reader are in test_serial.py, the corpus in test_replay.py."""

import pathlib
import subprocess
import sys

import pytest

from cardwire_lab import ROOT, Lab
from chip_lab import BOARDS, ChipCard, ChipReader, stats
from rawcard import AID, INITIAL, OWN, Issuer, tlv
from serial_lab import serial_card
from t1 import S_RESPONSE, S_WTX, Silent, block, lrc

sys.path.insert(0, str(ROOT / "tests" / "replay"))

from replay import Replay  # noqa: E402
from world import World  # noqa: E402

SELECT = bytes([0x00, 0xA4, 0x04, 0x00, len(AID)]) + AID + b"\x00"
INFO = bytes.fromhex("801A000000")
ROOT_CERTIFICATE = bytes.fromhex("00CA0200000000")  # with extended Le
PIN = b"271828"                                     # of tests/replay/cards
TRIES = 0x83


@pytest.fixture(scope="module", params=list(BOARDS))
def card(request):
    """An active card."""
    with Lab() as lab, ChipReader(lab, request.param) as reader:
        reader.world = World()
        Replay(reader, reader.world).run(lab.file("active.apdu", "personalise active\n"))
        reader.reset()
        yield reader


@pytest.fixture(autouse=True)
def new_line(request):
    yield
    if "card" in request.fixturenames:
        it = request.getfixturevalue("card")
        it.damage = lambda data: data
        it.reset()


def tries(card):
    return tlv(card.transceive(INFO)[:-2])[TRIES][0]


def test_chains_both_ways(card):
    """A command of 2,000 bytes in eight blocks; a certificate of several."""
    assert card.transceive(SELECT)[-2:] == b"\x90\x00"
    answer = card.transceive(ROOT_CERTIFICATE)
    assert answer == card.world.values["ROOT"] + b"\x90\x00" and len(answer) > 300
    long = bytes.fromhex("80220000") + b"\0" + (2000).to_bytes(2, "big") + bytes(2000)
    assert card.transceive(long)[-2:] == b"\x6a\x80"  # no message of the issuer; it did arrive


def test_more_than_the_card_takes(card):
    for length in (2081, 2082, 3000, 65000):
        long = bytes.fromhex("80220000") + b"\0" + length.to_bytes(2, "big") + bytes(length)
        assert card.transceive(long) == b"\x67\x00"
    assert card.transceive(SELECT)[-2:] == b"\x90\x00"


@pytest.mark.parametrize("size", [1, 2, 31, 253])
def test_blocks_of_any_size(card, size):
    """IFSD as small as one byte, and our own blocks as well."""
    whole = card.transceive(SELECT)
    card.card_max = size
    assert card.ask(0xC1, bytes([size])) == bytes([size])
    del card.log[:]
    assert card.transceive(SELECT) == whole
    assert {len(data) for to_card, data in card.log if not to_card and not data[1] & 0x80} <= set(range(5, size + 5))
    assert max(len(data) for _, data in card.log) == min(size, len(SELECT), len(whole)) + 4 or size > len(whole)


def drop(_):
    return b""


def shorten(data):
    return data[:-1]


def head_only(data):
    return data[:2]


def one_byte(data):
    return data[:1]


def twice(data):
    return data + data


def wrong_check(data):
    return data[:-1] + bytes([data[-1] ^ 0x40])


def wrong_length(data):
    return data[:2] + bytes([data[2] ^ 1]) + data[3:]


def wrong_kind(data):
    wrong = bytes([data[0], 0xFF]) + data[2:-1]
    return wrong + bytes([lrc(wrong)])


def noise_first(data):
    return b"\x55" + data


@pytest.mark.parametrize("fault", [drop, shorten, head_only, one_byte, twice, wrong_check, wrong_length, wrong_kind,
                                   noise_first], ids=lambda f: f.__name__)
def test_each_block_hurt_once(card, fault):
    """Each block of an exchange that chains both ways is hurt in its turn. The answer is right all the same, and the
    PIN, which is wrong, costs one try and not two: no command is done twice."""
    commands = (SELECT, ROOT_CERTIFICATE, bytes.fromhex("0020008106") + b"000000")
    try:
        for number in range(100):
            card.patience = 60.0
            card.reset()
            card.transceive(SELECT)
            assert card.transceive(bytes.fromhex("0020008106") + PIN) == b"\x90\x00"
            left, seen = tries(card), 0

            def damage(data, number=number):
                nonlocal seen
                seen += 1
                return fault(data) if seen == number + 1 else data
            card.damage = damage
            card.patience = 2.0  # for what is lost: the standard's tries, one after the other
            answers = [card.transceive(command) for command in commands]
            card.damage = lambda data: data
            assert answers[1] == card.world.values["ROOT"] + b"\x90\x00"
            assert answers[2] == bytes([0x63, 0xC0 | left - 1]) and tries(card) == left - 1
            if seen <= number:
                return
        pytest.fail("so many blocks it cannot have been")
    finally:
        card.patience = 60.0


def test_card_gives_up_in_silence_and_comes_back(card):
    """Rule 7 says three times; then the card is silent, until a good block comes."""
    for _ in range(6):
        card.put(wrong_check(block(0x00, SELECT)))
        try:
            card.receive(2.0)
        except Silent:
            break
    card.pending = b""
    card.resynch()
    assert card.ask(0xC1, b"\xfe") == b"\xfe"
    assert card.transceive(SELECT)[-2:] == b"\x90\x00"


def test_resynchronisation(card):
    card.transceive(SELECT)
    assert card.mine == 1
    card.resynch()
    card.ask(0xC1, b"\xfe")
    assert card.transceive(SELECT)[-2:] == b"\x90\x00"


def test_speed(card):
    """PPS (§9): T=1 at Fi/Di of TA1; the card confirms it and goes on."""
    card.close()
    card.open_silently()
    request = bytes([0xFF, 0x11, 0x97])
    card.put(request + bytes([lrc(request)]))
    assert card.take(4) == request + bytes([lrc(request)])
    assert card.transceive(SELECT)[-2:] == b"\x90\x00"


@pytest.mark.parametrize("noise", [0, 20], ids=["quiet", "noise"])
def test_asks_for_time(card, noise):
    """A key of RSA takes many seconds: before BWT has passed (1.6 s) the card asks for more, though bytes that mean
    nothing come in all the while, `noise` in a second."""
    with ChipReader(card.lab, card.board) as blank:
        terminal = ChipCard(blank)
        terminal.select()
        issuer = Issuer(terminal, INITIAL)
        issuer.put_keys(INITIAL, OWN)
        cla, data = issuer.host.wrap(0x00, 0x47, 0x00, 0x02, b"")
        command = bytes([cla, 0x47, 0x00, 0x02, len(data)]) + data + b"\x00"
        blank.send(blank.mine << 6, command)
        got, said = None, 0
        while got is None and said < 100 * (noise or 1):  # a hundred seconds: the machine may be busy
            if noise:
                blank.put(b"\x55")
            said += 1
            try:
                got = blank.receive(patience=1 / (noise or 1))
            except Silent:
                pass
        assert got == (S_WTX, b"\x01")
        blank.send(S_WTX | S_RESPONSE, got[1])
        for _ in range(3):  # and again, once it was granted; unless primes were found soon
            got = blank.receive()
            if got[0] & 0x80 == 0:  # an I-block: the answer
                assert got[1][-2:] == b"\x90\x00"
                break
            assert got == (S_WTX, b"\x01")
            blank.send(S_WTX | S_RESPONSE, b"\x01")


# --- the chip's own command -------------------------------------------------------------------------

def test_what_it_takes(card):
    card.transceive(SELECT)
    now = stats(card.transceive)
    assert 0 < now.flash <= now.flash_window
    assert 0 < now.static and now.static + now.stack_size <= now.ram_window
    assert 0 < now.stack < now.stack_size
    assert stats(card.transceive, anew=True).ticks >= now.ticks
    assert stats(card.transceive).ticks == 0
    card.transceive(INFO)
    assert stats(card.transceive).ticks > 0


@pytest.mark.parametrize("command, answer", [("80FE000000", ""), ("80FE0000", "6700"), ("80FE00000100", "6700"),
                                             ("80FE020000", "6A86"), ("80FE000100", "6A86"), ("84FE000000", "6D00"),
                                             ("00FE000000", "6D00"), ("90FE000000", "6D00")])
def test_the_command(card, command, answer):
    card.transceive(SELECT)
    got = card.transceive(bytes.fromhex(command))
    assert got.hex().upper() == answer if answer else got[-2:] == b"\x90\x00"


def test_it_tells_nothing_new_and_changes_nothing(card):
    """The same bytes before and after a PIN was given, but for stack and time; and the PIN stays given."""
    card.transceive(SELECT)
    before = stats(card.transceive)
    assert card.transceive(bytes.fromhex("0020008106") + PIN) == b"\x90\x00"
    after = stats(card.transceive)
    assert (before.flash, before.static) == (after.flash, after.static)
    assert card.transceive(bytes.fromhex("00200081")) == b"\x90\x00"


# --- what it was made with --------------------------------------------------------------------------

def launch(*args):
    return subprocess.run([ROOT / "scripts" / "chip", *map(str, args)], capture_output=True, text=True, timeout=60,
                          check=False)


def test_launcher_says_what_is_wrong(card):
    folder = pathlib.Path(card.folder)
    line = card.lab.folder / "another-line"
    for args, code, word in [((), 2, "--state"), (("--state", folder), 2, "--t1"),
                             (("--state", folder, "--t1", line), 1, "in use"),
                             (("--state", folder, "--t1", line, "--image", folder / "none"), 1, "scripts/build --chip"),
                             (("--state", card.lab.subfolder("x"), "--t1", card.line), 1, "there already")]:
        done = launch(*args)
        assert done.returncode == code and word in done.stderr, done
    odd = card.lab.subfolder("odd")
    (odd / "flash.bin").write_bytes(b"short")
    assert "no card's memory" in launch("--state", odd, "--t1", line).stderr
    (odd / "flash.bin").write_bytes(b"\xff" * 65536)
    assert "damaged or missing" in launch("--state", odd, "--t1", line).stderr


def test_machine_that_ends_by_itself(card):
    """The launcher says so, and leaves the card as it is, for whoever comes next."""
    card.reset()
    card.transceive(SELECT)
    subprocess.run(["pkill", "-KILL", "-P", str(card.process.pid), "qemu"], check=True)
    assert card.process.wait(30) == 1
    assert "QEMU ended" in card.process.said() and "Traceback" not in card.process.said()
    card.process = None
    assert not card.line.is_symlink()
    assert (pathlib.Path(card.folder) / "flash.bin").stat().st_size == 65536
    card.close()
    card.start()
    card.open()
    assert card.transceive(SELECT)[-2:] == b"\x90\x00"


def test_a_program_takes_the_memory_over(card):
    """And looks at it: cardwire-card knows the chip's memory for its own."""
    card.close()
    card.stop()
    done = card.lab.run("cardwire-card", "inspect", "--state", card.folder)
    assert done.returncode == 0 and "Life      active" in done.stdout, done
    card.start()
    card.open()
    assert card.transceive(SELECT)[-2:] == b"\x90\x00"


def killed(card, process):
    """Its link goes at once: the next terminal that anybody makes may have the number that it names. In its place comes
    one to nowhere, as it would be before that."""
    process.kill()
    process.wait()
    card.line.unlink()
    card.line.symlink_to("/dev/pts/4000000")


def test_launcher_that_was_killed(card):
    """The card goes on from where it was, in a program and in the next launcher, and nothing has to be tidied up."""
    card.close()
    killed(card, card.process)
    card.process = None
    done = card.lab.run("cardwire-card", "inspect", "--state", card.folder)
    assert done.returncode == 0 and "Life      active" in done.stdout, done
    program = serial_card(card.lab, card.folder, card.line)
    card.open()
    assert card.transceive(SELECT)[-2:] == b"\x90\x00"
    card.close()
    killed(card, program)
    card.start()
    card.open()
    assert card.transceive(SELECT)[-2:] == b"\x90\x00"
