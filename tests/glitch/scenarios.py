"""What somebody without the right would ask of the card, and how to tell that he got it.

A scenario prepares a card and gives the command; what the card must answer to it is part of it. `granted`
looks, after a fault, at what came out and at the card as it is now, and says what was won; None: nothing."""

import dataclasses
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import card as cards
from card import PIN, PUK, PIV_PIN, PIV_PUK, PIV, LINK, apdu, order, select, tlv, verify, worlds
from machine import Crashed, Endless

WRONG = b"999999"
NEW_PIN = b"735628"


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    sw: int          # without a fault
    prepare: object  # (card) -> command
    numbers: tuple   # what is given and wrong, and what would be right
    granted: tuple   # of (card, data, sw) -> what was won, or None; each finds the card as it was then


SCENARIOS = []


def scenario(name, sw, *granted, numbers=None):
    def keep(prepare):
        SCENARIOS.append(Scenario(name, sw, prepare, numbers, granted))
        return prepare
    return keep


def ask(card, *commands):
    """Status words, or None from where the card is no more."""
    out = []
    for command in commands:
        try:
            out.append(card.machine.apdu(command)[1])
        except (Crashed, Endless):
            return out + [None] * (len(commands) - len(out))
    return out


def look(card, *commands):
    """The data of the last one."""
    try:
        return [card.machine.apdu(command)[0] for command in commands][-1]
    except (Crashed, Endless):
        return b""


def power(card):
    """Off and on. False: it does not start, or there is nothing in memory that were not there without the fault."""
    if card.machine.memory() == card.stored:
        return False
    try:
        card.machine.power()
    except (Crashed, Endless):
        return False
    return True


OPEN = apdu(0x80, 0x10, 0x11, 0, b"", 0x400)
SIGN = apdu(0x80, 0x18, 0, 0, order(), 0x400)
HASH = bytes(range(32))


def piv_use(ref):
    return apdu(0x00, 0x87, 0x11, ref, tlv(0x7C, tlv(0x82, b"") + tlv(0x81, HASH)), 0x400)


# --- PINs ------------------------------------------------------------------------------------------------

def wins(*commands):
    """Commands of which the last works now."""
    def granted(card, data, sw):
        return "it is done" if ask(card, *commands)[-1] == 0x9000 else None
    return granted


FREE = "a try was free"


def free_try(*status):
    """The number may have been looked at, and after a loss of power there are as many tries as before. `status`:
    commands whose last answers 63Cx. It is only won if the right number would have given another answer."""
    def granted(card, data, sw):
        if sw >> 4 != 0x63C and sw != 0x9000 or card.machine.memory() == card.honest or not power(card):
            return None
        return FREE if ask(card, *status)[-1] == 0x63C3 else None
    return granted


PIN_LEFT = select(LINK), apdu(0x00, 0x20, 0x00, 0x81)
PIV_LEFT = select(PIV), apdu(0x00, 0x20, 0x00, 0x80)


def puk_free_try(card, data, sw):
    if sw >> 4 != 0x63C or card.machine.memory() == card.honest or not power(card):
        return None
    info = look(card, select(LINK), apdu(0x80, 0x1A, 0, 0, b"", 0x100))
    at = info.find(b"\x8b\x02")
    return FREE if info[at + 2:at + 3] == b"\3" else None


@scenario("VERIFY for the line, wrong PIN", 0x63C2, wins(OPEN), free_try(*PIN_LEFT), numbers=(WRONG, PIN))
def _(card):
    card.must(select(LINK))
    return verify(0x81, WRONG)


@scenario("VERIFY for an order, wrong PIN", 0x63C2, wins(SIGN), free_try(*PIN_LEFT), numbers=(WRONG, PIN))
def _(card):
    card.open_line()
    return verify(0x82, WRONG)


@scenario("VERIFY, right PIN, blocked", 0x6983, wins(OPEN))
def _(card):
    card.must(select(LINK))
    ask(card, *[verify(0x81, WRONG)] * 3)
    return verify(0x81, PIN)


@scenario("VERIFY, right PIN, card locked", 0x6985,
          lambda card, data, sw: "it was looked at" if card.machine.memory() != card.honest else None)
def _(card):
    card.channel()
    card.secure(0x80, 0xF0, 0x80, 4)
    card.must(select(LINK))
    return verify(0x81, PIN)


@scenario("VERIFY, transport PIN", 0x6985, wins(OPEN))
def _(card):
    card.channel()
    card.put(0x0400, b"\3\1" + PIN)
    card.must(select(LINK))
    return verify(0x81, PIN)


def two(first, second):
    return bytes([len(first)]) + first + second


def pin_is_new(card, data, sw):
    if power(card) and ask(card, select(LINK), verify(0x81, NEW_PIN))[1] == 0x9000:
        return "the PIN is new"
    return None


@scenario("CHANGE REFERENCE DATA, wrong PIN", 0x63C2, pin_is_new, free_try(*PIN_LEFT), numbers=(WRONG, PIN))
def _(card):
    card.must(select(LINK))
    return apdu(0x00, 0x24, 0x00, 0x81, two(WRONG, NEW_PIN))


@scenario("RESET RETRY COUNTER, wrong PUK", 0x63C2, pin_is_new, puk_free_try, numbers=(b"00000000", PUK))
def _(card):
    card.must(select(LINK))
    return apdu(0x00, 0x2C, 0x00, 0x81, two(b"00000000", NEW_PIN))


# --- the line ----------------------------------------------------------------------------------------------

@scenario("OPEN without PIN", 0x6982, lambda card, data, sw: "a line" if data[1:3] == b"\x16\3" else None)
def _(card):
    card.must(select(LINK))
    return OPEN


def signed_text(card, data):
    """What was signed, if it was."""
    if data[:1] != b"\x53":
        return b""
    length, at = int.from_bytes(data[2:4], "big"), 4
    if data[1] != 0x82:
        length, at = (data[2], 3) if data[1] == 0x81 else (data[1], 2)
    text, signature = data[at:at + length], data[at + length + 2:]
    digest = hashes.Hash(hashes.SHA256())
    digest.update(text)
    return text if worlds.ecdsa_is_good(card.order_certificate, signature, digest.finalize()) else b""


def signed(what=b""):
    """An order that has this in its text."""
    def granted(card, data, sw):
        text = signed_text(card, data)
        return "it is signed" if text and what in text else None
    return granted


@scenario("SIGN ORDER without PIN", 0x6982, signed(), wins(SIGN))
def _(card):
    card.open_line()
    return SIGN


def refused_order(name, what, **changes):
    @scenario("SIGN ORDER " + name, 0x6985, signed(what))
    def _(card):
        card.open_line()
        card.must(verify(0x82, PIN))
        return apdu(0x80, 0x18, 0, 0, order(**changes), 0x400)


refused_order("above the limit of one order", b"Pay: 1000.01 EUR", amount=100001)
refused_order("to another account", b"DE88100900001234567892", payee=b"DE88100900001234567892")
refused_order("expired", b"Expires: 2026-09-21", expiry=cards.TIME - 1)


@scenario("SIGN ORDER above the limit of the day", 0x6985, signed(b"Pay: 700.00 EUR"))
def _(card):
    card.open_line()
    card.must(verify(0x82, PIN))
    card.must(apdu(0x80, 0x18, 0, 0, order(amount=90000), 0x400))
    card.must(verify(0x82, PIN))
    return apdu(0x80, 0x18, 0, 0, order(amount=70000), 0x400)


@scenario("SIGN ORDER a second time by one PIN", 0x6982, signed(), wins(SIGN))
def _(card):
    card.open_line()
    card.must(verify(0x82, PIN))
    card.must(SIGN)
    return SIGN


@scenario("SIGN ORDER without a line", 0x6985, signed())
def _(card):
    card.must(select(LINK))
    card.must(verify(0x82, PIN))
    return SIGN


# --- the issuer ---------------------------------------------------------------------------------------------

POLICY = tlv(0x80, b"\0") + tlv(0x81, bytes([4, 12, 0, 15]))


def number(tag, value, length):
    return tlv(tag, value.to_bytes(length, "big"))


def update(sequence, object_number=0x0600, value=POLICY, serial=cards.SERIAL):
    return tlv(0x80, b"\2") + tlv(0x81, serial) + number(0x82, sequence, 4) + tlv(
        0x30, number(0x85, object_number, 2) + tlv(0x86, value))


def apply(message):
    return apdu(0x80, 0x22, 0, 0, message, 0x100)


def policy_is_new(card, data, sw):
    if not power(card):
        return None
    now = look(card, select(LINK), apdu(0x00, 0xCA, 0x06, 0x00, b"", 0x400))
    return "the policy is new" if now == POLICY else None


def spoiled(message):
    return message[:-1] + bytes([message[-1] ^ 1])


@scenario("APPLY an update, wrong signature", 0x6982, policy_is_new)
def _(card):
    card.open_line()
    return apply(spoiled(card.world.sign(update(1))))


@scenario("APPLY an update of another card", 0x6982, policy_is_new)
def _(card):
    card.open_line()
    return apply(card.world.sign(update(1, serial=bytes(8))))


@scenario("APPLY an update a second time", 0x6985, policy_is_new)
def _(card):
    card.open_line()
    message = card.world.sign(update(1))
    card.must(apply(message))
    old = tlv(0x80, bytes([0x28])) + tlv(0x81, bytes([4, 12, 0, 3]))
    card.must(apply(card.world.sign(update(2, value=old))))
    return apply(message)


@scenario("APPLY an update without a line", 0x6985, policy_is_new)
def _(card):
    card.must(select(LINK))
    return apply(card.world.sign(update(1)))


def time_is_new(card, data, sw):
    if not power(card):
        return None
    now = look(card, select(LINK), apdu(0x00, 0xCA, 0x05, 0x00, b"", 0x400))
    return "the time is new" if int.from_bytes(now, "big") > cards.TIME else None


def time_message(challenge):
    return tlv(0x80, b"\1") + tlv(0x81, cards.SERIAL) + tlv(0x83, challenge) + number(
        0x84, cards.TIME + 86400, 8)


@scenario("APPLY a time, wrong signature", 0x6982, time_is_new)
def _(card):
    card.must(select(LINK))
    challenge = card.must(apdu(0x00, 0x84, 0, 0, b"", 8))
    return apply(spoiled(card.world.sign(time_message(challenge))))


@scenario("APPLY a time of before", 0x6985, time_is_new)
def _(card):
    card.must(select(LINK))
    challenge = card.must(apdu(0x00, 0x84, 0, 0, b"", 8))
    message = card.world.sign(time_message(challenge))
    card.must(apdu(0x00, 0x84, 0, 0, b"", 8))
    return apply(message)


def channel_is_open(card, data, sw):
    """Somebody with the session's keys, whom the card has not asked for them, is believed."""
    got = ask(card, card.next_command)
    return "the channel is open" if got[0] == 0x9000 else None


@scenario("EXTERNAL AUTHENTICATE, wrong cryptogram", 0x6982, channel_is_open)
def _(card):
    card.must(select(LINK))
    card.begin_channel()
    cla, p1, data = card.host.authenticate(0x33)
    s = card.host.session
    bad = bytes([data[0] ^ 0x80]) + data[1:8]
    s.chaining = bytes(16)
    s.chaining = s.command_mac(0x84, 0x82, 0x33, 0, bad)
    command = apdu(cla, 0x82, p1, 0, bad + s.chaining[:8])
    card.next_command = card.wrap(0x00, 0xDA, 0x04, 0x00, b"\3\0" + NEW_PIN)
    return command


@scenario("EXTERNAL AUTHENTICATE, wrong MAC", 0x6982, channel_is_open)
def _(card):
    card.must(select(LINK))
    card.begin_channel()
    cla, p1, data = card.host.authenticate(0x33)
    card.next_command = card.wrap(0x00, 0xDA, 0x04, 0x00, b"\3\0" + NEW_PIN)
    return apdu(cla, 0x82, p1, 0, data[:15] + bytes([data[15] ^ 0x80]))


@scenario("PUT DATA of a PIN, wrong MAC", 0x6982, pin_is_new)
def _(card):
    card.channel()
    command = bytearray(card.wrap(0x00, 0xDA, 0x04, 0x00, b"\3\0" + NEW_PIN))
    command[-3] ^= 0x80  # the last byte before Le
    return bytes(command)


@scenario("PUT DATA of a PIN, no channel", 0x6982, pin_is_new)
def _(card):
    card.must(select(LINK))
    return apdu(0x00, 0xDA, 0x04, 0x00, b"\3\0" + NEW_PIN)


@scenario("PUT DATA of a PIN, no channel, but marked so", 0x6882, pin_is_new)
def _(card):
    card.must(select(LINK))
    return apdu(0x04, 0xDA, 0x04, 0x00, b"\3\0" + NEW_PIN + bytes(8))


def keys_are_new(card, data, sw):
    card.keys = worlds.KEYS["next"]
    try:
        if power(card):
            card.channel()
            return "the issuer's keys are new"
    except (cards.Refused, cards.scp03.Refused, Crashed):
        pass
    return None


@scenario("PUT KEY, no channel", 0x6982, keys_are_new)
def _(card):
    card.must(select(LINK))
    return apdu(0x80, 0xD8, 0, 0x81, card.keys.put(worlds.KEYS["next"], 2), 0x100)


@scenario("SET STATUS, no channel", 0x6982,
          lambda card, data, sw: "locked" if power(card) and ask(
              card, select(LINK), verify(0x81, PIN))[1] == 0x6985 else None)
def _(card):
    card.must(select(LINK))
    return apdu(0x80, 0xF0, 0x80, 4)


# --- what is secret -------------------------------------------------------------------------------------------

def nothing_more(card, data, sw):
    return None  # that no secret gets out is looked at after every fault


@scenario("GET DATA of a PIN", 0x6A88, nothing_more)
def _(card):
    card.must(select(LINK))
    return apdu(0x00, 0xCA, 0x04, 0x00, b"", 0x400)


@scenario("GET DATA of the administration key", 0x6A88, nothing_more)
def _(card):
    card.must(select(LINK))
    return apdu(0x00, 0xCA, 0x0A, 0x00, b"", 0x400)


@scenario("GET DATA of the payees without PIN", 0x6982,
          lambda card, data, sw: "the payees" if cards.PAYEE in data else None)
def _(card):
    card.must(select(LINK))
    return apdu(0x00, 0xCA, 0x09, 0x00, b"", 0x400)


@scenario("INFO after a PIN", 0x9000, nothing_more)
def _(card):
    card.must(select(LINK))
    card.must(verify(0x81, PIN))
    return apdu(0x80, 0x1A, 0, 0, b"", 0x400)


# --- PIV --------------------------------------------------------------------------------------------------------

@scenario("PIV VERIFY, wrong PIN", 0x63C2, wins(piv_use(0x9A)), free_try(*PIV_LEFT), numbers=(WRONG, PIV_PIN))
def _(card):
    card.must(select(PIV))
    return verify(0x80, WRONG + b"\xff\xff")


@scenario("PIV RESET RETRY COUNTER, wrong PUK", 0x63C2,
          lambda card, data, sw: "the PIN is new" if power(card) and ask(
              card, select(PIV), verify(0x80, NEW_PIN + b"\xff\xff"))[1] == 0x9000 else None)
def _(card):
    card.must(select(PIV))
    return apdu(0x00, 0x2C, 0x00, 0x80, b"00000000" + NEW_PIN + b"\xff\xff")


def piv_used(ref):
    @scenario(f"PIV signature by {ref:X} without PIN", 0x6982,
              lambda card, data, sw: "a signature" if data[:1] == b"\x7c" and len(data) > 60 else None)
    def _(card):
        card.must(select(PIV))
        return piv_use(ref)


piv_used(0x9A)
piv_used(0x9C)


@scenario("PIV signature by 9C, PIN of before", 0x6982,
          lambda card, data, sw: "a signature" if data[:1] == b"\x7c" and len(data) > 60 else None)
def _(card):
    card.must(select(PIV))
    card.must(verify(0x80, PIV_PIN + b"\xff\xff"))
    card.must(piv_use(0x9A))
    return piv_use(0x9C)


PRINTED = apdu(0x00, 0xDB, 0x3F, 0xFF, bytes.fromhex("5C035FC109") + tlv(0x53, b"\x01\x03ABC"))


def object_written(card, data, sw):
    if ask(card, PRINTED)[0] == 0x9000:
        return "9B counts as proved"
    ask(card, select(PIV), verify(0x80, PIV_PIN + b"\xff\xff"))
    return ("the object is written"
            if ask(card, apdu(0x00, 0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC109"), 0x100))[0] == 0x9000 else None)


@scenario("PIV 9B, wrong response", 0x6982, object_written)
def _(card):
    card.must(select(PIV))
    card.must(apdu(0x00, 0x87, 0, 0x9B, bytes.fromhex("7C028100"), 0))
    return apdu(0x00, 0x87, 0, 0x9B, tlv(0x7C, tlv(0x82, bytes(16))), 0)


@scenario("PIV 9B, wrong witness", 0x6982, object_written)
def _(card):
    card.must(select(PIV))
    card.must(apdu(0x00, 0x87, 0, 0x9B, bytes.fromhex("7C028000"), 0))
    return apdu(0x00, 0x87, 0, 0x9B, tlv(0x7C, tlv(0x80, bytes(16)) + tlv(0x81, bytes(16))), 0x100)


@scenario("PIV 9B, response that was not asked for", 0x6982, object_written)
def _(card):
    card.must(select(PIV))
    return apdu(0x00, 0x87, 0, 0x9B, tlv(0x7C, tlv(0x82, bytes(16))), 0)


@scenario("PIV PUT DATA without 9B", 0x6982, object_written)
def _(card):
    card.must(select(PIV))
    return PRINTED


# --- the server's certificate -------------------------------------------------------------------------------------

def leaf(card, key, host=worlds.NAME, ca=False, usage=ExtendedKeyUsageOID.SERVER_AUTH, end=(2049, 12, 31),
         authority=None):
    above, signer = authority or card.world.servers
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(above.subject)
            .public_key(key.public_key()).serial_number(7)
            .not_valid_before(datetime.datetime(2020, 1, 1)).not_valid_after(datetime.datetime(*end))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .add_extension(x509.KeyUsage(*[i == 0 for i in range(9)]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(signer, hashes.SHA256()))


def line_lives(card, data, sw):
    """The card goes on: by a flight of its own, and without an error."""
    return "the server is believed" if sw == 0x9000 and data[:1] and not data[0] & 0x20 and len(
        data) > 40 else None


def bad_server(name, profile, **changes):
    @scenario(f"{profile}: server's certificate, {name}", 0x9000, line_lives)
    def _(card):
        key = ec.generate_private_key(ec.SECP256R1())
        if changes.pop("stranger", False):
            changes["authority"] = card.world.others
        context = worlds.tls_context(profile, leaf(card, key, **changes), key, card.world.cards[0])
        card.world.contexts[profile, name] = context, b""
        # all of the server's flight but what the card has to see first
        card.open_line(profile, name, stop=lambda data: len(data) > 400)
        return apdu(0x80, 0x12, 0, 0, card.pending, 0x400)


for one in ("tls13", "ecdhe"):
    bad_server("another name", one, host="server.cardwire.tess")
    bad_server("another root", one, stranger=True)
    bad_server("ended", one, end=(2021, 1, 1))
    bad_server("for clients", one, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    bad_server("of an authority", one, ca=True)


# Its own check is the engine's; that nothing of ours makes up for a Finished that does not hold is tried here. It is
# spoiled on its way, so that its record does not hold either: nobody but the server can make one that does.
@scenario("tls13: server's Finished, spoiled", 0x9000, line_lives)
def _(card):
    card.open_line("tls13", stop=lambda data: len(data) > 400)
    return apdu(0x80, 0x12, 0, 0, card.pending[:-1] + bytes([card.pending[-1] ^ 1]), 0x400)
