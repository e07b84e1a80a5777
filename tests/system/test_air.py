"""The card in a field (ISO/IEC 14443-4 over tcl:DEVICE): it logs in and pays, and whatever comes over the air, it
needs no more than a new activation."""

import fcntl
import random
import sys
import time

import pytest

from cardwire_lab import ROOT, Lab, json_lines, wait_for
from serial_lab import RATS, Air, crc_a, frame, serial_card, slip
from small_bank import logs_in, pays, small_bank

sys.path.insert(0, str(ROOT / "tests" / "replay"))

from replay import Replay  # noqa: E402
from world import World  # noqa: E402

PIN = "135790"
ATS = bytes.fromhex("067877800280")
SELECT = bytes.fromhex("00A4040000")  # of nothing: refused, but answered
LINK = bytes.fromhex("00A4040C05F043574C01")
INFO = bytes.fromhex("801A000000")
FC = 13_560_000


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN, options=("--contactless", "orders"))
        it.device = lab.folder / "air"
        it.line = serial_card(lab, it.card, it.device, kind="tcl")
        yield it


def cardwire(bank, *args, device=None, **options):
    return bank.cardwire(f"tcl:{device or bank.device}", *args, **options)


@pytest.mark.parametrize("profile", ["tls13", "ecdhe", "rsa"])
def test_login(bank, profile):
    logs_in(bank, f"tcl:{bank.device}", profile)


def test_payment(bank):
    pays(bank, f"tcl:{bank.device}")


def test_card_knows_its_field(bank):
    done = bank.lab.run("cardwire", "--json", "--reader", f"tcl:{bank.device}", "card")
    assert json_lines(done.stdout)[-1]["interface"] == "contactless", (done.stdout, done.stderr)


class ByHand:
    """What tests/replay wants of a reader, for a blank card in a field; it counts the requests for more time."""

    used = False

    def __init__(self, air):
        self.air, self.number, self.waits = air, 0, 0

    def reset(self):
        self.air.send(b"\xc2")
        assert self.air.answer() == b"\xc2"
        self.air.send(RATS)
        assert self.air.answer() == ATS
        self.number = 0

    def transceive(self, command):
        self.air.send(bytes([2 | self.number]) + command)
        while (said := self.air.answer(60))[:1] == b"\xf2":
            self.waits += 1
            self.air.send(b"\xf2" + bytes([said[1] & 0x3F]))
        assert said[0] == 2 | self.number, said
        self.number ^= 1
        return said[1:]


def test_long_work(bank, tmp_path):
    """The card makes keys of RSA, each in one piece, which takes longer than FWT: it asks for more time, and answers."""
    device, path = bank.lab.folder / "work-air", tmp_path / "rsa.apdu"
    serial_card(bank.lab, bank.lab.subfolder("work"), device, kind="tcl")
    path.write_text("card blank\nchannel open\n" + "".join(
        f'\n@ docs/card.md "Commands": RSA in one piece\nsecured > 00 47 00 {slot}\n< 9000\n'
        for slot in ("02", "04")), encoding="utf-8")
    with Air(device) as air:
        assert air.activate() == ATS
        reader = ByHand(air)
        assert Replay(reader, World()).run(path) > 0
        assert reader.waits > 0


def test_nobody_there(bank):
    code, said = cardwire(bank, "login", device=f"{bank.device}-not")
    assert code != 0 and "start the card there" in said["detail"], said


def test_one_at_a_time(bank):
    with Air(bank.device) as air:
        assert air.activate() == ATS
        fcntl.flock(air.fd, fcntl.LOCK_EX)
        code, said = cardwire(bank, "login")
        assert code != 0 and "another program uses the card" in said["detail"], said


def test_field_off_in_the_middle(bank):
    """Of a frame, of a command that the card is at, of its answer: the next one finds a card that starts."""
    command = frame(b"\x02" + SELECT)
    for cut in range(1, len(command) + 1):
        with Air(bank.device) as air:
            assert air.activate() == ATS
            air.say(command[:cut])
    code, said = cardwire(bank, "login")
    assert code == 0, said


def test_card_dies_in_the_middle_of_an_answer(bank):
    """The reader says so, and does not take half an answer for one."""
    lab = bank.lab
    device = lab.folder / "dies-air"
    card = serial_card(lab, lab.subfolder("dies"), device, "--kbit", "106", kind="tcl")
    pipe = lab.program("cardwire").parent.parent / "tests" / "replay" / "apdu_pipe"
    reader = lab.start("apdu_pipe", [pipe, f"tcl:{device}"], stdin=-1, stdout=-1, text=True)
    assert reader.stdout.readline().strip() == "3B8180018080"
    card.kill()
    reader.stdin.write(SELECT.hex().upper() + "\n")
    reader.stdin.flush()
    assert reader.wait(60) == 1
    assert reader.stdout.read() == ""
    assert "gone" in reader.said() or "does not answer" in reader.said(), reader.said()


# ---- a reader that does not know how ----


@pytest.fixture
def air(bank):
    with Air(bank.device) as it:
        assert it.activate() == ATS
        yield it


def answers(air, number=0):
    """A command in order is answered in order, with an error of its own: it is not the answer to another."""
    air.send(bytes([2 | number]) + SELECT)
    said = air.answer()
    assert said[:1] == bytes([2 | number]) and len(said) == 3 and said[1:] != b"\x90\x00", said


def test_answers_rats_once(air):
    air.send(RATS)
    answers(air)


def test_silent_before_rats(bank):
    with Air(bank.device) as air:
        assert air.activate() == ATS  # it is this field, not that of the reader before
    with Air(bank.device) as air:
        try:
            air.send(b"\x02" + SELECT)
        except OSError:
            pass  # that of the reader before: nobody hears it
        assert air.activate() == ATS


NOISE = {
    "one zero": b"\x00", "one END": b"\xc0", "ENDs": b"\xc0" * 2000, "ESC": b"\xdb", "ESC END": b"\xdb\xc0",
    "wrong escape in a good frame": b"\xc0\xdb" + frame(b"\x02" + LINK)[1:],
    "wrong escape": b"\xc0\xdb\x00\xc0", "half": frame(b"\x02" + LINK)[:4], "much": bytes(range(256)) * 8,
    "1 byte": slip(b"\x02"), "2 bytes": slip(b"\x02\x00"), "only a CRC": slip(crc_a(b"")),
    "wrong CRC": slip(b"\x02" + LINK + b"\x00\x00"), "truncated": slip(frame(b"\x02" + LINK)[1:-2]),
    "too long": frame(b"\x02" + bytes(254)), "much too long": frame(b"\x02" + bytes(600)),
    "unknown block": frame(b"\xff"), "S(PARAMETERS)": frame(b"\xf0"), "a CID of another": frame(b"\x0a\x05" + LINK),
    "S(WTX) for nothing": frame(b"\xf2\x01"), "PPS too late": frame(b"\x00"),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_noise(air, noise):
    """Silence, and the next frame is heard."""
    air.say(noise)
    answers(air)
    air.say(noise)
    answers(air, 1)


def test_nad_that_it_has_not(air):
    air.send(b"\x06\x00" + LINK)
    answers(air)


def test_byte_by_byte(air):
    for byte in frame(b"\x02" + SELECT):
        air.say(bytes([byte]))
        time.sleep(0.01)
    assert air.answer()[0] == 2


def test_two_frames_at_once(air):
    """The second comes while it is not the reader's turn: it is lost or heard later, and the two ends agree."""
    air.say(frame(b"\x02" + SELECT) + frame(b"\x03" + SELECT))
    assert air.answer()[0] == 2
    answers(air, 1)


def test_same_block_twice(air):
    air.send(b"\x02" + INFO)
    assert air.answer()[0] == 2
    air.send(b"\x02" + INFO)
    answers(air, 1)


def test_answer_again(air):
    """R(NAK) with the number of the answer (rule 11)."""
    air.send(b"\x02" + SELECT)
    first = air.answer()
    air.send(b"\xb2")
    assert air.answer() == first


def test_deselect_resets(air):
    """Selected again it is a card that starts: what was selected is not any more."""
    air.send(b"\x02" + LINK)
    assert air.answer() == b"\x02\x90\x00"
    air.send(b"\x03" + INFO)
    assert air.answer()[-2:] == b"\x90\x00"
    air.send(b"\xc2")
    assert air.answer() == b"\xc2"
    air.send(b"\x02" + INFO)  # not before RATS
    air.send(RATS)
    assert air.answer() == ATS
    air.send(b"\x02" + INFO)
    assert air.answer()[-2:] != b"\x90\x00"


def test_random_fields(bank):
    """Of frames and bytes, seeded, each in a field of its own; afterwards the card is as it was."""
    rng = random.Random(14443)
    for _ in range(30):
        with Air(bank.device) as air:
            assert air.activate() == ATS
            for _ in range(5):
                air.say(rng.choice([rng.randbytes(rng.randrange(1, 300)), frame(rng.randbytes(rng.randrange(1, 254))),
                                    frame(bytes([rng.randrange(256)]) + SELECT), frame(b"\x02" + SELECT)]))
                air.answer(0.02)
    assert bank.line.poll() is None
    code, said = cardwire(bank, "login")
    assert code == 0, said


@pytest.mark.parametrize("kbit, rate", [("106", 0), ("848", 3)])
def test_slow_field_takes_its_time(bank, kbit, rate):
    """--kbit: no less than the frames take, by the clock; how much more is the machine's affair."""
    lab = bank.lab
    device = lab.folder / f"slow-{kbit}"
    serial_card(lab, lab.subfolder(f"slow-card-{kbit}"), device, "--kbit", kbit, kind="tcl")
    with Air(device) as air:
        assert air.activate() == ATS
        start = time.monotonic()
        for number in range(20):
            answers(air, number % 2)
        bits = 9 * (8 + 5)  # of frames of 8 and 5 bytes, with their CRCs
        assert time.monotonic() - start >= 20 * ((bits * 128 >> rate) + 2 * 1172) / FC


@pytest.mark.parametrize("kbit", ["", "0", "105", "1060", "106kbit", "-1"])
def test_wrong_kbit(bank, kbit):
    done = bank.lab.run("cardwire-card", "--state", bank.lab.folder / "none", "--tcl", bank.lab.folder / "x",
                        "--kbit", kbit)
    assert done.returncode == 2 and "write 106, 212, 424 or 848" in done.stderr, done


@pytest.mark.parametrize("more", [["--etu", "1/9600"], ["--t1", "y"], ["--contactless"], ["--vpcd", "127.0.0.1:1"]])
def test_options_of_others(bank, more):
    done = bank.lab.run("cardwire-card", "--state", bank.lab.folder / "none", "--tcl", bank.lab.folder / "x", *more)
    assert done.returncode == 2 and "nothing that is not theirs" in done.stderr, done


def test_path_taken(bank):
    done = bank.lab.run("cardwire-card", "--state", bank.lab.subfolder("second"), "--tcl", bank.device)
    assert done.returncode == 1 and "is there already" in done.stderr, done


def test_line_ends_with_the_card(bank):
    lab = bank.lab
    device = lab.folder / "ends"
    card = serial_card(lab, lab.subfolder("ends-card"), device, kind="tcl")
    card.stop()
    wait_for("the link going", lambda: not device.is_symlink())
