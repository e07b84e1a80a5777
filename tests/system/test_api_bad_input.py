"""Bad input over a good card's line: what is no HTTP or no JSON, numbers and texts out of bounds, other people's
accounts, and orders of which one thing was changed after the card had shown and signed them. Each is refused
with its own problem, nothing is booked, and the line or at least the bank goes on."""

import base64
import json
import os
import re
import time

import pytest

from holder import NAME, bank_of_two, problem

NOBODY = "ZZ00000000000000"
POSTS = ["/v1/session", "/v1/payments", "/v1/card/time", "/v1/card/updates", "/v1/payee-requests"]


@pytest.fixture(scope="module")
def world():
    with bank_of_two("--requests-per-minute", "0", "--payments-per-minute", "0") as it:
        yield it
        assert it.admin("audit")["ok"]


@pytest.fixture(autouse=True)
def nothing_is_booked(world):
    """Whatever the test does: it must end with the payments that it says itself it made."""
    before = world.admin("report")["payments"]
    world.paid = 0
    world.ada.log_in()
    yield
    assert world.admin("report")["payments"] == before + world.paid


def refused(world, status, name, order):
    assert problem(world.ada.pay(order)) == (status, name)


# --- what is no HTTP --------------------------------------------------------------------------------

def request(line=b"GET /v1/card HTTP/1.1", *fields, body=b""):
    return b"\r\n".join([line, b"Host: " + NAME.encode(), *fields, b"", body])


@pytest.mark.parametrize("text", [
    b"\x00\x01\x02\x03\r\n\r\n", b"GET\r\n\r\n", b"GET /v1/card\r\n\r\n", b"\r\n\r\nnonsense\r\n\r\n",
    request(b"GET /v1/card HTTP/9.9"), request(b"GET /v1/card HTTP/1.1 more"), request(b"GET  /v1/card HTTP/1.1"),
    request(b"FETCH /v1/card HTTP/1.1"), request(b"GET v1/card HTTP/1.1"), request(b"GET /v1/card%00 HTTP/1.1"),
    request(b"GET http://[::1/v1/card HTTP/1.1"), request(b"GET /v1/\xff\xfe HTTP/1.1"),
    request(b"POST /v1/payments HTTP/1.1", b"Content-Length: -1"),
    request(b"POST /v1/payments HTTP/1.1", b"Content-Length: 99999999999999999999999"),
    request(b"POST /v1/payments HTTP/1.1", b"Content-Length: 5", b"Content-Length: x", body=b"{}   "),
    request(b"POST /v1/payments HTTP/1.1", b"Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
    request(b"POST /v1/payments HTTP/1.1", b"Transfer-Encoding: chunked", body=b"-2\r\n{}\r\n0\r\n\r\n"),
    request(b"GET /v1/card HTTP/1.1", b"no colon here"),
    request(b"GET /" + b"x" * 9000 + b" HTTP/1.1"), request(b"GET /v1/card HTTP/1.1", b"X: " + b"x" * 9000),
    request(b"HEAD /v1/card HTTP/1.1"), request(b"CONNECT host:1 HTTP/1.1"), request(b"OPTIONS * HTTP/1.1"),
], ids=lambda text: text[:32].decode("latin-1") + f"...{len(text)}")
def test_malformed_http(world, text):
    """A status of 4xx or 501, or the end of the line: never an answer to something that was not asked."""
    try:
        answer = world.ada.send(text)
        assert 400 <= answer.status <= 417 or answer.status in (431, 501), answer
        assert b"serial" not in answer.body
    except (ConnectionError, AssertionError) as e:
        assert isinstance(e, ConnectionError) or "6985" in str(e) or "== 36864" in str(e), e
    world.ada.log_in()
    assert world.ada.http("GET", "/v1/card")[0] == 200


# --- what is no JSON --------------------------------------------------------------------------------

def good_but(text):
    return b'{"order":"QQ==","signature":"QQ==","sequence":1,"challenge":"0011223344556677",' + text + b"}"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", [
    b"", b" ", b"{", b"}", b"null", b"true", b"1", b'"x"', b"[]", b"[{}]", b"{}{}", b"{} x", b"{'a':1}", b"{a:1}",
    b'{"a":1,}', b'{"a":}', b"/* */ {}", b"NaN", b"\xef\xbb\xbf{}", b"{}\x00", b"\x00", b"[" * 8000, b'{"a":' * 1600,
    good_but(b'"more":1'), good_but(b'"order":"QQ=="'), good_but(b'"more":1e999999'),
    good_but(b'"more":' + b"9" * 4000), good_but(b'"more":-' + b"9" * 400 + b".0"), good_but(b'"more":"\xff\xfe"'),
    good_but(b'"more":"\xc0\xaf"'), good_but(b'"more":"\xed\xa0\x80"'), good_but(b'"more":"\\ud800"'),
    good_but(b'"more":"\\u0000"'), good_but(b'"mo\x00re":1'), good_but(b'"more":"' + b"A" * 7000 + b'"'),
], ids=lambda body: body[:24].decode("latin-1") + f"...{len(body)}")
def test_malformed_json(world, path, body):
    answer = world.ada.ask("POST", path, body)
    assert problem((answer.status, json.loads(answer.body))) == (400, "malformed")


@pytest.mark.parametrize("path, body", [
    ("/v1/card/updates", b'{"sequence":-1}'), ("/v1/card/updates", b'{"sequence":4294967296}'),
    ("/v1/card/updates", b'{"sequence":1e0}'), ("/v1/card/updates", b'{"sequence":9223372036854775808}'),
    ("/v1/card/updates", b'{"sequence":"1"}'), ("/v1/card/time", b'{"challenge":1234567890123456}'),
    ("/v1/card/time", b'{"challenge":"001122334455667\\u0000"}'), ("/v1/session", b'{"key_agreement":true}'),
    ("/v1/payments", b'{"order":["QQ=="],"signature":"QQ=="}'), ("/v1/payments", b'{"order":"QQ==","signature":null}'),
    ("/v1/payments", b'{"order":"QQ=","signature":"QQ=="}'), ("/v1/payments", b'{"order":"QQ==\\n","signature":"QQ=="}'),
    ("/v1/payments", b'{"order":"QR==","signature":"QQ=="}'), ("/v1/payments", b'{"order":"-_8=","signature":"QQ=="}'),
    ("/v1/payments", b'{"order":"' + b"QUFB" * 1000 + b'","signature":"QQ=="}'),
    ("/v1/payments", b'{"order":"QQ==","signature":"' + b"QUFB" * 1000 + b'"}')])
def test_values_out_of_bounds(world, path, body):
    answer = world.ada.ask("POST", path, body)
    assert problem((answer.status, json.loads(answer.body))) == (400, "malformed")


@pytest.mark.parametrize("length", [8192, 8193, 60000])
def test_body_too_large(world, length):
    answer = world.ada.ask("POST", "/v1/payments", b"x" * length)
    assert problem((answer.status, json.loads(answer.body))) == (
        (413, "too-large") if length > 8192 else (400, "malformed"))


# --- amounts ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("amount", [
    b"-1.00 EUR", b"-0.01 EUR", b"+1.00 EUR", b"0.00 EUR", b"01.00 EUR", b"1,00 EUR", b"1.0 EUR", b"1.000 EUR", b"1 EUR",
    b"1e2 EUR", b"0x10 EUR", b"10000000000000.00 EUR", b"92233720368547758.08 EUR", b"184467440737095516.17 EUR",
    b"9" * 300 + b".00 EUR", b"NaN EUR", b"1.00 eur", b"1.00 EURO", b"1.00 XXX", b"1.00", b" 1.00 EUR", b"1.00 EUR ",
    "\u0661.00 EUR".encode(), b"1.00\x00 EUR"])
def test_amounts(world, amount):
    """In the text that is said to be signed. The card itself writes none of these (tests/unit/test_card_orders.c)."""
    good = world.ada.sign(world.ben, 100)
    text = base64.b64decode(good["order"])
    assert text.count(b"Pay: 1.00 EUR\n") == 1
    order = base64.b64encode(text.replace(b"1.00 EUR", amount)).decode()
    refused(world, *((400, "malformed") if len(order) > 860 else (400, "order-malformed")), dict(good, order=order))


@pytest.mark.parametrize("amount", [0, 1 << 63, (1 << 64) - 1, 1_000_000_000_000_000])
def test_amounts_that_the_card_does_not_sign(world, amount):
    with pytest.raises(AssertionError, match="6A80"):
        world.ada.sign(world.ben, amount)


# --- other people's -------------------------------------------------------------------------------

@pytest.mark.parametrize("what", ["balance", "transactions", "statement.json", "statement.csv", "statement.camt053"])
def test_other_peoples_accounts(world, what):
    """And accounts that nobody has, and names that are none: one answer to all."""
    for account in (world.ben.account, NOBODY, "CASH-EUR", "x", "%2e%2e", "1" * 200, world.ada.account.lower()):
        assert problem(world.ada.http("GET", f"/v1/accounts/{account}/{what}")) == (404, "account-unknown")


def test_paying_from_other_peoples_accounts(world):
    balance = world.ben.balance()
    refused(world, 404, "account-unknown", world.ada.sign(world.ben, 1, payer=world.ben.account))
    refused(world, 404, "account-unknown", world.ada.sign(world.ada, 1, payer=world.ben.account))
    assert world.ben.balance() == balance


def test_other_peoples_payments(world):
    world.ben.log_in()
    status, said = world.ben.pay(world.ben.sign(world.ada, 1))
    assert status == 201
    world.paid = 1
    world.ada.log_in()  # to whom it was paid sees the transaction, not the order
    for path in ("", "/receipt"):
        assert problem(world.ada.http("GET", f"/v1/payments/{said['payment']['order']}{path}")) == (404, "not-found")
    for name in ("0", "0" * 31, "0" * 33, "g" * 32, "0" * 32):
        assert problem(world.ada.http("GET", f"/v1/payments/{name}")) == (404, "not-found")


# --- orders -----------------------------------------------------------------------------------------

def test_signed_by_another_card(world):
    world.ben.log_in()
    order = world.ben.sign(world.ada, 1)
    world.ada.log_in()
    refused(world, 422, "order-other-card", order)
    mine = world.ada.sign(world.ben, 1)
    refused(world, 422, "order-signature", dict(mine, signature=order["signature"]))


def test_for_another_line(world):
    order = world.ada.sign(world.ben, 1)
    world.ada.log_in()
    refused(world, 422, "order-other-line", order)


def test_twice(world):
    order = world.ada.sign(world.ben, 1)
    assert [world.ada.pay(order)[0] for _ in range(3)] == [201, 200, 200]
    world.paid = 1
    again = world.ada.sign(world.ben, 1, id=bytes.fromhex(re.search(
        rb"Order: (\w+)", base64.b64decode(order["order"])).group(1).decode()))
    refused(world, 409, "order-conflict", again)  # the same number, another counter


def test_late(world):
    refused(world, 422, "order-expired", world.ada.sign(world.ben, 1, expiry=int(time.time()) - 1))
    order = world.ada.sign(world.ben, 1, expiry=int(time.time()) + 2)
    time.sleep(3)
    refused(world, 422, "order-expired", order)


CHANGES = {  # of each line: what is put in its place, and what the bank says to it
    "Pay": (lambda w: b"9.00 EUR", (422, "order-signature")),
    "To": (lambda w: w.ada.account.encode(), (422, "order-signature")),
    "Name": (lambda w: b"Eve", (422, "order-signature")),
    "From": (lambda w: w.ben.account.encode(), (422, "order-signature")),
    "Reference": (lambda w: b"Else", (422, "order-signature")),
    "Order": (lambda w: os.urandom(16).hex().encode(), (422, "order-signature")),
    "Expires": (lambda w: b"2099-01-01T00:00:00Z", (422, "order-signature")),
    "Card": (lambda w: w.ben.serial.encode(), (422, "order-other-card")),
    "Counter": (lambda w: b"4000000", (422, "order-signature")),
    "Line": (lambda w: b"0" * 32, (422, "order-other-line")),
}


@pytest.mark.parametrize("line", CHANGES)
def test_one_field_changed_after_the_signature(world, line):
    good = world.ada.sign(world.ben, 100, reference="Test")
    text = base64.b64decode(good["order"])
    value, expected = CHANGES[line]
    changed = re.sub(rb"(?m)^" + line.encode() + rb": .*$", line.encode() + b": " + value(world), text)
    assert changed != text and len(changed.splitlines()) == len(text.splitlines())
    balances = world.ada.balance(), world.ben.balance()
    refused(world, *expected, dict(good, order=base64.b64encode(changed).decode()))
    assert (world.ada.balance(), world.ben.balance()) == balances
    assert world.ada.pay(good)[0] == 201  # what the card signed is still good
    world.paid = 1


def test_every_line_of_an_order_is_changed(world):
    text = base64.b64decode(world.ada.sign(world.ben, 100)["order"]).decode()
    assert [line.split(":")[0] for line in text.splitlines()[1:]] == list(CHANGES)


@pytest.mark.parametrize("change", [
    lambda t: t + b"\n", lambda t: t[:-1], lambda t: t.replace(b"\n", b"\r\n"), lambda t: b"\xef\xbb\xbf" + t,
    lambda t: t.replace(b"ORDER 1", b"ORDER 2"), lambda t: t.replace(b"Name: Ben", b"Name:  Ben"),
    lambda t: t.replace(b"Name: Ben", b"Name: B\xff"), lambda t: t.replace(b"Name: Ben", b"Name: B\xe2\x80\xaen"),
    lambda t: t.replace(b"Name: Ben", b"Name: Ben\nName: Ben"), lambda t: b"\n".join(reversed(t.split(b"\n"))),
    lambda t: t.replace(b"Counter: ", b"Counter: 0"), lambda t: t + t, lambda t: b"",
    lambda t: re.sub(rb"Order: (\w+)", lambda m: m.group(0).upper().replace(b"ORDER", b"Order"), t),
    lambda t: re.sub(rb"Expires: .*", b"Expires: 2026-02-30T00:00:00Z", t),
    lambda t: re.sub(rb"Counter: .*", b"Counter: 4294967296", t)])
def test_texts_that_no_card_writes(world, change):
    good = world.ada.sign(world.ben, 100, id=bytes([0xAB] * 16))
    order = base64.b64encode(change(base64.b64decode(good["order"]))).decode()
    assert order != good["order"]
    refused(world, 400, "order-malformed", dict(good, order=order))
