"""What the chip does when something is wrong with it (docs/firmware.md): a stack that is too deep, a write or a jump
where none may be, a program that hangs, power that fails in the middle of a write, a noise source that is none.
QEMU's debug stub brings it there."""

import random
import sys

import pytest

from cardwire_lab import ROOT, Lab
from chip_lab import BOARDS, ChipReader, chip, symbols
from gdbstub import LR, PC, SP, Gdb
from rawcard import AID, tlv
from serial_lab import Wire
from t1 import T1Reader, block

sys.path.insert(0, str(ROOT / "tests" / "replay"))

from replay import Replay  # noqa: E402
from world import World  # noqa: E402

SELECT = bytes([0x00, 0xA4, 0x04, 0x00, len(AID)]) + AID + b"\x00"
INFO = bytes.fromhex("801A000000")
CHALLENGE = bytes.fromhex("0084000008")
VERIFY = bytes.fromhex("0020008106")
PIN = b"271828"
MARK = b"the PIN, or a key"
MEMORY = {"an385": 0x21000000, "an505": 0x80000000}  # board.h
WILD = 0xE7FE.to_bytes(2, "little")                  # b . : stays where it is


@pytest.fixture(scope="module", params=list(BOARDS))
def card(request):
    """An active card whose chip can be stopped."""
    with Lab() as lab, ChipReader(lab, request.param, "--gdb", lab.folder / "gdb") as reader:
        Replay(reader, World()).run(lab.file("active.apdu", "personalise active\n"))
        reader.reset()
        reader.gdb, reader.symbols = lab.folder / "gdb", symbols(request.param)
        yield reader


@pytest.fixture
def stopped(card):
    """In the middle of a command: cells_read, which every command comes by. In RAM that nobody uses there is a
    mark."""
    card.reset()
    card.transceive(SELECT)
    with Gdb(card.gdb) as gdb:
        at = card.symbols["cells_read"]
        gdb.stop_at(at)
        gdb.go()
        card.send(card.mine << 6, INFO)
        gdb.wait()
        gdb.stop_no_more(at)
        gdb.write(card.symbols["__ram_end"] - 32, MARK)
        yield gdb


def starts_anew(card, gdb, unchanged=()):
    """The chip comes to its reset, with nothing in its RAM, and then says its ATR. unchanged: (address, bytes)."""
    gdb.stop_at(card.symbols["reset"])
    gdb.go()
    gdb.wait()
    assert gdb.get(PC) == card.symbols["reset"] & ~1
    start, end = card.symbols["__ram_start"], card.symbols["__ram_end"]
    for at in range(start, end, 1024):
        assert gdb.read(at, min(1024, end - at)).strip(b"\0") == b"", hex(at)
    for address, data in unchanged:
        assert gdb.read(address, len(data)) == data
    gdb.stop_no_more(card.symbols["reset"])
    gdb.go()
    said = card.take(len(card.atr))
    while not said.endswith(card.atr):  # it may have asked for more time before
        said += card.take(1)
    assert said[:-len(card.atr)] in (b"", block(0xC3, b"\x01"))


def test_the_mark_would_be_seen(card, stopped):
    """The test above can fail: without a fault the mark stays."""
    assert stopped.read(card.symbols["__ram_end"] - 32, len(MARK)) == MARK
    stopped.go()
    assert card.receive()[1][-2:] == b"\x90\x00"


def test_stack_too_deep(card, stopped):
    """A function that finds no room for its frame."""
    stopped.set(SP, card.symbols["__stack_bottom"] + 16)
    stopped.set(PC, card.symbols["noise_random"])
    starts_anew(card, stopped)


def test_stack_too_deep_for_an_interrupt(card, stopped):
    stopped.set(SP, card.symbols["__stack_bottom"] + 16)
    stopped.set(PC, card.symbols["halt"])
    card.put(b"\0")
    starts_anew(card, stopped)


def test_stack_too_deep_in_an_interrupt(card):
    card.reset()
    with Gdb(card.gdb) as gdb:
        gdb.stop_at(card.symbols["serve_byte"])
        gdb.go()
        card.put(b"\0")
        gdb.wait()
        gdb.stop_no_more(card.symbols["serve_byte"])
        gdb.set(SP, card.symbols["__stack_bottom"] + 8)
        starts_anew(card, gdb)


def test_far_below_the_stack(card, stopped):
    """A frame so large that it jumps over any guard of a few bytes."""
    stopped.set(SP, card.symbols["__stack_bottom"] - 4096)
    stopped.set(PC, card.symbols["noise_random"])
    starts_anew(card, stopped)


@pytest.mark.parametrize("where", ["image", "memory", "factory page", "nothing"])
def test_write_where_none_may_be(card, stopped, where):
    """memset there. The card's memory is written by its driver only."""
    address = {"image": card.symbols["vectors"], "memory": MEMORY[card.board] + 0x100,
               "factory page": MEMORY[card.board] + 0x10008, "nothing": MEMORY[card.board] + 0x20000}[where]
    stopped.set(0, address)
    stopped.set(1, 0)
    stopped.set(2, 4)
    stopped.set(LR, card.symbols["halt"] | 1)
    stopped.set(PC, card.symbols["memset"])
    starts_anew(card, stopped, [] if where == "nothing" else [(address, stopped.read(address, 4))])


def test_run_what_is_in_ram(card, stopped):
    at = card.symbols["__ram_end"] - 64
    stopped.write(at, WILD)
    stopped.set(PC, at)
    starts_anew(card, stopped)


def test_run_what_is_in_the_memory(card, stopped):
    stopped.set(PC, MEMORY[card.board] + 0x8000)
    starts_anew(card, stopped)


def test_canary(card, stopped):
    stopped.set(PC, card.symbols["__stack_chk_fail"])
    starts_anew(card, stopped)


@pytest.mark.parametrize("board", BOARDS)
def test_watchdog(board):
    """A program that hangs. Its time is counted in instructions here, 1,024 ns each, so the half minute passes in a
    few tenths of a second."""
    with Lab() as lab:
        gdb_socket = lab.folder / "gdb"
        chip(lab, lab.subfolder("card"), lab.folder / "line", "--icount", "10", "--gdb", gdb_socket, board=board)
        card = T1Reader(lab.folder / "line")
        card.symbols = symbols(board)
        with Gdb(gdb_socket) as gdb:
            gdb.stop_at(card.symbols["cells_read"])
            gdb.go()
            card.send(0, SELECT)
            gdb.wait()
            gdb.stop_no_more(card.symbols["cells_read"])
            gdb.set(PC, card.symbols["halt"])
            starts_anew(card, gdb)
        card.close()


@pytest.mark.parametrize("board", BOARDS)
def test_idle_is_not_hanging(board):
    """Hours without a command, in the chip's time."""
    with Lab() as lab:
        gdb_socket = lab.folder / "gdb"
        chip(lab, lab.subfolder("card"), lab.folder / "line", "--gdb", gdb_socket, board=board)
        card = T1Reader(lab.folder / "line")
        with Gdb(gdb_socket) as gdb:
            at = symbols(board)["serve_timer"]
            gdb.stop_at(at)
            gdb.go()
            gdb.wait()  # the main loop is woken now and then
            gdb.stop_no_more(at)
            gdb.go()
        assert card.transceive(SELECT)[-2:] == b"\x90\x00"
        card.close()


# --- power --------------------------------------------------------------------------------------------

def cuts():
    """(nth call of the driver, instructions after it): in a write of the try counter."""
    rng = random.Random(7816)
    return [(call, rng.randrange(0, 160)) for call in (1, 2, 3) for _ in range(8)]


def test_power_fails_in_the_middle_of_a_write(card):
    """The chip is killed at some instruction of the flash driver, while it takes a try down. It starts, and the
    tries are the old or the new."""
    at, seen = card.symbols["cells_program"], set()
    for call, steps in cuts():
        card.reset()
        card.transceive(SELECT)
        assert card.transceive(VERIFY + PIN) == b"\x90\x00"
        left = tlv(card.transceive(INFO)[:-2])[0x83][0]
        gdb = Gdb(card.gdb)
        gdb.stop_at(at)
        gdb.go()
        card.send(card.mine << 6, VERIFY + b"000000")
        for again in reversed(range(call)):
            gdb.wait()
            gdb.step()
            if again:
                gdb.go()
        gdb.stop_no_more(at)
        gdb.step(steps)
        card.close()  # power off
        gdb.close()
        card.open()
        card.transceive(SELECT)
        now = tlv(card.transceive(INFO)[:-2])[0x83][0]
        assert now in (left, left - 1), (call, steps)
        seen.add(left - now)
    assert seen == {0, 1}  # both happen, or nothing was cut


# --- the noise source -----------------------------------------------------------------------------------

def biased(start):
    """`start` good bytes, then every eighth is the same: 3 bits less than it claims, and a little more."""
    rng = random.Random(90)
    data = bytearray(rng.randbytes(start))
    while len(data) < start + 65536:
        data += bytes([0x55]) + rng.randbytes(7)
    return bytes(data)


@pytest.mark.parametrize("noise", [b"", b"\0" * 65536, bytes(range(256)) * 3, biased(0)],
                         ids=["dead", "stuck", "ends", "biased"])
def test_no_noise_no_card(noise):
    """The start-up test fails: the chip is mute."""
    with Lab() as lab:
        source = lab.folder / "noise"
        source.write_bytes(noise)
        chip(lab, lab.subfolder("card"), lab.folder / "line", "--noise", source)
        with Wire(lab.folder / "line") as wire:
            assert wire.hear(1, 3.0) == b""


@pytest.mark.parametrize("rest", ["stuck", "ends", "biased"])
def test_noise_that_fails_later(rest):
    """Nothing comes of it any more; the card still answers what needs none."""
    good = 1024 + 64 + 64  # start-up, canary, and one challenge
    rng = random.Random(800)
    tail = {"stuck": b"\0" * 4096, "ends": b"", "biased": biased(0)}[rest]
    with Lab() as lab:
        folder = lab.subfolder("card")
        with ChipReader(lab, "an385", folder=folder) as card:
            Replay(card, World()).run(lab.file("active.apdu", "personalise active\n"))
        source = lab.folder / "noise"
        source.write_bytes(rng.randbytes(good) + tail)
        with ChipReader(lab, "an385", "--noise", source, folder=folder) as card:
            card.transceive(SELECT)
            assert card.transceive(CHALLENGE)[-2:] == b"\x90\x00"
            answers = [card.transceive(CHALLENGE)[-2:] for _ in range(64)]
            assert b"\x90\x00" not in answers[-1:] and b"\x65\x81" in answers, answers
            first = answers.index(b"\x65\x81")
            assert set(answers[first:]) == {b"\x65\x81"}  # for good
            assert card.transceive(INFO)[-2:] == b"\x90\x00"


def test_challenges_differ(card):
    card.reset()
    card.transceive(SELECT)
    seen = {card.transceive(CHALLENGE)[:-2] for _ in range(50)}
    card.reset()
    card.transceive(SELECT)
    seen |= {card.transceive(CHALLENGE)[:-2] for _ in range(50)}
    assert len(seen) == 100 and all(len(c) == 8 for c in seen)
