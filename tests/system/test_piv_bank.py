"""The PIV application is no back door to the bank: what it signs opens no line and pays no order. The
attacker here has everything: card and PIV's PIN, and a line of the card's own; with the certificates that the
bank itself made for the keys, which are in its ledger, or with the bank's card root to certify them at will."""

import base64
import contextlib
import hashlib
import os
import re
import socket
import ssl
import struct
import threading
import time

import pytest

from cardwire_lab import Ca, Lab, wait_for
from piv_lab import ID, PIV_PIN, PIV_PUK, Desk, bank_keys, certify, engine_config, key_uri, put_piv
from rawcard import Issuer, RawCard, put, tlv
from small_bank import NAME, small_bank

PIN = "135790"
PIV_AID = bytes.fromhex("A000000308")


@pytest.fixture(scope="module", params=["issued", "forged"])
def bank(request):
    """A bank with a card of its own that has PIV keys: as `card issue --piv` makes them; or with certificates by
    the bank's card root that look as the card's own do: same subject, same usages."""
    with Lab() as lab:
        numbers = [o for name, number in (("pin", PIV_PIN), ("puk", PIV_PUK))
                   for o in (f"--piv-{name}-file", lab.file(f"piv-{name}", number + "\n"))]
        it = small_bank(lab, PIN, options=["--piv", *numbers] if request.param == "issued" else [])
        it.folder = lab.folder / "bank"
        it.issued = request.param == "issued"
        if not it.issued:
            with RawCard(lab, it.card) as card:
                card.select()
                put_piv(Issuer(card, bank_keys(it.folder, it.serial)))
        it.desk = Desk(lab, it.card)
        it.root = Ca(lab.folder / "root", cert=it.folder / "card-root.pem", key=it.folder / "card-root.key")
        it.piv_root = it.folder / ("piv-root.pem" if it.issued else "card-root.pem")
        for slot, algorithm in (("9a", "ECCP256"), ("9c", "ECCP256"), ("9d", "RSA2048"), ("9e", "ECCP256")):
            if it.issued:
                it.desk.take_certificate(slot)
            else:
                it.desk.generate(slot, algorithm, it.root, it.serial)
        yield it


def engine_client(bank, port, slot, version, root, name):
    """openssl s_client with the key in `slot` and its certificate: logs in as the card would."""
    body = '{"key_agreement":"succeeded"}'
    request = (f"POST /v1/session HTTP/1.1\r\nHost: {name}\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\n\r\n{body}")
    return bank.desk.run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-{version}", "-quiet",
                         "-servername", name, "-CAfile", root, "-engine", "pkcs11", "-keyform", "engine",
                         "-key", key_uri(slot), "-cert", bank.desk.path(f"{slot}.pem"), input=request,
                         code="any", env={"OPENSSL_CONF": engine_config(bank.desk)})


def lenient_server(bank):
    """A server that wants no more than a certificate by the root of the card's: the control."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bank.folder / "server-p256.pem", bank.folder / "server-p256.key")
    context.load_verify_locations(bank.piv_root)
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        with contextlib.suppress(ssl.SSLError), client, context.wrap_socket(client, server_side=True) as line:
            line.recv(4096)
            line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            line.unwrap()
    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
@pytest.mark.parametrize("slot", ["9a", "9e"])
def test_no_line_with_a_piv_key(bank, slot, version):
    root = bank.folder / "server-root.pem"
    listener = lenient_server(bank)
    try:
        said = engine_client(bank, listener.getsockname()[1], slot, version, root, NAME)
        # Key and certificate are good: anybody else would take them. But what `card issue` certifies 9E for is
        # doors: that certificate no TLS server takes.
        assert ("200 OK" in said) == (slot == "9a" or not bank.issued), said
    finally:
        listener.close()
    lines = bank.server.said().count("handshake card=")
    said = engine_client(bank, bank.port, slot, version, root, NAME)
    assert "200 OK" not in said and re.search(r"alert unknown ca", said), said
    assert bank.server.said().count("handshake card=") == lines

    def login():  # the daemon may still hold the card for the client that has just ended
        done = bank.lab.run("cardwire", "--json", "--reader", bank.desk.pcscd.reader(0), "--server",
                            f"127.0.0.1:{bank.port}", "--pin-file", bank.pin, "login",
                            env=dict(bank.lab.env, **bank.desk.pcscd.env))
        return None if '"error":"busy"' in done.stdout else done
    done = wait_for("the reader getting free", login)
    assert done.returncode == 0, done.stdout  # the card itself gets its line


@pytest.fixture(scope="module")
def issued():
    """A bank whose card got its PIV keys and certificates from the bank itself: they are in its books."""
    with Lab() as lab:
        numbers = [("--piv-pin-file", PIV_PIN), ("--piv-puk-file", PIV_PUK)]
        files = [x for option, digits in numbers for x in (option, lab.file(option[2:], digits + "\n"))]
        it = small_bank(lab, PIN, options=["--piv", *files])
        it.folder, it.desk = lab.folder / "bank", Desk(lab, it.card)
        yield it


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
@pytest.mark.parametrize("slot", ["9a", "9e"])
def test_no_line_with_the_banks_own_piv_certificate(issued, slot, version):
    said = issued.desk.run("pkcs15-tool", "--read-certificate", ID[slot])
    issued.desk.path(f"{slot}.pem").write_text(said[said.index("-----BEGIN"):])
    lines = issued.server.said().count("handshake card=")
    said = engine_client(issued, issued.port, slot, version, issued.folder / "server-root.pem", NAME)
    assert "200 OK" not in said
    assert issued.server.said().count("handshake card=") == lines
    # It came so far as to show the certificate and to sign: the engine has found the key.
    assert "no private key" not in said.lower() and re.search("alert|unknown|denied|bad certificate", said), said


@pytest.fixture(scope="module")
def card(bank):
    bank.desk.card.stop()
    bank.desk.pcscd.process.stop()
    with RawCard(bank.lab, bank.card) as it:
        yield it


def piv_sign(card, slot, text):
    """SHA-256 of the text, signed by PIV: DER, as the bank's API takes it."""
    digest = hashlib.sha256(text).digest()
    assert card.command(0, 0xA4, 4, 0, PIV_AID, le=256)[1] == 0x9000
    assert card.command(0, 0x20, 0, 0x80, PIV_PIN.encode() + b"\xff\xff")[1] == 0x9000
    answer, sw = card.command(0, 0x87, 0x11, int(slot, 16), put(0x7C, put(0x82, b"") + put(0x81, digest)), le=256)
    assert sw == 0x9000, f"{sw:04X}"
    return tlv(tlv(answer)[0x7C])[0x82]


def http(card, method, path, body=b""):
    """(status, body) over the card's open line."""
    request = (f"{method} {path} HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\n\r\n").encode() + body
    while request:
        assert card.write(request[:200]) == 0x9000
        request = request[200:]
    answer = b""
    while True:
        answer += card.read()
        end = answer.find(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", answer[:end], re.I) if end >= 0 else None
        if length and len(answer) >= end + 4 + int(length.group(1)):
            return int(answer.split()[1]), answer[end + 4:].decode()


def log_in(bank, card):
    card.hang_up()
    card.open(PIN, int(bank.port), NAME)
    assert http(card, "POST", "/v1/session", b'{"key_agreement":"succeeded"}')[0] == 200


def order_of(bank, card):
    """(text, signature) of an order that the card has signed in its line."""
    assert card.verify(PIN, 0x82) == 0x9000
    data = (put(0x80, bank.payer.encode()) + put(0x81, bank.payee.encode()) + put(0x82, b"Ben")
            + put(0x83, (100).to_bytes(8, "big")) + put(0x84, b"EUR") + put(0x85, b"test")
            + put(0x86, os.urandom(16)) + put(0x87, struct.pack(">Q", int(time.time()) + 600)))
    answer, sw = card.command(0x80, 0x18, 0, 0, data, le=256)
    assert sw == 0x9000, f"{sw:04X}"
    found = tlv(answer)
    return found[0x53], found[0x9E]


def pay(card, text, signature):
    return http(card, "POST", "/v1/payments",
                b'{"order":"%b","signature":"%b"}' % (base64.b64encode(text), base64.b64encode(signature)))


@pytest.mark.parametrize("slot", ["9a", "9c", "9e"])
def test_no_order_with_a_piv_key(bank, card, slot, tmp_path):
    """The text is the card's own, word for word, and the signature is good: by another key."""
    log_in(bank, card)
    text, signature = order_of(bank, card)
    forged = piv_sign(card, slot, text)
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "signature").write_bytes(forged)
    bank.desk.run("openssl", "dgst", "-sha256", "-verify", bank.desk.path(f"{slot}.pub"), "-signature",
                  tmp_path / "signature", tmp_path / "text")
    before = bank.admin("report")["payments"]
    # Selecting PIV has ended the line that the text names; in the next one it is worth nothing.
    log_in(bank, card)
    status, said = pay(card, text, forged)
    assert (status, "order-other-line" in said) == (422, True), said
    # And an order of the line that is open is not paid on PIV's word.
    text, signature = order_of(bank, card)
    status, said = pay(card, text, forged)
    assert (status, "order-signature" in said) == (422, True), said
    assert bank.admin("report")["payments"] == before
    assert pay(card, text, signature)[0] == 201  # the card's own is taken
    assert bank.admin("report")["payments"] == before + 1


def test_selecting_piv_ends_the_line(bank, card):
    log_in(bank, card)
    assert card.command(0, 0xA4, 4, 0, PIV_AID, le=256)[1] == 0x9000
    card.select()
    assert card.command(0x80, 0x16, 0, 0, le=256)[1] == 0x6985
    assert card.verify(PIN, 0x82) == 0x9000
    assert card.command(0x80, 0x18, 0, 0, put(0x80, b"x"), le=256)[1] == 0x6985


def test_certificate_of_a_piv_key_is_none_of_the_link_application(bank, card):
    """Not even the issuer can write it there: the card holds it against its own key."""
    certify(bank.root, bank.desk.path("9a.pub"), bank.desk.path("link.pem"), bank.serial, "digitalSignature")
    card.select()
    issuer = Issuer(card, bank_keys(bank.folder, bank.serial))
    der = bank.root.der(bank.desk.path("link.pem"))
    assert issuer.command(0, 0xDA, 0x01, 0x01, der)[1] == 0x6A80
