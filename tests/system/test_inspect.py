"""cardwire-card inspect: what it shows of a card's memory, that it shows no secret and writes nothing, also
while the card runs, and what it says of a memory that is damaged. The memory is read here once more, by what
docs/memory.md says about it."""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import threading
import types
import zlib

import pytest

from cardwire_lab import Lab
from rawcard import RawCard

PIN = "135790"
BANK = 32768
HEADER, RECORD, MEMBER = 16, 24, 6
VALUE, REMOVED, GROUP = 1, 2, 3


@pytest.fixture(scope="module")
def bank():
    """A card as the bank issues it, with keys of both kinds."""
    with Lab() as lab:
        folder = lab.folder / "bank"
        assert lab.run("cardwired", "init", folder).returncode == 0
        assert lab.run("cardwired", "--dir", folder, "customer", "add", "--name", "Ada").returncode == 0
        pin = lab.file("pin", PIN + "\n")
        done = lab.run("cardwired", "--dir", folder, "card", "issue", "--customer", 1, "--key", "both",
                       "--reader", f"inproc:{lab.folder}/card", "--pin-file", pin)
        assert done.returncode == 0, done.stderr
        yield types.SimpleNamespace(lab=lab, card=lab.folder / "card", serial=done.stdout.strip())


@pytest.fixture
def card(bank, tmp_path):
    """A copy of that card."""
    shutil.copytree(bank.card, tmp_path / "card")
    return tmp_path / "card"


def inspect(bank, folder, *options):
    return bank.lab.run("cardwire-card", "inspect", "--state", folder, *options)


def seen(bank, folder):
    done = inspect(bank, folder, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def crc(data):
    return struct.pack(">I", zlib.crc32(data) ^ 0xFFFFFFFF)


class Memory:
    """flash.bin, read by docs/memory.md."""

    def __init__(self, folder):
        self.path = folder / "flash.bin"
        self.flash = bytearray(self.path.read_bytes())
        live = [(struct.unpack(">I", h[8:12])[0], at) for at in (0, BANK)
                if (h := self.flash[at:at + HEADER])[:5] == b"CWNV\x01" and crc(h[:12]) == h[12:]]
        self.generation, self.base = max(live)
        self.values, self.records = {}, []
        at = self.base + HEADER
        while self.flash[at] == 0xA5:
            kind, number, length = struct.unpack(">BHH", self.flash[at + 1:at + 6])
            value = bytes(self.flash[at + RECORD:at + RECORD + length])
            assert crc(self.flash[at:at + 8] + value) == self.flash[at + 8:at + 12]
            assert self.flash[at + 16:at + 24] == b"CWDONE\xa5\0"
            self.records.append((at, length))
            if kind == GROUP:
                while value:
                    kind, number, length = struct.unpack(">BHH", value[1:MEMBER])
                    self._put(kind, number, value[MEMBER:MEMBER + length])
                    value = value[MEMBER + length:]
            else:
                self._put(kind, number, value)
            at += RECORD + -(-self.records[-1][1] // 8) * 8
        self.end = at

    def _put(self, kind, number, value):
        self.values.pop(number, None)
        if kind == VALUE:
            self.values[number] = value

    def write(self):
        self.path.write_bytes(self.flash)


def named(said, name):
    return [v for v in said["values"] if v["name"] == name]


def test_inspect_shows_the_memory(bank, card):
    memory = Memory(card)
    said = seen(bank, card)
    assert said["ok"] and said["serial"] == bank.serial
    assert not said["in_use"] and not said["torn_write"] and not said["torn_move"]
    assert said["generation"] == memory.generation and said["bank"] == memory.base // BANK
    size = said["bytes"]
    assert size["log"] == memory.end - memory.base - HEADER
    assert size["live"] == sum(RECORD + -(-len(v) // 8) * 8 for v in memory.values.values())
    assert size["capacity"] == BANK - HEADER and size["free"] == size["capacity"] - size["live"]
    assert {v["number"]: v["bytes"] for v in said["values"]} == {
        n: len(v) for n, v in memory.values.items()}
    assert said["life"] == "active" and named(said, "life")[0]["value"] == 3
    assert named(said, "pin-tries")[0]["value"] == 3
    assert named(said, "order-counter")[0]["value"] == 0
    assert named(said, "time")[0]["text"].endswith("Z")
    assert [c["index"] for c in named(said, "certificate")] == [1, 2, 3, 4]
    assert all(bank.serial in c["text"] and c["until"] > "2026" for c in named(said, "certificate"))
    assert named(said, "root")[0]["text"].startswith("CN=")
    assert named(said, "server")[0]["text"] == "bank.cardwire.test"
    text = inspect(bank, card).stdout
    for v in said["values"]:
        row = [line for line in text.splitlines() if line.startswith(f"{v['number']:04X}  ")]
        assert len(row) == 1 and v["name"] in row[0] and str(v["bytes"]) in row[0].split()
    assert bank.serial in text and f"generation {memory.generation}" in text


def secrets(memory):
    """What nobody may see: values of the private keys and the PIN, in every way they could be written."""
    for number, value in memory.values.items():
        # Keys of the library, of PIV and of the issuer, sessions; of a PIN not its flags and length.
        secret = number >= 0x4000 or number >> 8 in (0x08, 0x0A, 0x10) or number == 0x13
        hidden = value if secret else value[2:] if number >> 8 == 0x04 else b""
        for at in range(0, len(hidden) - 5):
            part = hidden[at:at + 6]
            if len(set(part)) > 2:
                yield from (part, part.hex().encode(), part.hex().upper().encode())


def test_inspect_shows_no_secret(bank, card):
    memory = Memory(card)
    hidden = set(secrets(memory))
    assert PIN.encode() in hidden and len(hidden) > 5000
    for option in ([], ["--json"]):
        done = inspect(bank, card, *option)
        said = (done.stdout + done.stderr).encode()
        assert done.returncode == 0 and not [s for s in hidden if s in said]
    for v in seen(bank, card)["values"]:
        if v["name"] in ("pin", "private-key", "issuer-keys", "session", "piv-key", "piv-admin-key"):
            assert set(v) <= {"number", "name", "index", "bytes"}
    assert any(s in bytes(memory.flash) for s in hidden)  # and would be found


def test_a_value_without_a_name_is_not_shown(bank, card):
    memory = Memory(card)
    head = struct.pack(">BBHHH", 0xA5, VALUE, 0x7ABC, 12, 0)
    value = b"who knows me"
    record = head + crc(head + value) + bytes(4) + b"CWDONE\xa5\0" + value
    memory.flash[memory.end:memory.end + len(record)] = record
    memory.write()
    said = seen(bank, card)
    assert [v for v in said["values"] if v["number"] == 0x7ABC] == [
        {"number": 0x7ABC, "name": None, "bytes": 12}]
    assert "who knows" not in inspect(bank, card).stdout


def state(folder):
    return {p.name: (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns, p.stat().st_ino)
            for p in folder.iterdir()} | {".": folder.stat().st_mtime_ns}


def test_inspect_writes_nothing(bank, card):
    memory = Memory(card)
    memory.flash[memory.end:memory.end + 16] = struct.pack(">BBHHHII", 0xA5, 1, 9, 20, 0, 1, 0)
    memory.write()  # a torn write, which a card would repair
    before = state(card)
    for option in ([], ["--json"]):
        assert inspect(bank, card, *option).returncode == 0
    assert state(card) == before
    assert bank.lab.run("cardwire", "--reader", f"inproc:{card}", "card").returncode == 0
    with RawCard(bank.lab, card) as raw:  # a card does write, and this would be noticed
        raw.select()
        assert raw.verify(PIN) == 0x9000
    assert state(card) != before


def test_torn_writes_are_seen(bank, card):
    memory = Memory(card)
    memory.flash[memory.end:memory.end + 3] = b"\xa5\x01\x00"
    memory.write()
    said = seen(bank, card)
    assert said["torn_write"] and not said["torn_move"]
    assert "a write" in inspect(bank, card).stdout
    memory.flash[memory.end:memory.end + 3] = b"\xff\xff\xff"
    memory.flash[(BANK - memory.base) + 5000] = 0
    memory.write()
    said = seen(bank, card)
    assert said["torn_move"] and not said["torn_write"]
    assert "other bank" in inspect(bank, card).stdout


def test_inspect_while_the_card_runs(bank, card):
    with RawCard(bank.lab, card) as raw:
        raw.select()
        said = seen(bank, card)
        assert said["in_use"] is True and "another program" in inspect(bank, card).stdout
        assert raw.verify("999999") == 0x63C2
        assert named(seen(bank, card), "pin-tries")[0]["value"] == 2
        assert raw.verify(PIN) == 0x9000
        assert seen(bank, card)["in_use"] is True
    said = seen(bank, card)
    assert said["in_use"] is False and named(said, "pin-tries")[0]["value"] == 3


def test_inspect_while_the_card_writes(bank, card, monkeypatch):
    """What is seen is the memory at one moment: never damaged, however the card moves it about."""
    monkeypatch.setenv("CARDWIRE_CARD_NOSYNC", "1")
    stop = threading.Event()
    done = []
    with RawCard(bank.lab, card) as raw:
        raw.select()

        def work():
            while not stop.is_set():
                done.append(raw.verify(PIN))
        worker = threading.Thread(target=work)
        worker.start()
        try:
            generations = [seen(bank, card)["generation"]]
            while generations[-1] < generations[0] + 5:
                assert worker.is_alive()
                generations.append(seen(bank, card)["generation"])
        finally:
            stop.set()
            worker.join()
    assert set(done) == {0x9000} and generations == sorted(generations)


def test_inspect_never_keeps_a_card_from_starting(bank, card):
    stop = threading.Event()
    looks = []

    def work():
        while not stop.is_set():
            looks.append(inspect(bank, card, "--json").returncode)
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(30):
            done = bank.lab.run("cardwire", "--reader", f"inproc:{card}", "card")
            assert done.returncode == 0, done.stderr
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert looks and set(looks) == {0}


def refused(bank, folder, *parts):
    """One sentence with the parts on stderr, the same in JSON; returns the JSON."""
    text, done = inspect(bank, folder), inspect(bank, folder, "--json")
    said = json.loads(done.stdout)
    assert text.returncode == done.returncode == 1 and text.stdout == "" and done.stderr == ""
    assert text.stderr == f"cardwire-card: {said['detail']}\n" and said["ok"] is False
    for part in parts:
        assert str(part) in said["detail"], said["detail"]
    return said


def test_damage_is_named_and_nothing_is_believed(bank, card):
    memory = Memory(card)
    assert len(memory.records) > 10
    for at, length in memory.records:
        for damaged in {at, at + 4, at + 9, at + RECORD + length // 2} if length else {at + 1}:
            memory.flash[damaged] ^= 0x40
            memory.write()
            before = state(card)
            said = refused(bank, card, card / "flash.bin", "damaged", at, f"0x{at:04X}")
            assert said["fault"] == "record" and said["offset"] == at
            assert state(card) == before
            memory.flash[damaged] ^= 0x40
    memory.flash[memory.base + 2] ^= 1
    memory.write()
    said = refused(bank, card, "damaged", "bank")
    assert said["fault"] == "header"
    memory.flash[memory.base + 2] ^= 1
    head = struct.pack(">BBHHH", 0xA5, 9, 1, 0, 0)
    memory.flash[memory.end:memory.end + RECORD] = head + crc(head) + bytes(4) + b"CWDONE\xa5\0"
    memory.write()
    said = refused(bank, card, "damaged", memory.end)
    assert said["fault"] == "content"


def test_what_is_no_card(bank, card, tmp_path):
    absent = tmp_path / "absent"
    assert refused(bank, absent, absent)["error"] == "not-found"
    assert not absent.exists()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(bank, empty, empty, "no card")["error"] == "not-found"
    assert not list(empty.iterdir())
    refused(bank, card / "id", card / "id")
    (card / "id").write_text("not a serial number")
    refused(bank, card, card / "id")
    (card / "id").unlink()
    refused(bank, card, card / "id")
    flash = (card / "flash.bin").read_bytes()
    (card / "flash.bin").write_bytes(flash[:-1])
    refused(bank, card, card / "flash.bin", len(flash))
    (card / "flash.bin").unlink()
    os.mkfifo(card / "flash.bin")
    refused(bank, card, card / "flash.bin")


def test_a_card_that_never_had_power(bank, card):
    (card / "flash.bin").write_bytes(b"\xff" * 2 * BANK)
    said = seen(bank, card)
    assert said["fresh"] and said["life"] is None and said["values"] == []
    assert "never had power" in inspect(bank, card).stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_answer_that_cannot_be_written(bank, card, options):
    program = bank.lab.program("cardwire-card")
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([program, "inspect", "--state", card, *options], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "written" in done.stderr


@pytest.mark.parametrize("args, parts", [
    (["inspect"], ["--state"]),
    (["inspect", "--state", "X", "--vpcd", "127.0.0.1:1"], ["inspect"]),
    (["inspect", "--state", "X", "--contactless"], ["inspect"]),
    (["inspect", "--state", "X", "more"], ["more"]),
    (["explain", "--state", "X"], ["explain"]),
    (["--state", "X", "--vpcd", "127.0.0.1:1", "--json"], ["--vpcd"]),
])
def test_inspect_called_wrongly(bank, args, parts):
    done = bank.lab.run("cardwire-card", *args)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    for part in parts:
        assert part in done.stderr
