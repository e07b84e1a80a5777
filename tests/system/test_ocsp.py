"""The bank's OCSP responder (RFC 6960), asked by the stock `openssl ocsp` and by hand."""

import base64
import http.client
import signal
import urllib.parse

import pytest

from cardwire_lab import Ca, Lab, wait_for
from small_bank import small_bank
from test_ca import ORDER, TLS, certificates, issue, logs_in, openssl

PIN = "135790"
DER = "application/ocsp-request"
DAY = 86400


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        port_file = lab.folder / "ocsp-port"
        it = small_bank(lab, PIN, serve=("--ocsp", "127.0.0.1:0", "--ocsp-port-file", port_file))
        it.count, it.ocsp = 0, int(port_file.read_text())
        yield it
        assert it.server.poll() is None, it.server.tail()


def asks(bank, *certs, options=(), issuer="card-issuer.pem", roots="card-root.pem"):
    """(exit code, what openssl says). Signature, chain and delegation are verified from the root alone."""
    words = [word for cert in certs for word in ("-cert", cert)]
    return openssl("ocsp", "-issuer", bank.folder / issuer, *words, "-url", f"http://127.0.0.1:{bank.ocsp}/", "-CAfile",
                   bank.folder / roots, *options)


def post(bank, body, kind=DER, method="POST", path="/"):
    line = http.client.HTTPConnection("127.0.0.1", bank.ocsp, timeout=30)
    line.request(method, path, body, {"Content-Type": kind})
    answer = line.getresponse()
    return answer.status, answer.getheader("Content-Type"), answer.read()


def request_of(bank, cert, *options):
    path = bank.lab.folder / "request.der"
    code, said = openssl("ocsp", "-issuer", bank.folder / "card-issuer.pem", *options, "-cert", cert, "-reqout", path)
    assert code == 0, said
    return path.read_bytes()


def status_of(bank, response):
    """By name, as openssl reads it."""
    path = bank.lab.folder / "response.der"
    path.write_bytes(response)
    return openssl("ocsp", "-respin", path, "-noverify", "-text")[1]


def test_good(bank):
    card = issue(bank)
    for slot in (TLS, ORDER):
        cert = certificates(bank, card)[slot]
        code, said = asks(bank, cert)
        assert code == 0 and "Response verify OK" in said and f"{cert}: good" in said, said
        assert "Nonce" not in said and "no nonce" not in said, said


def test_revoked(bank):
    """Block, unblock and revocation are in the very next answer."""
    card = issue(bank)
    cert = certificates(bank, card)[TLS]
    bank.admin("card", "block", card.serial)
    code, said = asks(bank, cert)
    assert code == 0 and "revoked" in said and "Reason: certificateHold" in said and "verify OK" in said, said
    bank.admin("card", "unblock", card.serial)
    assert f"{cert}: good" in asks(bank, cert)[1]
    bank.admin("card", "revoke", card.serial, "--reason", "key-compromise")
    code, said = asks(bank, cert)
    assert "revoked" in said and "Reason: keyCompromise" in said and "Revocation Time" in said, said
    card = issue(bank)
    bank.admin("card", "revoke", card.serial, "--reason", "unspecified")
    code, said = asks(bank, certificates(bank, card)[TLS])
    assert "revoked" in said and "Reason" not in said, said


def test_renewed_and_those_before(bank):
    card = issue(bank)
    before = certificates(bank, card)[TLS]
    bank.admin("card", "renew", card.serial, "--reader", card.reader)
    now = certificates(bank, card)[TLS]
    code, said = asks(bank, before, now)
    assert said.count(": good") == 2, said


def test_unknown(bank):
    """Never issued, by another CA, of PIV, a number of another length: unknown, and signed all the same."""
    card = issue(bank, "--piv")
    bank.admin("card", "revoke", card.serial, "--reason", "superseded")
    strange = Ca(bank.lab.subfolder("strange"), cert=bank.folder / "card-issuer.pem", key=bank.folder / "card-issuer.key")
    cert, _ = strange.issue(card.serial, extended="clientAuth")
    for number in ("0x1", "0x526D13B0C7A642EB7F", "0x00526D13B0C7A642EB7F526D13B0C7A642EB7F"):
        code, said = openssl("ocsp", "-issuer", bank.folder / "card-issuer.pem", "-serial", number, "-url",
                             f"http://127.0.0.1:{bank.ocsp}/", "-CAfile", bank.folder / "card-root.pem")
        assert "verify OK" in said and ": unknown" in said, said
    code, said = asks(bank, cert)
    assert "verify OK" in said and f"{cert}: unknown" in said, said
    good = certificates(bank, issue(bank))[TLS]
    code, said = asks(bank, good, issuer="server-root.pem")
    assert ": unknown" in said, said


@pytest.mark.parametrize("hash", ["sha1", "sha256", "sha512"])
def test_hash_is_the_clients_choice(bank, hash):
    cert = certificates(bank, issue(bank))[TLS]
    code, said = openssl("ocsp", "-issuer", bank.folder / "card-issuer.pem", f"-{hash}", "-cert", cert, "-url",
                         f"http://127.0.0.1:{bank.ocsp}/", "-CAfile", bank.folder / "card-root.pem")
    assert "verify OK" in said and f"{cert}: good" in said, said


def test_several_at_once(bank):
    good, bad = issue(bank), issue(bank)
    bank.admin("card", "revoke", bad.serial, "--reason", "cessation")
    certs = [certificates(bank, good)[TLS], certificates(bank, bad)[TLS], certificates(bank, good)[ORDER]]
    code, said = asks(bank, *certs)
    assert [f"{certs[0]}: good" in said, f"{certs[1]}: revoked" in said, f"{certs[2]}: good" in said] == [True] * 3, said
    assert "malformedrequest" in asks(bank, *[certs[0]] * 17)[1]


def test_nonce(bank):
    """Given back when it is asked for, and only then; a response that was kept is found out by it."""
    cert = certificates(bank, issue(bank))[TLS]
    response = status_of(bank, post(bank, request_of(bank, cert, "-nonce"))[2])
    assert "OCSP Nonce" in response
    assert "OCSP Nonce" not in status_of(bank, post(bank, request_of(bank, cert, "-no_nonce"))[2])
    old = bank.lab.folder / "old.der"
    assert asks(bank, cert, options=("-respout", old))[0] == 0
    request = bank.lab.folder / "fresh.der"
    openssl("ocsp", "-issuer", bank.folder / "card-issuer.pem", "-cert", cert, "-reqout", request)
    code, said = openssl("ocsp", "-reqin", request, "-respin", old, "-issuer", bank.folder / "card-issuer.pem", "-cert", cert,
                         "-CAfile", bank.folder / "card-root.pem")
    assert code != 0 and "Nonce Verify error" in said, said


def test_response_that_was_changed(bank):
    cert = certificates(bank, issue(bank))[TLS]
    path = bank.lab.folder / "changed.der"
    assert asks(bank, cert, options=("-respout", path, "-no_nonce"))[0] == 0
    data = bytearray(path.read_bytes())
    at = data.index(b"\x80\x00", 100)  # certStatus good
    data[at] = 0x82  # unknown
    path.write_bytes(data)
    code, said = openssl("ocsp", "-respin", path, "-issuer", bank.folder / "card-issuer.pem", "-cert", cert, "-CAfile",
                         bank.folder / "card-root.pem", "-no_nonce")
    assert "Response Verify Failure" in said, said
    assert "Response Verify Failure" in asks(bank, cert, roots="server-root.pem")[1]


def test_get(bank):
    """RFC 6960 appendix A.1: the request in the path."""
    cert = certificates(bank, issue(bank))[TLS]
    request = request_of(bank, cert, "-no_nonce")
    path = "/" + urllib.parse.quote(base64.b64encode(request).decode(), safe="")
    status, kind, body = post(bank, None, method="GET", path=path)
    assert (status, kind) == (200, "application/ocsp-response")
    assert "Cert Status: good" in status_of(bank, body)


@pytest.mark.parametrize("body", [b"", b"\0", b"garbage", b"\x30\x80", b"\x30\x03\x02\x01\x01", b"\x30" * 4000,
                                  b"x" * 5000])
def test_garbage(bank, body):
    status, kind, answer = post(bank, body)
    assert (status, kind) == (200, "application/ocsp-response")
    assert answer == bytes.fromhex("30030A0101")  # malformedRequest, unsigned
    assert "malformedrequest" in status_of(bank, answer)


def test_more_garbage(bank):
    cert = certificates(bank, issue(bank))[TLS]
    request = request_of(bank, cert)
    for bad in (request + b"\0", request[:-1], request[1:]):
        assert post(bank, bad)[2] == bytes.fromhex("30030A0101")
    for path in ("/", "/%%%", "/AAAA", "/..%2F..", "/" + "A" * 9000):
        assert post(bank, None, method="GET", path=path)[2] == bytes.fromhex("30030A0101")
    assert post(bank, b"x" * 100_000)[0] == 413
    assert post(bank, b"", method="PUT")[0] in (400, 405, 501)
    for i in range(0, len(request), 3):  # each byte, turned: an answer of some kind, and the server goes on
        turned = bytearray(request)
        turned[i] ^= 0xFF
        assert post(bank, bytes(turned))[0] == 200
    assert f"{cert}: good" in asks(bank, cert)[1]


def test_responder(bank):
    """Its certificate is for that alone, short-lived and not asked about; made once, renewed by itself."""
    pem = bank.folder / "card-ocsp.pem"
    _, text = openssl("x509", "-in", pem, "-noout", "-text")
    assert "OCSP Signing" in text and "OCSP No Check" in text and "Digital Signature" in text
    assert "CA:TRUE" not in text
    assert openssl("x509", "-in", pem, "-noout", "-checkend", 29 * DAY)[0] == 0
    assert openssl("x509", "-in", pem, "-noout", "-checkend", 31 * DAY)[0] == 1
    assert (bank.folder / "card-ocsp.key").stat().st_mode & 0o777 == 0o600
    # nobody else may answer for the CA: not a card's key, nor the server's
    card = issue(bank)
    assert logs_in(bank, card)
    before = pem.read_bytes()
    ca = Ca(bank.lab.subfolder("ca"), cert=bank.folder / "card-issuer.pem", key=bank.folder / "card-issuer.key")
    cert, _ = ca.issue("Cardwire Bank OCSP", key=bank.folder / "card-ocsp.key", extended="OCSPSigning", start=-25 * DAY,
                       end=5 * DAY, san="")
    pem.write_text(cert.read_text())
    bank.server.send_signal(signal.SIGHUP)
    wait_for("the renewal", lambda: "renewed file=card-ocsp.pem" in bank.server.said(), bank.server)
    assert pem.read_bytes() not in (before, cert.read_bytes())
    leaf = certificates(bank, card)[TLS]
    assert f"{leaf}: good" in asks(bank, leaf)[1]
    # away: what is there goes on, and the log says so when it is due
    (bank.folder / "card-issuer.key").rename(bank.folder / "away")
    pem.write_text(cert.read_text())
    bank.server.send_signal(signal.SIGHUP)
    wait_for("the word for it", lambda: "card-issuer.key" in bank.server.said(), bank.server)
    assert f"{leaf}: good" in asks(bank, leaf)[1]
    (bank.folder / "away").rename(bank.folder / "card-issuer.key")


@pytest.mark.parametrize("address, words", [("0.0.0.0:0", "loopback|this machine"), ("nonsense", "no address to listen on")])
def test_addresses_that_are_refused(bank, address, words):
    done = bank.lab.run("cardwired", "--dir", bank.folder, "serve", "--listen", "127.0.0.1:0", "--ocsp", address, timeout=30)
    assert done.returncode in (1, 2)
    assert any(word in done.stderr for word in words.split("|")), done.stderr


def test_without_the_cas_key(bank):
    """A bank that never had a responder cannot make one; it says what is missing, and does not start."""
    files = ("card-ocsp.key", "card-ocsp.pem", "card-issuer.key")
    for name in files:
        (bank.folder / name).rename(bank.lab.folder / name)
    try:
        done = bank.lab.run("cardwired", "--dir", bank.folder, "serve", "--listen", "127.0.0.1:0", "--ocsp", "127.0.0.1:0",
                            timeout=30)
        assert done.returncode == 3 and "card-issuer.key" in done.stderr, done.stderr
    finally:
        for name in files:
            (bank.lab.folder / name).rename(bank.folder / name)
