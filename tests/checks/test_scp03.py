"""The C code of the secure channel is held against tests/lib/scp03.py by what its unit tests have of it:
digests of whole sessions, and bytes. They must be what the Python code says now."""

import pathlib
import re

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

import scp03

UNIT = pathlib.Path(__file__).resolve().parents[1] / "unit"
KEYS = scp03.Keys(bytes(range(0x00, 0x10)), bytes(range(0x10, 0x20)), bytes(range(0x20, 0x30)))
NEW = scp03.Keys(*(bytes([n]) + bytes(15) for n in (1, 2, 3)))


def text_of(file, name):
    """The hexadecimal strings with which the C file initialises `name`, joined."""
    source = (UNIT / file).read_text(encoding="utf-8")
    return "".join(re.findall(r'"([0-9a-f]+)"', re.search(rf"\b{name}\[\] =(.*?);", source, re.S)[1]))


def test_sessions():
    assert text_of("test_proto_scp03.c", "digests") == "".join(
        scp03.digest(level) for level in scp03.LEVELS)


def test_put_key():
    assert text_of("test_proto_scp03.c", "put_key_data") == KEYS.put(NEW, 0x31).hex()
    assert text_of("test_proto_scp03.c", "put_key_answer") == NEW.confirm(0x31).hex()


def test_card_keys():
    """Those that the bank derives from its master key; here by a library, and by tests/lib/scp03.py."""
    master, serial = bytes(range(0x40, 0x50)), bytes.fromhex("0102030405060708")
    library = b"".join(
        KBKDFCMAC(algorithms.AES, Mode.CounterMode, 16, 4, 4, CounterLocation.BeforeFixed, label, serial,
                  None).derive(master) for label in (b"ENC", b"MAC", b"DEK"))
    keys = scp03.Keys.of_card(master, serial)
    assert keys.enc + keys.mac + keys.dek == library
    assert text_of("test_bank_channel.c", "card_keys") == library.hex()
