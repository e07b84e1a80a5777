"""The bank against hostile clients: no certificate, a strange one, one of the wrong use, an altered
signature, a blocked card; and orders that are replayed, moved to another line, altered, or somebody else's.
The card is real; the terminal is tests/lib/rawcard.py, which does what an honest one would not."""

import base64
import os
import re
import ssl
import socket
import time
import warnings

import pytest

from cardwire_lab import Ca, Tap
from holder import NAME, bank_of_two, problem
from rawcard import ERROR, OPEN


@pytest.fixture(scope="module")
def world():
    with bank_of_two(bens="rsa2048") as it:
        yield it


# --- who may have a line ----------------------------------------------------------------------------

def software_client(world, cert=None, key=None, version=ssl.TLSVersion.TLSv1_3, request=None):
    """What a client without a card gets from the bank; b"" when it gets nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(world.folder / "server-root.pem")
    with warnings.catch_warnings():  # Python warns of TLS 1.0, which is what we want to see refused
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    if cert:
        context.load_cert_chain(cert, key)
    try:
        with socket.create_connection(("127.0.0.1", world.port), timeout=60) as plain:
            with context.wrap_socket(plain, server_hostname=NAME) as line:
                line.sendall(request or b"POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 29\r\n"
                             b"Content-Type: application/json\r\n\r\n"
                             b'{"key_agreement":"succeeded"}')
                return line.recv(4096)
    except (ssl.SSLError, OSError):
        return b""


@pytest.fixture(scope="module")
def strange(world):
    """Certificates for software keys that an attacker might try."""
    own = Ca(world.lab.folder / "own", cert=world.folder / "card-root.pem",
             key=world.folder / "card-root.key")
    other = Ca(world.lab.folder / "other", "Cardwire Bank Card Root")
    serial = world.ada.serial
    servers = Ca(world.lab.folder / "srv", cert=world.folder / "server-root.pem",
                 key=world.folder / "server-root.key")
    return {
        "none": (None, None),
        "other authority, Ada's name": other.issue(serial, extended="clientAuth"),
        "server's authority": servers.issue(serial, extended="clientAuth"),
        "right authority, never issued": own.issue(serial, extended="clientAuth"),
        "right authority, use of orders": own.issue(serial, usage="nonRepudiation", extended=""),
        "right authority, expired": own.issue(serial, extended="clientAuth", start=-9000, end=-60),
        "right authority, a CA": own.issue(serial, extended="clientAuth", authority=True),
        "the bank's own server certificate": (world.folder / "server-p256.pem",
                                              world.folder / "server-p256.key"),
    }


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
                         ids=["1.2", "1.3"])
@pytest.mark.parametrize("which", ["none", "other authority, Ada's name", "server's authority",
                                   "right authority, never issued", "right authority, use of orders",
                                   "right authority, expired", "right authority, a CA",
                                   "the bank's own server certificate"])
def test_no_line_without_a_good_certificate(world, strange, which, version):
    """Step 9: the certificate must be one that this bank issued for this use, to the byte."""
    assert b" 200 " not in software_client(world, *strange[which], version=version)
    before = world.ada.balance()
    world.ada.log_in()  # the bank lives, and the card gets what they did not
    assert world.ada.balance() == before


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_no_old_tls(world, version):
    assert b" 200 " not in software_client(world, version=getattr(ssl.TLSVersion, version))


@pytest.mark.parametrize("profile", ["rsa", "ecdhe"])
def test_altered_signature_of_the_card_is_refused(world, profile):
    """Step 10: the last byte of CertificateVerify, which travels in clear in TLS 1.2, is changed."""
    changed = []

    def change(to_server, data, state):
        data = bytearray(data)
        if to_server:
            state["seen"] = state.get("seen", bytearray())
            start = len(state["seen"])
            state["seen"] += data
            at = 0
            while at + 5 <= len(state["seen"]):
                end = at + 5 + int.from_bytes(state["seen"][at + 3:at + 5], "big")
                inner = at + 5
                while state["seen"][at] == 22 and inner + 4 <= min(end, len(state["seen"])):
                    stop = inner + 4 + int.from_bytes(state["seen"][inner + 1:inner + 4], "big")
                    if (state["seen"][inner] == 15 and start <= stop - 1 < len(state["seen"])
                            and not changed):
                        data[stop - 1 - start] ^= 1
                        changed.append(stop)
                    inner = stop
                if state["seen"][at] == 20:
                    break
                at = end
        return bytes(data)

    tap = Tap(world.port, change)
    try:
        handshakes = world.process.said().count("handshake card=")
        state = world.ada.open(tap.port, profile)
        assert changed
        assert state & ERROR and not state & OPEN
        assert world.ada.card.reason() in {"alert", "eof"}
        assert world.process.said().count("handshake card=") == handshakes
    finally:
        world.ada.card.hang_up()
        tap.close()
    world.ada.log_in(profile=profile)


def test_nothing_before_the_terminal_reports_success(world):
    """Claim 2: the terminal returns the result of the key agreement to the server; until then the line
    is up, but nobody is logged in."""
    assert world.ada.open() & OPEN
    for method, path in (("GET", "/v1/accounts"), ("GET", "/v1/session"),
                         ("GET", f"/v1/accounts/{world.ada.account}/balance")):
        assert problem(world.ada.http(method, path)) == (403, "not-logged-in")
    assert problem(world.ada.http("POST", "/v1/session", {"key_agreement": "failed"}))[0] >= 400
    assert world.ada.http("POST", "/v1/session", {"key_agreement": "succeeded"})[0] == 200
    assert world.ada.http("GET", "/v1/accounts")[1]["accounts"][0]["id"] == world.ada.account


def test_blocked_card_gets_no_line_and_no_answer(world):
    world.ben.log_in()
    order = world.ben.sign(world.ada, 100)
    before = world.ben.balance()
    world.admin("card", "block", world.ben.serial)
    try:
        # In the line that is open already
        try:
            assert problem(world.ben.http("GET", "/v1/accounts")) == (403, "card-blocked")
            assert problem(world.ben.pay(order)) == (403, "card-blocked")
        except ConnectionError:
            pass  # or the bank hangs up on it
        # And in a new one
        state = world.ben.open()
        if state & OPEN:  # TLS 1.3: the client is finished before the server has looked
            with pytest.raises((ConnectionError, AssertionError)):
                world.ben.http("POST", "/v1/session", {"key_agreement": "succeeded"})
        assert world.ben.card.reason() in {"alert", "eof"}
        assert world.ben.balance() == before
    finally:
        world.admin("card", "unblock", world.ben.serial)
    world.ben.log_in()


# --- orders -----------------------------------------------------------------------------------------

def test_honest_order_is_paid_once(world):
    world.ada.log_in()
    order = world.ada.sign(world.ben, 250)
    status, first = world.ada.pay(order)
    assert status == 201 and not first["replayed"]
    balance = world.ada.balance()
    for _ in range(3):
        status, again = world.ada.pay(order)
        assert status == 200 and again["replayed"] and again["payment"] == first["payment"]
    world.ada.log_in()  # and over another line: the answer that was lost
    assert world.ada.pay(order)[0] == 200
    assert world.ada.balance() == balance


def test_order_of_another_line_is_refused(world):
    """The order carries a value of the line it was signed in; a thief cannot hold it back and use it
    later."""
    world.ada.log_in()
    order = world.ada.sign(world.ben, 300)
    balance = world.ada.balance()
    world.ada.log_in()
    assert problem(world.ada.pay(order)) == (422, "order-other-line")
    assert world.ada.balance() == balance


@pytest.mark.parametrize("old, new", [(rb"^Pay: 3\.00", b"Pay: 9.00"), (rb"^Pay: 3\.00", b"Pay: 0.03"),
                                      (rb"^Reference: .*$", b"Reference: tesu"),
                                      (rb"^Counter: \d+", b"Counter: 999"),
                                      (rb"^Name: .*$", b"Name: Eve")])
def test_order_changed_after_its_signature_is_refused(world, old, new):
    world.ada.log_in()
    order = world.ada.sign(world.ben, 300)
    text = base64.b64decode(order["order"])
    changed = re.sub(old, new, text, flags=re.M)
    assert changed != text
    balance = world.ada.balance()
    assert problem(world.ada.pay(dict(order, order=base64.b64encode(changed).decode()))) == (
        422, "order-signature")
    assert world.ada.balance() == balance
    assert world.ada.pay(order)[0] == 201  # what the card signed is still good


def test_order_with_a_changed_signature_is_refused(world):
    world.ada.log_in()
    order = world.ada.sign(world.ben, 300)
    signature = bytearray(base64.b64decode(order["signature"]))
    signature[-1] ^= 1
    assert problem(world.ada.pay(dict(order, signature=base64.b64encode(signature).decode()))) == (
        422, "order-signature")


def test_order_of_another_card_is_refused(world):
    world.ben.log_in()
    stolen = world.ben.sign(world.ada, 300)
    world.ada.log_in()
    assert problem(world.ada.pay(stolen)) == (422, "order-other-card")


def test_same_order_id_with_other_content_is_refused(world):
    world.ada.log_in()
    number = os.urandom(16)
    assert world.ada.pay(world.ada.sign(world.ben, 100, id=number))[0] == 201
    assert problem(world.ada.pay(world.ada.sign(world.ben, 200, id=number))) == (409, "order-conflict")


@pytest.mark.parametrize("changes, expected", [
    (lambda w: {"payer": w.ben.account}, (404, "account-unknown")),
    (lambda w: {"payee": "ZZ00000000000000"}, (422, "payee-unknown")),
    (lambda w: {"name": "Somebody Else"}, (422, "payee-name")),
    (lambda w: {"payee": w.ada.account, "name": w.ada.name}, (422, "same-account")),
    (lambda w: {"amount": 99_999_999}, (422, "funds")),
    (lambda w: {"currency": "USD"}, (422, "currency")),
    (lambda w: {"expiry": int(time.time()) - 60}, (422, "order-expired")),
])
def test_signed_order_that_cannot_be_booked(world, changes, expected):
    world.ada.log_in()
    balance = world.ada.balance()
    order = world.ada.sign(world.ben, **({"amount": 100} | changes(world)))
    assert problem(world.ada.pay(order)) == expected
    assert world.ada.balance() == balance


@pytest.mark.parametrize("body", [
    {}, {"order": 1, "signature": 2}, {"order": "!!", "signature": "!!"}, [], "x",
    {"order": "Q0FSRFdJUkU=", "signature": "AAAA"}])
def test_malformed_payment_is_refused(world, body):
    world.ada.log_in()
    status, name = problem(world.ada.http("POST", "/v1/payments", body))
    assert status in (400, 422) and name in {"malformed", "order-malformed", "order-signature"}


@pytest.mark.parametrize("request_text, expected", [
    (b"GET /v1/accounts/../../bank.db HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
    (b"DELETE /v1/accounts HTTP/1.1\r\nHost: x\r\n\r\n", (405, 501)),
    (b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", (404,)),
    (b"POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", (413, 400)),
    (b"nonsense\r\n\r\n", (400,)),
])
def test_hostile_http_over_a_good_line(world, request_text, expected):
    world.ada.log_in()
    assert world.ada.card.write(request_text) == 0x9000
    answer = world.ada.card.read()
    # Hanging up without a word is an answer as well, but only to what is no HTTP.
    if answer or request_text != b"nonsense\r\n\r\n":
        assert answer.startswith(b"HTTP/1.1 ") and int(answer.split()[1]) in expected


def test_other_customers_money_cannot_be_seen(world):
    world.ada.log_in()
    for path in (f"/v1/accounts/{world.ben.account}/balance",
                 f"/v1/accounts/{world.ben.account}/transactions"):
        assert problem(world.ada.http("GET", path)) == (404, "account-unknown")
    world.ben.log_in()
    order = world.ben.sign(world.ada, 100)
    _, paid = world.ben.pay(order)
    number = paid["payment"]["order"]
    assert world.ben.http("GET", f"/v1/payments/{number}")[0] == 200
    world.ada.log_in()
    assert problem(world.ada.http("GET", f"/v1/payments/{'0' * 32}"))[0] == 404
