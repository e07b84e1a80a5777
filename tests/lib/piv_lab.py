"""Cards with a PIV application, for tests that use it with software that nobody here wrote: issued by hand
through the issuer's secure channel (docs/scp03.md), and put into the private PC/SC daemon of the lab."""

import os
import struct
import time

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rawcard import PIN, SLOTS, RawCard, put
from scp03 import Host, Keys

INITIAL = Keys(*[bytes(range(0x40, 0x50))] * 3)  # of a card as its maker delivers it
ISSUER = Keys(bytes(range(0x10, 0x20)), bytes(range(0x20, 0x30)), bytes(range(0x30, 0x40)))
PUK = "31415926"

PIV_PIN, PIV_PUK = "314159", "27182818"
ALGORITHM = {"3des": 0x03, "aes128": 0x08, "aes192": 0x0A, "aes256": 0x0C}
# Odd parity, which some tools want of a DES key, and three different keys.
ADMIN = {"3des": bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123"),
         "aes128": bytes(range(0xA0, 0xB0)), "aes192": bytes(range(0xA0, 0xB8)),
         "aes256": bytes(range(0xA0, 0xC0))}
CONTACTLESS_LINE, CONTACTLESS_PIV = 0x01, 0x04


def must(answer):
    assert answer[1] == 0x9000, f"{answer[1]:04X}"
    return answer[0]


class Channel:
    """The issuer's secure channel to the card, everything encrypted both ways."""

    def __init__(self, card, keys=ISSUER):
        self.card, self.host = card, Host(keys, os.urandom(8))
        card.select()
        self.host.begin(must(card.command(0x80, 0x50, 0, 0, self.host.challenge, le=256)))
        cla, level, data = self.host.authenticate(0x33)
        must(card.command(cla, 0x82, level, 0, data))

    def command(self, cla, ins, p1=0, p2=0, data=b""):
        cla, data = self.host.wrap(cla, ins, p1, p2, data)
        answer, sw = self.card.command(cla, ins, p1, p2, data, le=256)
        return self.host.unwrap(sw, answer), sw

    def put(self, number, value):
        must(self.command(0x00, 0xDA, number >> 8, number & 0xFF, value))

    def put_pin(self, which, digits, tries=3, flags=0):
        self.put(0x0400 | which, bytes([tries, flags]) + digits.encode())

    def put_piv(self, admin):
        """PIN, PUK and administration key of the PIV application; admin: a name in ADMIN."""
        self.put_pin(2, PIV_PIN)
        self.put_pin(3, PIV_PUK)
        self.put(0x0A00, bytes([ALGORITHM[admin]]) + ADMIN[admin])


def issue(card, card_ca, server_ca, name, admin="3des", policy=CONTACTLESS_LINE, kinds=("p256",)):
    """Blank to active, with a line to `name` and a PIV application."""
    new = Channel(card, INITIAL)
    must(new.command(0x80, 0xD8, 0, 0x81, INITIAL.put(ISSUER, 1)))
    for kind in kinds:
        for slot in SLOTS[kind]:
            must(new.command(0x00, 0x47, 0, slot))
            request = must(new.command(0x80, 0x1E, 0, slot))
            new.put(0x0100 | slot, card_ca.sign(request, order=slot > 2))
    new.put(0x0200, server_ca.der(server_ca.cert))
    new.put(0x0300, put(0x80, name.encode()) + put(0x81, b"\7"))
    new.put(0x0500, struct.pack(">Q", int(time.time())))
    new.put(0x0600, put(0x80, bytes([policy])) + put(0x81, bytes([4, 12, 0, 3])))
    update = ec.generate_private_key(ec.SECP256R1()).public_key()
    new.put(0x0700, update.public_bytes(serialization.Encoding.X962,
                                        serialization.PublicFormat.UncompressedPoint))
    new.put_pin(0, PIN)
    new.put_pin(1, PUK)
    new.put_piv(admin)
    for life in (2, 3):
        must(new.command(0x80, 0xF0, 0x80, life))
    card.reset()


def issue_in(lab, folder, card_ca, server_ca, name="server.cardwire.test", **options):
    """The same with the card in `folder`."""
    with RawCard(lab, folder) as card:
        issue(card, card_ca, server_ca, name, **options)
