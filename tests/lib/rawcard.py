"""A terminal of fifty lines, written from docs/card.md alone: plays the PC/SC daemon towards the program
cardwire-card (protocol of vpcd) and pumps a TLS line by hand, so that a test can send what no honest
terminal would."""

import contextlib
import os
import socket
import struct
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardwire_lab import wait_for
from scp03 import Host, Keys

AID = bytes.fromhex("F043574C01")
REASONS = ["none", "untrusted", "wrong-name", "expired", "ca-as-leaf", "no-server-auth", "key-usage",
           "weak", "bad-signature", "bad-finished", "bad-record", "oversize", "profile", "protocol",
           "alert", "no-client-auth", "eof", "memory", "malformed-certificate", "internal"]
PROFILE = {"default": 0, "tls13": 1, "ecdhe": 2, "rsa": 3}
FULL = 0x10  # OPEN P1: no session is to be offered
KEY = {"auto": 0, "p256": 1, "rsa": 2}
WANT_IN, OUT, OPEN, DATA, CLOSED, ERROR, PARTIAL, AGAIN = (1 << i for i in range(8))


def tlv(data):
    """BER-TLV with one-byte tags -> {tag: value}."""
    found = {}
    while data:
        tag, length, data = data[0], data[1], data[2:]
        if length == 0x81:
            length, data = data[0], data[1:]
        elif length == 0x82:
            length, data = struct.unpack(">H", data[:2])[0], data[2:]
        found[tag], data = data[:length], data[length:]
    return found


def put(tag, value):
    length = (bytes([len(value)]) if len(value) < 128 else
              bytes([0x81, len(value)]) if len(value) < 256 else
              b"\x82" + struct.pack(">H", len(value)))
    return bytes([tag]) + length + value


class RawCard:
    """The card in folder `state`, in a process of its own, powered by us."""

    def __init__(self, lab, state, *options):
        self.log = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.process = lab.start("cardwire-card", [
                lab.program("cardwire-card"), "--state", state,
                "--vpcd", f"127.0.0.1:{server.getsockname()[1]}", *options])
            server.settimeout(0.05)

            def accepted():
                with contextlib.suppress(TimeoutError):
                    return server.accept()[0]
                return None
            self.wire = wait_for("cardwire-card connecting", accepted, self.process)
        self.wire.settimeout(120)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.net = None
        self._control(1)
        self.atr = self._control(4)
        self.reset()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def hang_up(self):
        """Lets go of the server and resets the card: ready for the next line."""
        if self.net:
            self.net.close()
            self.net = None
        self.reset()

    def kill(self):
        """The card is torn out in the middle: its process gets no chance to do anything any more."""
        self.process.kill()
        self.process.wait()
        if self.net:
            self.net.close()
        self.wire.close()

    def close(self):
        if self.net:
            self.net.close()
        self.wire.close()
        self.process.stop()

    def _control(self, code):
        self.wire.sendall(struct.pack(">HB", 1, code))
        return self._receive() if code == 4 else b""

    def reset(self):
        self._control(2)

    def power_cycle(self):
        self._control(0)
        self._control(1)

    def _receive(self):
        data = b""
        want = 2
        while len(data) < want:
            part = self.wire.recv(65536)
            assert part, f"the card went away; it said: {self.process.tail()}"
            data += part
            if want == 2 and len(data) >= 2:
                want = 2 + struct.unpack(">H", data[:2])[0]
        return data[2:]

    def raw(self, apdu):
        """One APDU as it is; (data, status word)."""
        self.wire.sendall(struct.pack(">H", len(apdu)) + apdu)
        answer = self._receive()
        self.log.append((apdu, answer))
        return answer[:-2], struct.unpack(">H", answer[-2:])[0]

    def command(self, cla, ins, p1=0, p2=0, data=b"", le=None):
        """Chains what is longer than a short APDU; collects 61xx."""
        while len(data) > 255:
            _, sw = self.raw(bytes([cla | 0x10, ins, p1, p2, 255]) + data[:255])
            if sw != 0x9000:
                return b"", sw
            data = data[255:]
        apdu = bytes([cla, ins, p1, p2]) + (bytes([len(data)]) + data if data else b"")
        answer, sw = self.raw(apdu + (bytes([le & 0xFF]) if le is not None else b""))
        while sw >> 8 == 0x61:
            more, sw = self.raw(bytes([0x00, 0xC0, 0, 0, sw & 0xFF]))
            answer += more
        return answer, sw

    # --- the link application ---

    def select(self):
        assert self.command(0, 0xA4, 4, 0, AID, le=256)[1] == 0x9000

    def verify(self, pin, use=0x81):
        return self.command(0, 0x20, 0, use, pin.encode())[1]

    def info(self, what=0, p2=0):
        data, sw = self.command(0x80, 0x1A, what, p2, le=256)
        assert sw == 0x9000, f"INFO: {sw:04X}"
        return data

    def session(self):
        return tlv(self.info(1))

    def reason(self):
        return REASONS[self.session()[0x96][0]]

    def open(self, pin, port, name=b"", profile="default", key="auto", patience=60, resume=False):
        """SELECT, VERIFY, OPEN and the handshake; returns the state byte that it ended with.
        patience: seconds of silence after which the net has ended. resume: the card may go on from a
        session that it has kept; otherwise the handshake is a full one."""
        self.select()
        assert self.verify(pin) == 0x9000
        self.pending = b""
        self.net = socket.create_connection(("127.0.0.1", port))
        self.net.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.net.settimeout(patience)
        answer, sw = self.command(0x80, 0x10, PROFILE[profile] | (0 if resume else FULL), KEY[key],
                                  name.encode() if isinstance(name, str) else name, le=256)
        assert sw == 0x9000, f"OPEN: {sw:04X}"
        return self.pump(answer, lambda state: state & OPEN)

    def step(self, data=b"", ended=False):
        """STEP; what the card did not take of the net's bytes stays in self.pending."""
        answer, sw = self.command(0x80, 0x12, int(ended), 0, data, le=256)
        assert sw == 0x9000, f"STEP: {sw:04X}"
        self.pending = b""
        if answer[0] & PARTIAL:
            self.pending = data[struct.unpack(">H", answer[1:3])[0]:]
            answer = answer[:1] + answer[3:]
        return answer

    def pump(self, answer, done):
        """Carries bytes until done(state), or the line is over."""
        while True:
            state, out = answer[0], answer[1:]
            if out:
                with contextlib.suppress(OSError):
                    self.net.sendall(out)
            if state & (ERROR | CLOSED) and not state & OUT:
                return state
            if done(state) and not state & (OUT | AGAIN):
                return state
            ended = False
            if not self.pending and not state & (OUT | AGAIN) and state & WANT_IN:
                try:
                    self.pending = self.net.recv(1024)
                except OSError:
                    self.pending = b""
                ended = not self.pending
            answer = self.step(self.pending, ended)

    def write(self, plain):
        """At most what the card takes at once; the status word."""
        answer, sw = self.command(0x80, 0x14, 0, 0, plain, le=256)
        if sw == 0x9000:
            assert not answer[0] & PARTIAL, "too much for one WRITE"
            self.pump(answer, lambda state: True)
        return sw

    def read(self):
        """Waits for plaintext; b"" when the line is over."""
        if not self.pump(self.step(self.pending), lambda state: state & DATA) & DATA:
            return b""
        answer, sw = self.command(0x80, 0x16, 0, 0, le=256)
        assert sw == 0x9000, f"READ: {sw:04X}"
        return answer[1:]


PIN = "83159270461"  # long and odd, so that finding it anywhere means something
PUK = "60274918"
SLOTS = {"p256": (1, 3), "rsa": (2, 4)}
INITIAL = Keys(*[bytes(range(0x40, 0x50))] * 3)  # the maker's, as GlobalPlatform cards come
OWN = Keys(bytes([0xE1]) * 16, bytes([0xA2]) * 16, bytes([0xD3]) * 16)  # ours, version 1
UPDATE_KEY = ec.generate_private_key(ec.SECP256R1())
# Policy flags, proto/policy.h
LINE_AIR, ORDER_AIR, PIV_AIR, LISTED, SESSIONS_RAM, SESSIONS_NVM = (1 << i for i in range(6))
BLANK, PERSONALISED, ACTIVE, LOCKED, TERMINATED = range(1, 6)


def policy(flags=LINE_AIR | SESSIONS_NVM, pin=(4, 12, 0, 3), limits=()):
    """The value of object 0600. pin: least, most, rules, tries; limits: (currency, order, day, small,
    small total), amounts in minor units."""
    return (put(0x80, bytes([flags])) + put(0x81, bytes(pin)) + b"".join(
        put(0x82, currency.encode() + struct.pack(">4Q", *amounts)) for currency, *amounts in limits))


def payees(listed):
    """The value of object 0900, of (account, name)."""
    return b"".join(put(0x30, put(0x81, account.encode()) + put(0x82, name.encode()))
                    for account, name in listed)


def sealed(message, key=UPDATE_KEY):
    """A message of the issuer (proto/issuer.h) with its signature."""
    r, s = decode_dss_signature(key.sign(b"CARDWIRE ISSUER 1\n" + message, ec.ECDSA(hashes.SHA256())))
    return message + put(0x9E, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def time_message(serial, challenge, when, key=UPDATE_KEY):
    return sealed(put(0x80, b"\1") + put(0x81, serial) + put(0x83, challenge)
                  + put(0x84, struct.pack(">Q", when)), key)


def update_message(serial, sequence, writes, key=UPDATE_KEY):
    """writes: (object, value); an empty value removes."""
    return sealed(put(0x80, b"\2") + put(0x81, serial) + put(0x82, struct.pack(">I", sequence)) + b"".join(
        put(0x30, put(0x85, struct.pack(">H", number)) + put(0x86, value)) for number, value in writes), key)


class Issuer:
    """The issuer's secure channel to a card that is selected (SCP03, everything protected)."""

    def __init__(self, card, keys, version=0):
        self.card = card
        self.host = Host(keys, os.urandom(8))
        answer = self.must(card.command(0x80, 0x50, version, 0, self.host.challenge, le=256))
        self.host.begin(answer)
        cla, level, data = self.host.authenticate(0x33)
        self.must(card.command(cla, 0x82, level, 0, data))

    @staticmethod
    def must(answer):
        assert answer[1] == 0x9000, f"{answer[1]:04X}"
        return answer[0]

    def command(self, cla, ins, p1=0, p2=0, data=b""):
        """(data, status word)"""
        cla, data = self.host.wrap(cla, ins, p1, p2, data)
        answer, sw = self.card.command(cla, ins, p1, p2, data, le=256)
        return self.host.unwrap(sw, answer), sw

    def put(self, number, value):
        self.must(self.command(0, 0xDA, number >> 8, number & 0xFF, value))

    def put_pin(self, which, digits, tries=3, flags=0):
        """which: 0 the holder's, 1 the PUK."""
        self.put(0x0400 | which, bytes([tries, flags]) + digits.encode())

    def put_keys(self, old, new, version=1):
        answer = self.must(self.command(0x80, 0xD8, 0, 0x81, old.put(new, version)))
        assert answer == new.confirm(version)

    def life(self, state):
        self.must(self.command(0x80, 0xF0, 0x80, state))


def personalise(card, card_ca, roots, names, kinds=("p256",), floor=None, pin=PIN, terms=None,
                payee_list=(), life=ACTIVE):
    """Issues the blank card in `card` by hand, through the issuer's channel: our keys in place of the
    maker's, keys made on the card, certificates from card_ca (a Ca), roots (PEM files), names ({name:
    profile mask}), terms (a policy()), payees, update key, PIN and PUK. Returns the serial, in hex."""
    card.select()
    serial = tlv(card.info(0))[0x81].hex()
    issuer = Issuer(card, INITIAL)
    issuer.put_keys(INITIAL, OWN)
    for kind in kinds:
        for slot in SLOTS[kind]:
            issuer.must(issuer.command(0, 0x47, 0, slot))
            request = issuer.must(issuer.command(0x80, 0x1E, 0, slot))
            issuer.put(0x0100 | slot, card_ca.sign(request, order=slot > 2))
    for i, root in enumerate(roots):
        issuer.put(0x0200 | i, card_ca.der(root))
    for i, (name, mask) in enumerate(names.items()):
        issuer.put(0x0300 | i, put(0x80, name.encode()) + put(0x81, bytes([mask])))
    issuer.put(0x0500, struct.pack(">Q", int(floor or time.time())))
    issuer.put(0x0600, terms or policy())
    issuer.put(0x0700, UPDATE_KEY.public_key().public_bytes(Encoding.X962,
                                                            PublicFormat.UncompressedPoint))
    if payee_list:
        issuer.put(0x0900, payees(payee_list))
    issuer.put_pin(0, pin)
    issuer.put_pin(1, PUK)
    for state in range(PERSONALISED, life + 1):
        issuer.life(state)
    return serial


ORDER = (put(0x80, b"DE02120300000000202051") + put(0x81, b"DE02500105170137075030")
         + put(0x82, b"Ben") + put(0x83, (1234).to_bytes(8, "big")) + put(0x84, b"EUR")
         + put(0x85, b"Lunch") + put(0x86, bytes(range(16)))
         + put(0x87, (int(time.time()) + 3600).to_bytes(8, "big")))


def assert_no_session(card):
    """The line is dead: INFO says so, and the card takes and gives no data."""
    session = card.session()
    assert session[0x90][0] & ERROR
    assert not session[0x90][0] & OPEN
    assert card.command(0x80, 0x14, 0, 0, b"data", le=256)[1] == 0x6985
    answer, sw = card.command(0x80, 0x16, 0, 0, le=256)
    assert sw == 0x6985 or answer[1:] == b""
    # Nothing can be signed either, and nothing but the dead line is the reason: the order is one that a
    # living line signs (test_refusals.py) and its PIN was given.
    assert card.verify(PIN, 0x82) == 0x9000
    assert card.command(0x80, 0x18, 0, 0, ORDER, le=256) == (b"", 0x6985)
