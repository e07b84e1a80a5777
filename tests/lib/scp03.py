"""SCP03 (GlobalPlatform Amendment D v1.1.2, AES-128, S8 mode), both ends, written from the specification
and sharing nothing with proto/scp03.c: what the C code is held against, and the issuer of tests that talk
to a card by hand.

    host = Host(Keys(enc, mac, dek), host_challenge)
    answer, sw = card.command(0x80, 0x50, kvn, 0, host.challenge, 256)
    host.begin(answer)
    cla, p1, data = host.authenticate(0x33)     # 84 82 P1 00
    cla, data = host.wrap(0x80, ins, p1, p2, data)
    plain = host.unwrap(sw, answer)

`python3 tests/lib/scp03.py` prints the digests that tests/unit/test_proto_scp03.c has."""

import dataclasses
import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

C_MAC, C_DECRYPTION, R_MAC, R_ENCRYPTION = 0x01, 0x02, 0x10, 0x20
LEVELS = (0x00, 0x01, 0x03, 0x11, 0x13, 0x33)


class Refused(Exception):
    """What came cannot be from the other end."""


def cmac(key, data):
    c = CMAC(algorithms.AES(key))
    c.update(data)
    return c.finalize()


def cbc(encrypt, key, iv, data):
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    run = cipher.encryptor() if encrypt else cipher.decryptor()
    return run.update(data) + run.finalize()


def derive(key, constant, context, bits):
    """§4.1.5; one block of the PRF is enough for AES-128."""
    label = bytes(11) + bytes([constant])
    return cmac(key, label + b"\0" + bits.to_bytes(2, "big") + b"\1" + context)[:bits // 8]


def card_challenge(enc, sequence, aid):
    """§6.2.2.1, pseudo-random."""
    return derive(enc, 0x02, sequence.to_bytes(3, "big") + aid, 64)


def pad(data):
    return data + b"\x80" + bytes(15 - len(data) % 16)


def unpad(data):
    stripped = data.rstrip(b"\0")
    if not stripped.endswith(b"\x80") or len(data) - len(stripped) > 15 or len(stripped) == 1:
        raise Refused("padding")
    return stripped[:-1]


def is_error(sw):
    """§6.2.5: neither success nor a warning."""
    return sw != 0x9000 and sw >> 8 not in (0x62, 0x63)


@dataclasses.dataclass(frozen=True)
class Keys:
    enc: bytes
    mac: bytes
    dek: bytes

    @staticmethod
    def check(key):
        """Key check value, §4.1.4."""
        return cbc(True, key, bytes(16), b"\1" * 16)[:3]

    @classmethod
    def of_card(cls, master, serial):
        """The bank's: NIST SP 800-108 in counter mode, everything else as docs/scp03.md has it."""
        return cls(*(cmac(master, b"\0\0\0\1" + label + b"\0" + serial + b"\0\0\0\x80")
                     for label in (b"ENC", b"MAC", b"DEK")))

    def put(self, new, version):
        """The data field of PUT KEY that replaces this set by `new`."""
        data = bytes([version])
        for key in (new.enc, new.mac, new.dek):
            data += b"\x88\x11\x10" + cbc(True, self.dek, bytes(16), key) + b"\3" + self.check(key)
        return data

    def confirm(self, version):
        """The answer of the card that has taken this set."""
        return bytes([version]) + b"".join(self.check(k) for k in (self.enc, self.mac, self.dek))


class Session:
    """What both ends know."""

    def __init__(self, keys, host_challenge, challenge):
        context = host_challenge + challenge
        self.enc = derive(keys.enc, 0x04, context, 128)
        self.mac = derive(keys.mac, 0x06, context, 128)
        self.rmac = derive(keys.mac, 0x07, context, 128)
        self.card_cryptogram = derive(self.mac, 0x00, context, 64)
        self.host_cryptogram = derive(self.mac, 0x01, context, 64)
        self.chaining = bytes(16)
        self.level = 0
        self.counter = 0

    def command_mac(self, cla, ins, p1, p2, data):
        lc = len(data) + 8
        head = bytes([cla, ins, p1, p2])
        head += bytes([lc]) if lc <= 255 else b"\0" + lc.to_bytes(2, "big")
        return cmac(self.mac, self.chaining + head + data)

    def response_mac(self, sw, data):
        return cmac(self.rmac, self.chaining + data + sw.to_bytes(2, "big"))[:8]

    def crypt(self, encrypt, response, data):
        block = bytearray(self.counter.to_bytes(16, "big"))
        if response:
            block[0] = 0x80
        return cbc(encrypt, self.enc, cbc(True, self.enc, bytes(16), bytes(block)), data)


class Host:
    def __init__(self, keys, challenge):
        self.keys, self.challenge = keys, challenge

    def begin(self, answer):
        """The answer to INITIALIZE UPDATE -> its parts, once the card has proved itself."""
        if len(answer) < 29 or len(answer) != (32 if answer[12] & 0x10 else 29):
            raise Refused("length")
        if answer[11] != 3:
            raise Refused("protocol")
        self.session = Session(self.keys, self.challenge, answer[13:21])
        if answer[21:29] != self.session.card_cryptogram:
            raise Refused("card cryptogram")
        return {"diversification": answer[:10], "version": answer[10], "i": answer[12],
                "challenge": answer[13:21], "sequence": answer[29:]}

    def authenticate(self, level):
        """(CLA, P1, data) of EXTERNAL AUTHENTICATE."""
        s = self.session
        s.chaining = s.command_mac(0x84, 0x82, level, 0, s.host_cryptogram)
        s.level = level
        return 0x84, level, s.host_cryptogram + s.chaining[:8]

    def wrap(self, cla, ins, p1, p2, data=b""):
        """(CLA, data) of the protected command."""
        s = self.session
        if not s.level & C_MAC:
            return cla, data
        s.counter += 1
        if s.level & C_DECRYPTION and data:
            data = s.crypt(True, False, pad(data))
        s.chaining = s.command_mac(cla | 4, ins, p1, p2, data)
        return cla | 4, data + s.chaining[:8]

    def unwrap(self, sw, data):
        s = self.session
        if not s.level & R_MAC:
            return data
        if is_error(sw):
            if data:
                raise Refused("data beside an error")
            return b""
        data, mac = data[:-8], data[-8:]
        if mac != s.response_mac(sw, data):
            raise Refused("R-MAC")
        return unpad(s.crypt(False, True, data)) if s.level & R_ENCRYPTION and data else data


class Card:
    def __init__(self, keys, version, diversification=bytes(10)):
        self.keys, self.version, self.diversification = keys, version, diversification

    def begin(self, host_challenge, challenge, i=0x60, sequence=b""):
        """The answer to INITIALIZE UPDATE."""
        self.session = Session(self.keys, host_challenge, challenge)
        return (self.diversification + bytes([self.version, 3, i]) + challenge +
                self.session.card_cryptogram + sequence)

    def authenticate(self, level, data):
        s = self.session
        mac = s.command_mac(0x84, 0x82, level, 0, data[:8])
        if data != s.host_cryptogram + mac[:8] or level not in LEVELS:
            raise Refused("EXTERNAL AUTHENTICATE")
        s.chaining, s.level = mac, level

    def unwrap(self, cla, ins, p1, p2, data):
        """(CLA, data) of the command in clear."""
        s = self.session
        if not s.level & C_MAC:
            return cla, data
        s.counter += 1
        data, mac = data[:-8], data[-8:]
        full = s.command_mac(cla, ins, p1, p2, data)
        if not cla & 4 or mac != full[:8]:
            raise Refused("C-MAC")
        s.chaining = full
        if s.level & C_DECRYPTION and data:
            data = unpad(s.crypt(False, False, data))
        return cla & ~4, data

    def wrap(self, sw, data):
        s = self.session
        if not s.level & R_MAC:
            return data
        if is_error(sw):
            return b""
        if s.level & R_ENCRYPTION and data:
            data = s.crypt(True, True, pad(data))
        return data + s.response_mac(sw, data)


# What the C code is held against: one session for each level, with a command of every length from 0 to
# 300 and some long ones, chained, and an answer to each.
LENGTHS = (*range(301), 511, 512, 1023, 1024, 2039, 2040, 2047, 2048)
STATUS = (0x9000, 0x6283, 0x63C1, 0x6985)


def transcript(level):
    """Everything that crosses the reader in that session, with lengths, as bytes."""
    keys = Keys(bytes(range(0x00, 0x10)), bytes(range(0x10, 0x20)), bytes(range(0x20, 0x30)))
    host = Host(keys, bytes(range(0xA0, 0xA8)))
    card = Card(keys, 0x30, bytes(range(10)))
    out = card.begin(host.challenge, bytes(range(0xC0, 0xC8)))
    host.begin(out)
    _, _, data = host.authenticate(level)
    card.authenticate(level, data)
    out += data
    for n in LENGTHS:
        ins, p1, p2 = 0xE2, n >> 8, n & 0xFF
        plain = bytes((n + 7 * i) & 0xFF for i in range(n))
        cla, data = host.wrap(0x80, ins, p1, p2, plain)
        if card.unwrap(cla, ins, p1, p2, data) != (0x80, plain):
            raise AssertionError(f"level {level:02X}, command of {n} bytes")
        out += bytes([cla, ins, p1, p2]) + len(data).to_bytes(2, "big") + data
        sw = STATUS[n % 4]
        plain = b"" if is_error(sw) else bytes((3 * n + i) & 0xFF for i in range(n))
        data = card.wrap(sw, plain)
        if host.unwrap(sw, data) != plain:
            raise AssertionError(f"level {level:02X}, answer of {n} bytes")
        out += sw.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
    return out


def digest(level):
    return hashlib.sha256(transcript(level)).hexdigest()


if __name__ == "__main__":
    for one in LEVELS:
        print(f"{one:02x} {digest(one)}")
