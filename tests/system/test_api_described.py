"""The bank's API against its description, api/openapi.yaml, over a real card's line: every operation, every
status and problem that it may answer, every parameter and every field of its requests and replies must be
met here, and nothing may be answered that is not described."""

import base64
import contextlib
import os
import pathlib
import re
import sqlite3
import time
import urllib.parse

import pytest

from cardwire_lab import ROOT
from holder import bank_of_two
from openapi import PROBLEM, Described

NOBODY = "ZZ00000000000000"  # an account number with good check digits would be somebody's
LOG_IN = {"key_agreement": "succeeded"}


@pytest.fixture(scope="module")
def world():
    with bank_of_two() as it:
        yield it


@pytest.fixture(scope="module")
def described():
    return Described((ROOT / "api" / "openapi.yaml").read_text(encoding="utf-8"))


class Caller:
    """Calls the bank for a holder, and holds everything against the description."""

    def __init__(self, described, holder):
        self.described, self.holder = described, holder

    def __call__(self, method, path, body=None, status=200, problem=None):
        answer = self.holder.ask(method, path, body)
        said = self.described.check(method, path, body, answer)
        assert answer.status == status, said
        assert problem is None or said["type"] == PROBLEM + problem, said
        return said

    def refused(self, status, problem, method, path, body=None):
        self(method, path, body, status, problem)


def samples(world, order="0" * 32):
    """One request of each operation: (method, path, body). Not logged in, blocked or without its books, the
    bank answers all of them alike."""
    ada = world.ada.account
    paths = {"account": ada, "order": order, "request": "1"}
    bodies = {"logIn": LOG_IN, "askTime": {"challenge": "00" * 8}, "reportUpdate": {"sequence": 0},
              "askForPayee": {"action": "remove", "account": ada},
              "pay": {"order": "QQ==", "signature": "QQ=="}}
    for method, path, operation in Described((ROOT / "api/openapi.yaml").read_text()).operations():
        yield (operation["operationId"], method,
               re.sub(r"\{(\w+)\}", lambda m: paths[m.group(1)], path),
               bodies.get(operation["operationId"]))


@contextlib.contextmanager
def table_gone(world, table):
    """The books with a table that cannot be found: what the bank asks for then fails."""
    db = sqlite3.connect(world.folder / "bank.db", isolation_level=None, timeout=60)
    db.execute("PRAGMA legacy_alter_table = ON")  # references in other tables stay as they are
    before = db.execute("SELECT sql, name FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    db.execute(f"ALTER TABLE {table} RENAME TO hidden")
    try:
        yield
    finally:
        db.execute(f"ALTER TABLE hidden RENAME TO {table}")
        db.execute("PRAGMA writable_schema = ON")  # the audit compares the very words
        db.executemany("UPDATE sqlite_master SET sql = ? WHERE name = ?", before)
        db.close()


# --- what every operation has in common -------------------------------------------------------------

def not_logged_in(world, call):
    world.ada.open()
    for name, method, path, body in samples(world):
        if name != "logIn":
            call.refused(403, "not-logged-in", method, path, body)
    call("POST", "/v1/session", LOG_IN)


def not_as_described(world, call):
    """Queries where none is taken, bodies that say more, bodies that are too long."""
    for name, method, path, body in samples(world):
        call.refused(400, "parameter", method, path + "?x=1", body)
        if body is not None:
            call.refused(400, "malformed", method, path, dict(body, more=1))
        call.refused(413, "too-large", method, path, b"x" * 8193)


def blocked(world, call):
    order = world.ada.sign(world.ben, 1)
    world.admin("card", "block", world.ada.serial)
    try:
        for name, method, path, body in samples(world):
            # An order meets its card when it is booked: until then it is looked at as any other.
            call.refused(403, "card-blocked", method, path, order if name == "pay" else body)
    finally:
        world.admin("card", "unblock", world.ada.serial)


def without_books(world, call):
    order = world.ada.sign(world.ben, 1)
    with table_gone(world, "card"):
        for name, method, path, body in samples(world):
            call.refused(503, "outcome-unknown" if name == "pay" else "store", method, path,
                         order if name == "pay" else body)


# --- one by one -------------------------------------------------------------------------------------

def session(world, call):
    assert call("GET", "/v1/session")["customer"]["name"] == "Ada"


def accounts(world, call):
    ada, ben = world.ada.account, world.ben.account
    assert [a["id"] for a in call("GET", "/v1/accounts")["accounts"]] == [ada]
    assert call("GET", f"/v1/accounts/{ada}/balance")["account"] == ada
    for what in ("balance", "transactions"):
        call.refused(404, "account-unknown", "GET", f"/v1/accounts/{ben}/{what}")


def statements(world, call):
    path = f"/v1/accounts/{world.ada.account}/statement"
    said = call("GET", f"{path}.json?from=2020-01-01&to=2100-01-01")
    assert said["closing"] == "99.00" and len(said["transactions"]) == 2
    for form in ("csv", "camt053"):
        call("GET", f"{path}.{form}?from=2020-01-01&to=2100-01-01")
    for form in ("json", "csv", "camt053"):
        call.refused(404, "account-unknown", "GET", f"/v1/accounts/{world.ben.account}/statement.{form}")
    with many_transactions(world):
        for form in ("json", "csv", "camt053"):
            call.refused(422, "period-too-long", "GET", f"{path}.{form}?from=2020-01-01")


@contextlib.contextmanager
def many_transactions(world):
    """A thousand more rows for as long as it takes, in a table that stands before that of the postings."""
    db = sqlite3.connect(world.folder / "bank.db", isolation_level=None, timeout=60)
    with table_gone(world, "posting"):
        db.execute("CREATE TABLE posting AS SELECT * FROM hidden")
        db.execute("WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= 1001) INSERT INTO posting "
                   "SELECT journal, i, account, amount, balance FROM hidden, n "
                   "WHERE journal = (SELECT min(journal) FROM hidden) AND amount > 0")
        try:
            yield
        finally:
            db.execute("DROP TABLE posting")
            db.close()


def payments(world, call):
    ada, ben = world.ada, world.ben
    order = ada.sign(ben, 100, reference="Café №1")
    booked = call("POST", "/v1/payments", order, 201)
    assert call("POST", "/v1/payments", order)["payment"] == booked["payment"]
    number = booked["payment"]["order"]
    assert call("GET", f"/v1/payments/{number}")["payment"] == booked["payment"]
    assert call("GET", f"/v1/payments/{number}/receipt") is None
    call.refused(404, "not-found", "GET", f"/v1/payments/{'0' * 32}")
    call.refused(404, "not-found", "GET", f"/v1/payments/{'0' * 32}/receipt")
    page = call("GET", f"/v1/accounts/{ada.account}/transactions?limit=1")
    rest = call("GET", f"/v1/accounts/{ada.account}/transactions?limit=1&cursor={page['cursor']}")
    assert page["transactions"][0]["order"] == number and rest["transactions"][0]["order"] is None
    today = time.strftime("%Y-%m-%d", time.gmtime())
    found = call("GET", f"/v1/accounts/{ada.account}/transactions?from={today}&to=2100-01-01&min=1&max=1.00"
                 f"&direction=out&counterparty={ben.account}&reference={urllib.parse.quote('Café №')}")
    assert found["transactions"] == page["transactions"] and found["cursor"] is None


def refused_payments(world, call):
    ada, ben = world.ada, world.ben

    def refused(status, problem, order):
        call.refused(status, problem, "POST", "/v1/payments", order)
    good = ada.sign(ben, 1)
    text = base64.b64decode(good["order"])

    def other(old, new):
        assert re.search(old, text, re.M)
        return dict(good, order=base64.b64encode(re.sub(old, new, text, flags=re.M)).decode())
    refused(400, "malformed", {"order": "!", "signature": "!"})
    refused(400, "order-malformed", other(rb"^Pay: ", b"Pay:  "))
    refused(422, "order-signature", other(rb"^Name: .*$", b"Name: Eve"))
    refused(422, "order-expired", ada.sign(ben, 1, expiry=int(time.time()) - 60))
    refused(422, "payee-unknown", ada.sign(ben, 1, payee=NOBODY))
    refused(422, "payee-name", ada.sign(ben, 1, name="Eve"))
    refused(422, "currency", ada.sign(ben, 1, currency="USD"))
    refused(422, "funds", ada.sign(ben, 99_999_999))
    refused(422, "same-account", ada.sign(ada, 1))
    for frozen in (1, 0):
        with contextlib.closing(sqlite3.connect(world.folder / "bank.db", isolation_level=None, timeout=60)) as db:
            db.execute("UPDATE account SET frozen = ? WHERE number = ?", (frozen, ben.account))
        if frozen:
            refused(422, "account-frozen", ada.sign(ben, 1))
    refused(404, "account-unknown", ada.sign(ben, 1, payer=ben.account))
    ben.log_in()
    refused(422, "order-other-card", ben.sign(ada, 1))
    number = os.urandom(16)
    first = ada.sign(ben, 1, id=number)
    call("POST", "/v1/payments", first, 201)
    refused(409, "order-conflict", ada.sign(ben, 2, id=number))
    with table_gone(world, "certificate"):
        refused(503, "store", good)
    late = ada.sign(ben, 1)
    ada.log_in()
    refused(422, "order-other-line", late)
    with used_counter(world) as order:
        refused(409, "order-counter", order)


@contextlib.contextmanager
def used_counter(world):
    """An order whose counter the books say was used by another one. No card signs so: the row of another
    payment is given this counter for as long as it takes."""
    order = world.ada.sign(world.ben, 1)
    counter = int(re.search(rb"^Counter: (\d+)", base64.b64decode(order["order"]), re.M).group(1))
    db = sqlite3.connect(world.folder / "bank.db", isolation_level=None, timeout=60)
    trigger, = db.execute("SELECT sql FROM sqlite_master WHERE name = 'payment_update'").fetchone()
    row, was = db.execute("SELECT max(journal), counter FROM payment WHERE card = ?",
                          (bytes.fromhex(world.ada.serial),)).fetchone()
    db.execute("DROP TRIGGER payment_update")
    db.execute("UPDATE payment SET counter = ? WHERE journal = ?", (counter, row))
    try:
        yield order
    finally:
        db.execute("UPDATE payment SET counter = ? WHERE journal = ?", (was, row))
        db.execute(trigger)
        db.close()


def payees(world, call):
    ben = world.ben
    world.admin("payee", "add", "--card", world.ada.serial, "--account", ben.account, "--confirmed-by", "test")
    assert call("GET", "/v1/payees")["payees"] == [{"account": ben.account, "name": "Ben"}]
    assert call("GET", f"/v1/payees/{ben.account}")["name"] == "Ben"
    call.refused(404, "not-found", "GET", f"/v1/payees/{NOBODY}")


def payee_requests(world, call):
    ada, ben = world.ada, world.ben
    path = "/v1/payee-requests"
    wanted = {"action": "add", "account": ada.account, "name": "Ada"}
    asked = call("POST", path, wanted, 201)["request"]
    assert call("POST", path, wanted)["request"] == asked
    call.refused(422, "payee-unknown", "POST", path, dict(wanted, account=NOBODY))
    call.refused(422, "payee-name", "POST", path, dict(wanted, name="Eve"))
    call.refused(409, "payee-listed", "POST", path, {"action": "add", "account": ben.account, "name": "Ben"})
    call.refused(404, "not-found", "POST", path, {"action": "remove", "account": ada.account})
    world.admin("payee", "refuse", asked["id"], "--because", "No such wish by telephone.")
    assert call("GET", f"{path}/{asked['id']}")["request"]["reason"] == "No such wish by telephone."
    removed = call("POST", path, {"action": "remove", "account": ben.account}, 201)["request"]
    assert removed["status"] == "confirmed" and not call("GET", "/v1/payees")["payees"]
    first = call("GET", f"{path}?limit=1")
    second = call("GET", f"{path}?limit=1&cursor={first['cursor']}")
    assert [first["requests"][0]["id"], second["requests"][0]["id"]] == [removed["id"], asked["id"]]
    assert second["cursor"] is None
    call.refused(404, "not-found", "GET", f"{path}/99")
    db = sqlite3.connect(world.folder / "bank.db", isolation_level=None, timeout=60)
    with table_gone(world, "payee"):  # full, as one sees it
        db.execute("CREATE TABLE payee AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 16) "
                   "SELECT i AS id, card, 'X' || i AS account, 'X' AS name, 0 AS added, '' AS confirmed, "
                   "NULL AS removed FROM hidden, n WHERE id = 1")
        call.refused(409, "payee-full", "POST", path, wanted)
        db.execute("DROP TABLE payee")
    db.close()


def notifications(world, call):
    said, kinds, cursor = None, [], ""
    while said is None or said["more"]:
        said = call("GET", f"/v1/notifications?limit=2{cursor}")
        kinds += [n["kind"] for n in said["notifications"]]
        cursor = f"&cursor={said['cursor']}"
    assert {"payment-booked", "money-received", "payee-asked", "payee-refused", "payee-added", "payee-removed"} == set(
        kinds)
    assert not call("GET", f"/v1/notifications?limit=2{cursor}")["notifications"]


def card(world, call):
    assert call("GET", "/v1/card")["pending"] == 2
    updates = call("GET", "/v1/card/updates?after=0")["updates"]
    assert [u["sequence"] for u in updates] == [1, 2]
    assert call("POST", "/v1/card/updates", {"sequence": 2})["pending"] == 0
    call.refused(404, "not-found", "POST", "/v1/card/updates", {"sequence": 3})
    call("POST", "/v1/card/time", {"challenge": "0011223344556677"})
    db = sqlite3.connect(world.folder / "bank.db", isolation_level=None, timeout=60)
    with table_gone(world, "management"):  # a card of an older bank has no row there
        db.execute("CREATE TABLE management (card BLOB, keyset, policy, applied)")
        call.refused(404, "not-found", "POST", "/v1/card/time", {"challenge": "0011223344556677"})
        db.execute("DROP TABLE management")
    db.close()


STEPS = [not_logged_in, session, accounts, payments, statements, refused_payments, payees, payee_requests, notifications, card, not_as_described, blocked,
         without_books]


def too_often(described):
    with bank_of_two("--requests-per-minute", "1", "--payments-per-minute", "1") as world:
        call = Caller(described, world.ada)
        world.ada.open()
        call("POST", "/v1/session", LOG_IN)
        call.refused(400, "malformed", "POST", "/v1/payments", {"order": "QQ==", "signature": "!"})
        for _, method, path, body in samples(world):
            call.refused(429, "rate-limit", method, path, body)


def test_every_operation(world, described):
    call = Caller(described, world.ada)
    for step in STEPS:
        step(world, call)
    too_often(described)
    assert not described.unseen()
    assert world.admin("audit")["ok"]  # and what was refused left nothing behind


def test_what_is_not_described_is_noticed(world, described):
    """Nothing above would mean anything if a reply could say what it likes."""
    world.ada.log_in()
    text = pathlib.Path(ROOT, "api", "openapi.yaml").read_text(encoding="utf-8")
    for old, new, path, says in [
            ("      required: [account, currency, balance, available, time]\n      properties:\n"
             "        account: {$ref: \"#/components/schemas/Account\"}\n",
             "      required: [currency]\n      properties:\n", "balance", "account"),
            ("  /v1/accounts/{account}/balance:", "  /v1/accounts/{account}/amount:", "balance", "described"),
            ("Money: {type: string", "Money: {type: number", "balance", "number")]:
        assert text.count(old) == 1
        less = Described(text.replace(old, new))
        with pytest.raises(AssertionError, match=says):
            Caller(less, world.ada)("GET", f"/v1/accounts/{world.ada.account}/{path}")
    fresh = Described(text)
    Caller(fresh, world.ada)("GET", "/v1/accounts")
    assert "GET /v1/accounts 200" not in fresh.unseen() and len(fresh.unseen()) > 100
