"""The card that the faults are tried on, as its issuer gives it out: everything in it is known here, so that
it can be told when any of it gets out. World, server and the issuer's channel are those of the other tests."""

import os
import sys

from machine import Machine
from image import ROOT

sys.path[:0] = [str(ROOT / "tests" / "lib"), str(ROOT / "tests" / "replay")]
import scp03  # noqa: E402
import world as worlds  # noqa: E402

LINK = bytes.fromhex("F043574C01")
PIV = bytes.fromhex("A00000030800001000")
PIN, PUK, PIV_PIN, PIV_PUK = b"271828", b"31415926", b"161803", b"57721566"
ADMIN = bytes(range(0xA0, 0xB0))
SERIAL = bytes.fromhex("C0FFEE0000000001")
TIME = 1790000000
PAYER, PAYEE = b"DE02120300000000202051", b"DE02500105170137075030"


def tlv(tag, value):
    length = bytes([len(value)]) if len(value) < 0x80 else b"\x81" + bytes([len(value)]) if len(
        value) < 0x100 else b"\x82" + len(value).to_bytes(2, "big")
    return bytes([tag]) + length + value


def apdu(cla, ins, p1, p2, data=b"", le=None):
    """Extended length, which every command of the card takes."""
    head = bytes([cla, ins, p1, p2])
    if data:
        head += b"\0" + len(data).to_bytes(2, "big") + data
    elif le is not None:
        head += b"\0"
    return head + (le.to_bytes(2, "big") if le is not None else b"")


def select(aid):
    return apdu(0x00, 0xA4, 0x04, 0x0C, aid)


def verify(p2, pin):
    return apdu(0x00, 0x20, 0x00, p2, pin)


def order(amount=6000, payee=PAYEE, name=b"Ben", expiry=TIME + 10**8):
    return tlv(0x80, PAYER) + tlv(0x81, payee) + tlv(0x82, name) + tlv(
        0x83, amount.to_bytes(8, "big")) + tlv(0x84, b"EUR") + tlv(0x85, b"Lunch") + tlv(
            0x86, bytes(range(16))) + tlv(0x87, expiry.to_bytes(8, "big"))


class Refused(Exception):
    pass


class Card:
    """Machine and issuer. Commands that must work raise Refused when they do not."""

    def __init__(self, image):
        self.machine = Machine(image)
        self.world = worlds.World()
        self.keys = worlds.KEYS["maker"]
        self.host = None
        self.sequence = 0
        self.machine.power()

    def must(self, command):
        data, sw = self.machine.apdu(command)
        if sw != 0x9000:
            raise Refused(f"{command.hex()}: {sw:04X}")
        return data

    def channel(self):
        """Opens the issuer's channel."""
        self.must(select(LINK))
        self.begin_channel()
        cla, p1, data = self.host.authenticate(0x33)
        self.must(apdu(cla, 0x82, p1, 0, data))

    def begin_channel(self):
        self.host = scp03.Host(self.keys, bytes(range(8)))
        self.host.begin(self.must(apdu(0x80, 0x50, 0, 0, self.host.challenge, 0)))

    def secure(self, cla, ins, p1, p2, data=b""):
        out, sw = self.machine.apdu(self.wrap(cla, ins, p1, p2, data))
        if sw != 0x9000:
            raise Refused(f"{ins:02x} {p1:02x}{p2:02x}: {sw:04X}")
        return self.host.unwrap(sw, out)

    def wrap(self, cla, ins, p1, p2, data=b""):
        cla, data = self.host.wrap(cla, ins, p1, p2, data)
        return apdu(cla, ins, p1, p2, data, 0x400)

    def put(self, number, value):
        self.secure(0x00, 0xDA, number >> 8, number & 0xFF, value)

    def put_keys(self, new):
        self.secure(0x80, 0xD8, 0, 0x81, self.keys.put(new, 1))
        self.keys = new

    def personalise(self, policy_flags=0x28, small=0):
        """Blank to active. Policy: listed payees, sessions kept for good; limits 1,000.00 and 1,500.00."""
        w = self.world
        self.channel()
        self.put_keys(worlds.KEYS["issuer"])
        self.channel()
        for number, digits in enumerate((PIN, PUK, PIV_PIN, PIV_PUK)):
            self.put(0x0400 | number, b"\3\0" + digits)
        self.put(0x0A00, b"\x08" + ADMIN)
        self.put(0x0500, TIME.to_bytes(8, "big"))
        self.put(0x0600, tlv(0x80, bytes([policy_flags])) + tlv(0x81, bytes([4, 12, 0, 3])) + tlv(
            0x82, b"EUR" + b"".join(n.to_bytes(8, "big") for n in (100000, 150000, small, small))))
        self.put(0x0900, tlv(0x30, tlv(0x81, PAYEE) + tlv(0x82, b"Ben")))
        self.put(0x0700, w.values["UPDATE_KEY"])
        self.put(0x0200, w.values["ROOT"])
        self.put(0x0300, tlv(0x80, worlds.NAME.encode()) + tlv(0x81, b"\3"))
        for slot in (1, 3):
            self.secure(0x00, 0x47, 0, slot)
            certificate = w.certify(self.secure(0x80, 0x1E, 0, slot), slot == 3)
            self.put(0x0100 | slot, certificate)
        self.order_certificate = certificate
        for life in (2, 3):
            self.secure(0x80, 0xF0, 0x80, life)

    def piv_keys(self, references):
        """P-256 keys of the PIV application; their points."""
        self.admin()
        return {ref: self.must(apdu(0x00, 0x47, 0, ref, bytes.fromhex("AC03800111"), 0)) for ref in references}

    def admin(self):
        """Proves the administration key."""
        self.must(select(PIV))
        challenge = self.must(apdu(0x00, 0x87, 0, 0x9B, bytes.fromhex("7C028100"), 0))[4:]
        response = worlds.encipher("aes", ADMIN, challenge)
        self.must(apdu(0x00, 0x87, 0, 0x9B, tlv(0x7C, tlv(0x82, response)), 0))

    # --- lines ------------------------------------------------------------------------------------

    def open_line(self, profile="tls13", kind="", stop=lambda data: False):
        """A line to the server, or how far it gets; the last state byte."""
        context, _ = self.world.context(profile, kind)
        self.server = worlds.Server(context)
        self.must(select(LINK))
        self.must(verify(0x81, PIN))
        p1 = {"tls13": 1, "ecdhe": 2}[profile] | 0x10
        return self.pump(self.must(apdu(0x80, 0x10, p1, 0, b"", 0x400)), stop)

    def pump(self, answer, stop=lambda data: False):
        """Moves bytes until nothing moves, or until `stop` says so of what would go into the card."""
        while True:
            self.server.feed(answer[1:])
            data = self.server.take()
            if answer[0] & 0x02:
                data = b""
            elif not data or stop(data):
                self.pending = data
                return answer[0]
            answer = self.must(apdu(0x80, 0x12, 0, 0, data, 0x400))

    def secrets(self):
        """What never leaves the card."""
        k = self.keys
        return [PIN, PUK, PIV_PIN, PIV_PUK, ADMIN, k.enc, k.mac, k.dek]


if __name__ == "__main__":
    from image import Image
    import time
    start = time.time()
    card = Card(Image(sys.argv[1]))
    card.personalise()
    print("personalised", time.time() - start)
    card.piv_keys([0x9A, 0x9C])
    print("piv", time.time() - start)
    for profile in ("tls13", "ecdhe"):
        print(profile, hex(card.open_line(profile)), card.server.open, time.time() - start)
    print([hex(x) for x in [card.machine.apdu(apdu(0x80, 0x18, 0, 0, order(), 0x400))[1]]])
    card.must(verify(0x82, PIN))
    t = time.time()
    print(len(card.must(apdu(0x80, 0x18, 0, 0, order(), 0x400))), time.time() - t)
    os._exit(0)
