"""The dashboard as a server: who may ask for what, and that it takes nothing from the bank that it shows. The pages
themselves are seen in tests/browser."""

import http.client
import sqlite3
import subprocess

import pytest

from cardwire_lab import Lab, wait_for
from small_bank import pays, small_bank

PIN = "135790"


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.folder, it.reader = lab.folder / "bank", f"inproc:{it.card}"
        port_file = lab.folder / "dashboard-port"
        it.dashboard = lab.start("dashboard", [
            lab.program("cardwired"), "--dir", it.folder, "dashboard", "--listen", "127.0.0.1:0", "--port-file", port_file])
        wait_for("the dashboard naming its port", lambda: port_file.exists() and port_file.read_text().strip(),
                 it.dashboard)
        it.web = int(port_file.read_text())
        yield it


def ask(bank, target="/", method="GET", host=None, body=None, raw=None):
    """(status, headers, body)"""
    c = http.client.HTTPConnection("127.0.0.1", bank.web, timeout=60)
    try:
        c.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        if host != "":
            c.putheader("Host", host or f"127.0.0.1:{bank.web}")
        for name, value in (raw or {}).items():
            c.putheader(name, value)
        if body is not None:
            c.putheader("Content-Length", str(len(body)))
        c.endheaders(body)
        answer = c.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        c.close()


def test_what_goes_with_every_page(bank):
    for target in ("/", "/payments", "/payments/new", "/style.css", "/live.js", "/icon.svg", "/no"):
        status, headers, body = ask(bank, target)
        assert status == (404 if target == "/no" else 200)
        assert headers["Content-Security-Policy"].startswith("default-src 'none';")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"], headers["Cache-Control"]) == (
            "nosniff", "no-referrer", "no-store")
        assert headers["Access-Control-Allow-Origin"] is None and headers["Set-Cookie"] is None
        assert int(headers["Content-Length"]) == len(body)


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("localhost:1", 200), ("LOCALHOST", 200), ("127.0.0.1", 200), ("[::1]:9", 200),
    ("evil.example", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421), ("evil.example:80", 421),
    ("127.0.0.11", 421), ("[::1].evil", 421), ("evil@localhost", 421)])
def test_by_its_own_name_alone(bank, host, status):
    """A page elsewhere whose name is made to point here is answered nothing of the bank (DNS rebinding)."""
    got, headers, body = ask(bank, "/", host=host)
    assert got == status
    assert (b"Cardwire" in body) == (status == 200)
    assert "Content-Security-Policy" in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_reading_alone(bank, method):
    status, _, body = ask(bank, "/accounts", method, body=b"")
    assert status in (400, 405, 501)
    assert b"Ada" not in body


def test_head(bank):
    _, headers, body = ask(bank, "/customers")
    status, head, nothing = ask(bank, "/customers", "HEAD")
    assert (status, nothing) == (200, b"")
    assert head["Content-Length"] == headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("target", ["/accounts?q=" + "a" * 9000, "//", "/%00", "/accounts/%2e%2e/x", "/../bank.db",
                                    "http://evil.example/", "*", "/payments?q=%zz", "/cards?q=a&q=b", "?"])
def test_odd_targets(bank, target):
    assert ask(bank, target)[0] in (200, 400, 404)
    assert ask(bank)[0] == 200


def test_large_headers_and_bodies(bank):
    assert ask(bank, raw={"X-Large": "x" * 10000})[0] in (400, 413)
    assert ask(bank, body=b"x" * 5000)[0] in (400, 413)
    assert ask(bank)[0] == 200


def test_this_machine_alone(bank):
    for address in ("0.0.0.0:0", "[::]:0"):
        done = bank.lab.run("cardwired", "--dir", bank.folder, "dashboard", "--listen", address)
        assert done.returncode == 1 and "would see into the bank" in done.stderr
    done = bank.lab.run("cardwired", "--dir", bank.folder, "dashboard", "--listen", f"127.0.0.1:{bank.web}")
    assert done.returncode == 5 and "taken" in done.stderr


def test_payments_go_on_and_nothing_is_written(bank):
    """While pages are asked for: payments are booked, and the dashboard writes nothing into the books."""
    with sqlite3.connect(bank.folder / "bank.db") as db:
        before = db.execute("PRAGMA data_version").fetchone()
        for target in ("/", "/payments", "/accounts", "/cards", "/customers", "/entries/1", f"/cards/{bank.serial}"):
            assert ask(bank, target)[0] == 200
        assert db.execute("PRAGMA data_version").fetchone() == before
    pays(bank, bank.reader)
    assert b"1.00 EUR" in ask(bank, "/payments")[2]


def test_needs_no_key(bank):
    away = bank.lab.subfolder("away")
    keys = list(bank.folder.glob("*.key")) + [bank.folder / "mailers"]
    for key in keys:
        key.rename(away / key.name)
    try:
        for target in ("/", "/payments", "/entries/3", f"/cards/{bank.serial}"):
            assert ask(bank, target)[0] == 200
        assert b"badge bad" not in ask(bank, "/entries/3")[2] + ask(bank)[2]
    finally:
        for key in keys:
            (away / key.name).rename(key)


def test_it_goes_in_good_order(bank):
    assert subprocess.run(["kill", "-TERM", str(bank.dashboard.pid)], check=True).returncode == 0
    assert bank.dashboard.wait(60) == 0
    pays(bank, bank.reader)
