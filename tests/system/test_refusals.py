"""The card refuses every server that is not what it should be, with its own reason, and no session exists
afterwards. The terminal here is tests/lib/rawcard.py: it carries bytes and checks nothing, so that every
refusal is the card's own."""

import base64

import pytest
from cryptography.hazmat.primitives import serialization

from cardwire_lab import Tap, free_ports, port_listening, wait_for
from foreign import PROFILES, SERVERS, gnutls_serv, s_server
from rawcard import ERROR, OPEN, ORDER, PIN, REASONS, assert_no_session, tlv

YEAR = 365 * 86400

# fault -> (the card's reason, how the certificate is made; a dict of Ca.issue's options)
FAULTS = {
    "wrong root": ("untrusted", {}),
    "wrong name": ("wrong-name", {}),
    "expired": ("expired", {"start": -YEAR, "end": -3600}),
    "ca as leaf": ("ca-as-leaf", {"authority": True, "usage": "{},keyCertSign"}),
    "no usages": ("no-server-auth", {"extended": ""}),
    "client usage": ("no-server-auth", {"extended": "clientAuth"}),
    "key usage": ("key-usage", {"usage": "dataEncipherment"}),
}


@pytest.mark.parametrize("profile", PROFILES)
def test_order_of_this_test_is_signed_in_a_living_line(world, profile):
    """The control of assert_no_session."""
    server = s_server(world.lab, PROFILES[profile], *world.honest[profile], world.cards.cert)
    try:
        assert world.card.open(PIN, server.port, world.name, profile) & OPEN
        assert world.card.verify(PIN, 0x82) == 0x9000
        answer, sw = world.card.command(0x80, 0x18, 0, 0, ORDER, le=256)
        assert sw == 0x9000 and b"12.34" in tlv(answer)[0x53]
    finally:
        world.card.hang_up()
        server.stop()


@pytest.fixture
def faulty(world):
    """Certificates with one fault each, made once."""
    made = {}

    def make(fault, profile):
        if (fault, profile.kind) not in made:
            options = dict(FAULTS[fault][1])
            options["usage"] = options.get("usage", "{}").format(profile.usage)
            authority = world.strangers if fault == "wrong root" else world.servers
            name = "other.cardwire.test" if fault == "wrong name" else world.name
            made[fault, profile.kind] = authority.issue(name, profile.kind, **options)
        return made[fault, profile.kind]
    return make


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", [
    "openssl", *(pytest.param(k, marks=pytest.mark.slow) for k in SERVERS if k != "openssl")])
def test_card_refuses_the_servers_certificate(world, faulty, kind, profile, fault):
    profile = PROFILES[profile]
    cert, key = faulty(fault, profile)
    server = SERVERS[kind](world.lab, profile, cert, key, world.cards.cert)
    try:
        state = world.card.open(PIN, server.port, world.name, profile.name)
        assert state & ERROR and not state & OPEN
        reason = world.card.reason()
        # Most stock servers do not even offer a certificate with the wrong key usage.
        if fault != "key usage" or (kind, profile.name) == ("openssl", "tls13") or reason != "alert":
            assert reason == FAULTS[fault][0]
        assert_no_session(world.card)
    finally:
        world.card.hang_up()
        server.stop()


def der(tag, body):
    length = (bytes([len(body)]) if len(body) < 128 else
              bytes([0x80 + (len(body).bit_length() + 7) // 8])
              + len(body).to_bytes((len(body).bit_length() + 7) // 8, "big"))
    return bytes([tag]) + length + body


def integer(value):
    return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def lying_key(path, cert_key, other_key):
    """A private key file whose public half is the certificate's and whose private half is not: a server
    that has stolen the certificate but not the key. Stock OpenSSL serves with it."""
    mine, other = (serialization.load_pem_private_key(k.read_bytes(), None).private_numbers()
                   for k in (cert_key, other_key))
    if hasattr(mine, "d"):  # RFC 8017 §A.1.2
        body = der(0x30, b"".join(map(integer, (
            0, mine.public_numbers.n, mine.public_numbers.e, other.d, other.p, other.q, other.dmp1,
            other.dmq1, other.iqmp))))
        label = "RSA"
    else:  # RFC 5915 §3
        point = (b"\x04" + mine.public_numbers.x.to_bytes(32, "big")
                 + mine.public_numbers.y.to_bytes(32, "big"))
        body = der(0x30, integer(1) + der(4, other.private_value.to_bytes(32, "big"))
                   + der(0xA0, bytes.fromhex("06082A8648CE3D030107"))
                   + der(0xA1, der(3, b"\0" + point)))
        label = "EC"
    text = base64.encodebytes(body).decode()
    path.write_text(f"-----BEGIN {label} PRIVATE KEY-----\n{text}-----END {label} PRIVATE KEY-----\n")
    return path


class ChangeSignature:
    """The last byte of ServerKeyExchange is the end of the server's signature (RFC 8422 §5.4). The server
    writes each message into a record of its own."""

    done = False

    def __call__(self, to_server, data, state):
        if to_server:
            return data
        rest, out = state.get("rest", b"") + data, b""
        while len(rest) >= 5 and len(rest) >= (size := 5 + int.from_bytes(rest[3:5], "big")):
            record, rest = bytearray(rest[:size]), rest[size:]
            if record[0] == 22 and record[5] == 12 and not self.done:
                record[-1] ^= 1
                self.done = True
            out += record
        state["rest"] = rest
        return out


def refuse_changed_signature(world, key):
    change = ChangeSignature()
    server = gnutls_serv(world.lab, PROFILES["ecdhe"], *world.honest["ecdhe"], world.cards.cert)
    tap = Tap(server.port, change)
    try:
        state = world.card.open(PIN, tap.port, world.name, "ecdhe", key)
        assert change.done and state & ERROR and not state & OPEN
        assert world.card.reason() == "bad-signature"
        assert_no_session(world.card)
    finally:
        world.card.hang_up()
        tap.close()
        server.stop()


@pytest.mark.parametrize("key", ["p256", "rsa"])
@pytest.mark.parametrize("kind, profile", [
    pytest.param(k, p, marks=[] if k == "openssl" else pytest.mark.slow)
    for k in SERVERS for p in PROFILES if (k, p) != ("gnutls", "tls13")])
def test_card_refuses_a_server_without_its_key(world, tmp_path, kind, profile, key):
    """gnutls-serv takes no P-256 key that does not fit its certificate. In `ecdhe` its signature is changed
    on the way instead; in `tls13` nobody on the way can do that, because CertificateVerify is encrypted: a
    changed record is all that can be had, and test_flips.py has it."""
    if (kind, profile) == ("gnutls", "ecdhe"):
        refuse_changed_signature(world, key)
        return
    cert, honest = world.honest[profile]
    _, other = world.servers.issue("unused.test", PROFILES[profile].kind)
    liar = lying_key(tmp_path / "liar.pem", honest, other)
    server = SERVERS[kind](world.lab, PROFILES[profile], cert, liar, world.cards.cert)
    try:
        state = world.card.open(PIN, server.port, world.name, profile, key)
        assert state & ERROR and not state & OPEN
        # In `rsa` it proves its key by opening the secret; it cannot, and gives up.
        assert world.card.reason() in ({"alert", "bad-record", "bad-finished", "eof"}
                                       if profile == "rsa" else {"bad-signature"})
        assert_no_session(world.card)
    finally:
        world.card.hang_up()
        server.stop()


def test_server_that_asks_for_no_certificate_is_refused(world):
    """Without a CertificateRequest the bank would not know who speaks."""
    profile = PROFILES["tls13"]
    for name in PROFILES:
        profile = PROFILES[name]
        cert, key = world.honest[name]
        command = ["openssl", "s_server", "-rev", "-cert", cert, "-key", key, "-accept", "127.0.0.1:0",
                   "-tls1_3" if profile.version == "1.3" else "-tls1_2"]
        if profile.cipher:
            command += ["-cipher", profile.cipher]
        server = world.lab.start("s_server", command)
        try:
            line = wait_for("s_server naming its port",
                            lambda: [x for x in server.said().splitlines() if x.startswith("ACCEPT")],
                            server)[0]
            world.card.open(PIN, int(line.rsplit(":", 1)[1]), world.name, name)
            assert world.card.reason() == "no-client-auth"
            assert_no_session(world.card)
        finally:
            world.card.hang_up()
            server.stop()


@pytest.mark.parametrize("wanted, offered", [("tls13", "ecdhe"), ("ecdhe", "tls13"), ("rsa", "ecdhe"),
                                             ("ecdhe", "rsa")])
def test_no_other_profile_than_the_one_opened(world, wanted, offered):
    cert, key = world.honest[offered]
    server = s_server(world.lab, PROFILES[offered], cert, key, world.cards.cert)
    try:
        world.card.open(PIN, server.port, world.name, wanted)
        assert world.card.reason() in {"alert", "profile", "protocol"}
        assert_no_session(world.card)
    finally:
        world.card.hang_up()
        server.stop()


def test_record_that_does_not_fit_the_card(world):
    """A server that does not know the card's limit: a file of 10,000 bytes in one record."""
    folder = world.lab.subfolder("files")
    (folder / "big").write_bytes(b"x" * 10_000)
    port = free_ports()
    cert, key = world.honest["tls13"]
    server = world.lab.start("s_server", [
        "openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", cert, "-key", key, "-CAfile",
        world.cards.cert, "-Verify", "2", "-tls1_3", "-WWW"], cwd=folder)
    try:
        wait_for("s_server listening", lambda: port_listening(port), server)
        assert world.card.open(PIN, port, world.name, "tls13") & OPEN
        assert world.card.write(b"GET /big HTTP/1.0\r\n\r\n") == 0x9000
        while world.card.read():
            pass
        assert world.card.reason() == "oversize"
        assert_no_session(world.card)
    finally:
        world.card.hang_up()
        server.stop()


def test_name_that_was_not_written_at_issuance(world):
    card = world.card
    card.select()
    assert card.verify(PIN) == 0x9000
    assert card.command(0x80, 0x10, 1, 0, b"other.cardwire.test", le=256)[1] == 0x6A88
    card.reset()


def test_dead_line_stays_dead_and_the_next_one_is_new(world):
    cert, key = world.strangers.issue(world.name)
    server = s_server(world.lab, PROFILES["tls13"], cert, key, world.cards.cert)
    good = s_server(world.lab, PROFILES["tls13"], *world.honest["tls13"], world.cards.cert)
    card = world.card
    try:
        card.open(PIN, server.port, world.name)
        assert card.reason() == "untrusted"
        for data in (b"", b"\x16\x03\x03\x00\x01\x00"):
            answer, sw = card.command(0x80, 0x12, 0, 0, data, le=256)
            assert sw == 0x6985 or answer[0] & ERROR
        assert card.verify(PIN) == 0x9000
        card.hang_up()
        assert card.open(PIN, good.port, world.name) & OPEN
        assert REASONS[card.session()[0x96][0]] == "none"
    finally:
        card.hang_up()
        server.stop()
        good.stop()
