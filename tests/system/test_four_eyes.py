"""What no card orders, on the command line: holds, postings and reversals want two people, and the log says who."""

import pytest

from cardwire_lab import Lab, json_lines
from pg_lab import Postgres
from small_bank import pays, small_bank

PIN = "135790"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def bank(request):
    if request.param == "sqlite":
        with Lab() as lab:
            yield small_bank(lab, PIN)
        return
    with Postgres(["fsync = off"]) as server, Lab() as lab:
        yield small_bank(lab, PIN, store=server.database("bank"))


def refused(bank, *args):
    done = bank.lab.run("cardwired", "--dir", bank.folder, *args, "--json")
    assert done.returncode != 0
    return json_lines(done.stdout)[-1]


def balance(bank, account):
    return {a["account"]: a["balance"] for a in bank.admin("account", "list")["accounts"]}[account]


def test_posting_and_its_reversal(bank):
    before = balance(bank, bank.payer)
    p = bank.admin("posting", "propose", "--from", bank.payer, "--to", "CASH-EUR", "--amount", "5.00", "--reference",
                   "Paid out", "--operator", "clara")
    assert p["state"] == "pending" and balance(bank, bank.payer) == before
    said = refused(bank, "posting", "approve", p["id"], "--operator", "clara")
    assert said["error"] == "denied" and "second person" in said["detail"]
    assert balance(bank, bank.payer) == before
    entry = bank.admin("posting", "approve", p["id"], "--operator", "dirk")["entry"]
    assert balance(bank, bank.payer) != before
    assert refused(bank, "posting", "approve", p["id"], "--operator", "eve")["error"] == "state"
    r = bank.admin("posting", "reverse", entry, "--operator", "dirk")
    assert r["amount"] == "5.00" and r["to"] == bank.payer
    bank.admin("posting", "approve", r["id"], "--operator", "clara")
    assert balance(bank, bank.payer) == before
    assert "left" in refused(bank, "posting", "reverse", entry, "--operator", "dirk")["detail"]
    assert [p["state"] for p in bank.admin("posting", "list")["proposals"]] == ["approved", "approved"]
    bank.admin("audit")


def test_hold(bank):
    place = ("hold", "place", "--id", "h1", "--account", bank.payer, "--to", bank.payee, "--amount", "90.00",
             "--operator", "clara")
    assert bank.admin(*place)["state"] == "open"
    code, said = bank.cardwire(f"inproc:{bank.card}", "pay", "--to", bank.payee, "--amount", "50.00", "--currency",
                               "EUR", "--yes")
    assert code != 0, said  # it is there, and held
    assert "second person" in refused(bank, "hold", "capture", "h1", "--id", "c1", "--operator", "clara")["detail"]
    for _ in range(2):
        h = bank.admin("hold", "capture", "h1", "--id", "c1", "--amount", "10.00", "--operator", "dirk")
        assert h["captured"] == "10.00" and h["state"] == "open"
    assert bank.admin("hold", "void", "h1")["state"] == "voided"
    assert bank.admin("hold", "expire")["holds"] == 0
    pays(bank, f"inproc:{bank.card}")
    bank.admin("audit")


def test_frozen(bank):
    bank.admin("account", "freeze", bank.payer, "--operator", "clara")
    code, said = bank.cardwire(f"inproc:{bank.card}", "pay", "--to", bank.payee, "--amount", "0.01", "--currency",
                               "EUR", "--yes")
    assert code != 0, said
    bank.admin("account", "unfreeze", bank.payer, "--operator", "clara")
    pays(bank, f"inproc:{bank.card}")
    assert refused(bank, "account", "freeze", "CASH-EUR")["error"] == "not-found"


def test_log(bank):
    """Every command that changed something, and none that only looked."""
    bank.admin("card", "block", bank.serial, "--operator", "clara")
    bank.admin("card", "unblock", bank.serial, "--operator", "dirk")
    lines = bank.admin("log")["log"]
    assert [line["what"] for line in lines[:4]] == ["customer add", "account open", "card keys", "card issue"]
    assert [(line["who"], line["what"], line["subject"]) for line in lines[-2:]] == [
        ("clara", "card block", bank.serial.upper()), ("dirk", "card unblock", bank.serial.upper())]
    assert len(bank.admin("log")["log"]) == len(lines)
    refused(bank, "card", "block", "00" * 8)
    assert len(bank.admin("log")["log"]) == len(lines)
    bank.admin("audit")
