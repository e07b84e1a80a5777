"""The operations listener: alive, ready, and nothing for anybody who is not on this machine."""

import http.client
import shutil
import socket
import sqlite3

import pytest

from cardwire_lab import Lab, wait_for
from small_bank import logs_in, serve_bank, small_bank

PIN = "135790"


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        yield small_bank(lab, PIN)


def ask(port, path, method="GET", **headers):
    """(status, headers, body)"""
    line = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
    try:
        line.request(method, path, headers=headers)
        answer = line.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        line.close()


def test_alive_and_ready(bank):
    assert ask(bank.ops, "/healthz")[::2] == (200, "alive\n")
    status, headers, body = ask(bank.ops, "/readyz")
    assert (status, body) == (200, "ready\n")
    assert headers["Cache-Control"] == "no-store" and "default-src 'none'" in headers["Content-Security-Policy"]
    logs_in(bank, f"inproc:{bank.card}", "tls13")


@pytest.mark.parametrize("path", ["/", "/healthz/", "/healthz/x", "/HEALTHZ", "//healthz", "/%68ealthz"])
def test_nothing_else(bank, path):
    assert ask(bank.ops, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_but_get(bank, method):
    assert ask(bank.ops, "/healthz", method)[0] in (405, 501)


@pytest.mark.parametrize("host, status", [("evil.example", 421), ("evil.example:80", 421), ("127.0.0.1.evil.example", 421),
                                          ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:9443", 200), ("localhostx", 421), ("127.0.0.1:9", 200)])
def test_a_name_that_was_pointed_here(bank, host, status):
    """A web page in the operator's browser reads nothing by having its own name resolve to loopback."""
    assert ask(bank.ops, "/healthz", Host=host)[0] == status


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
def test_an_address_that_others_reach(bank, address):
    done = bank.lab.run("cardwired", "--dir", bank.folder, "serve", "--listen", "127.0.0.1:0", "--ops", address)
    assert done.returncode == 1 and "one of this machine alone" in done.stderr, done.stderr


def test_a_port_that_is_taken(bank):
    done = bank.lab.run("cardwired", "--dir", bank.folder, "serve", "--listen", "127.0.0.1:0", "--ops",
                        f"127.0.0.1:{bank.ops}")
    assert done.returncode == 5 and "choose another port with --ops" in done.stderr, done.stderr


def test_no_card_is_served_there(bank):
    """And a line of noise ends that connection alone."""
    with socket.create_connection(("127.0.0.1", int(bank.ops)), timeout=30) as s:
        s.sendall(b"\x16\x03\x01\x00\x05hello\r\n\r\n")
        assert not s.recv(4096).startswith(b"HTTP/1.1 200")
    assert ask(bank.ops, "/healthz")[0] == 200


def test_books_that_another_program_holds(bank):
    """The server does not hang on them, and is ready again when they are free."""
    other = sqlite3.connect(bank.folder / "bank.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        assert ask(bank.ops, "/readyz")[::2] == (503, "the books cannot be written\n")
        assert ask(bank.ops, "/healthz")[0] == 200
        other.execute("ROLLBACK")
        assert ask(bank.ops, "/readyz")[0] == 200
    finally:
        other.close()


def test_books_that_are_gone(bank):
    """SQLite would go on writing into a file that nobody finds any more."""
    server, _, ops = serve_bank(bank.lab, bank.folder)
    try:
        assert ask(ops, "/readyz")[0] == 200
        (bank.folder / "bank.db").rename(bank.folder / "away.db")
        try:
            assert ask(ops, "/readyz")[0] == 503
            assert ask(ops, "/healthz")[0] == 200
            shutil.copy(bank.folder / "away.db", bank.folder / "bank.db")  # others, under their name
            assert ask(ops, "/readyz")[0] == 503
        finally:
            (bank.folder / "away.db").rename(bank.folder / "bank.db")
        wait_for("ready again", lambda: ask(ops, "/readyz")[0] == 200, server)
    finally:
        server.stop()
