"""A server that is told to stop: nobody is let in, who is asking gets the answer, lines end in good order, and all that
within a bound. And one that is told to read its settings again. With real cards in flight."""

import contextlib
import re
import signal
import subprocess
import time

import pytest

from cardwire_lab import Lab, port_open, wait_for
from small_bank import serve_bank, small_bank
from test_ops import ask

PIN = "135790"
PROFILES = ["tls13", "ecdhe", "rsa"]


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.server.stop()
        yield it


class Line:
    """`cardwire connect`: the card's line, with our hands on what goes through."""

    def __init__(self, bank, port, profile="tls13"):
        self.out = bank.lab.subfolder("line") / "out"
        with open(self.out, "wb") as stdout:
            self.process = bank.lab.start("cardwire", [
                bank.lab.program("cardwire"), "--reader", f"inproc:{bank.card}", "--server", f"127.0.0.1:{port}",
                "--pin-file", bank.pin, "--profile", profile, "connect"], stdin=subprocess.PIPE, stdout=stdout)

    def say(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def heard(self, text, count=1):
        wait_for(f"the answer {text}", lambda: self.out.read_bytes().count(text) >= count, self.process)

    def ended(self):
        return self.process.wait(30)


@contextlib.contextmanager
def serving(bank, config):
    path = bank.lab.subfolder("conf") / "cardwired.conf"
    path.write_text(config)
    server, port, ops = serve_bank(bank.lab, bank.folder, "--config", path)
    server.config = path
    try:
        yield server, port, ops
    finally:
        server.stop()


ASK = b"GET /v1/session HTTP/1.1\r\nHost: b\r\n"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_request_that_has_begun_is_answered(bank, profile):
    with serving(bank, "drain = 60") as (server, port, ops):
        line = Line(bank, port, profile)
        line.say(ASK + b"\r\n" + ASK)  # the rest of the second comes later
        line.heard(b"not-logged-in")
        server.send_signal(signal.SIGTERM)
        wait_for("draining", lambda: "draining lines=1" in server.said(), server)
        assert not port_open(int(port))
        assert ask(ops, "/readyz")[::2] == (503, "draining\n")
        assert ask(ops, "/healthz")[0] == 200
        line.say(b"\r\n")
        assert server.wait(30) == 0  # long before the bound
        assert line.ended() == 0, line.process.said()  # close_notify came
        said = line.out.read_bytes()
        assert said.count(b"not-logged-in") == 2 and b"Connection: close" in said
        assert "stopped lines=0" in server.said()


def unread(port):
    """Bytes that the kernel has for connections to that port."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f if f":{int(port):04X} " in line.split(maxsplit=2)[1] + " "]
    return sum(int(row[4].split(":")[1], 16) for row in rows if row[3] == "01")


def test_a_request_that_comes_with_the_signal_is_answered(bank):
    """It is there, and the server has not looked yet."""
    with serving(bank, "drain = 60") as (server, port, _):
        line = Line(bank, port)
        line.say(ASK + b"\r\n")
        line.heard(b"not-logged-in")
        server.send_signal(signal.SIGSTOP)
        line.say(ASK + b"\r\n")
        wait_for("the request", lambda: unread(port) > 0, line.process)
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGCONT)
        assert server.wait(30) == 0
        assert line.ended() == 0, line.process.said()
        assert line.out.read_bytes().count(b"not-logged-in") == 2


def test_an_idle_line_is_closed_in_good_order(bank):
    with serving(bank, "drain = 60") as (server, port, _):
        line = Line(bank, port)
        line.say(ASK + b"\r\n")
        line.heard(b"not-logged-in")
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        assert line.ended() == 0, line.process.said()
        assert "stopped lines=0" in server.said()


def test_a_line_that_asked_nothing(bank):
    with serving(bank, "drain = 60") as (server, port, _):
        line = Line(bank, port)
        wait_for("the handshake", lambda: "handshake card=" in server.said(), server)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        assert line.ended() == 0, line.process.said()


@pytest.mark.parametrize("seconds", [0, 2])
def test_the_bound(bank, seconds):
    """A request that never ends holds nothing up."""
    with serving(bank, f"drain = {seconds}") as (server, port, _):
        line = Line(bank, port)
        line.say(ASK + b"\r\n" + ASK)
        line.heard(b"not-logged-in")
        start = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        assert time.monotonic() - start >= seconds - 0.1
        assert "stopped lines=1" in server.said()
        line.process.stop()


def test_the_second_signal_ends_at_once(bank):
    with serving(bank, "drain = 3000") as (server, port, _):
        line = Line(bank, port)
        line.say(ASK + b"\r\n" + ASK)
        line.heard(b"not-logged-in")
        server.send_signal(signal.SIGTERM)
        wait_for("draining", lambda: "draining lines=1 seconds=3000" in server.said(), server)
        assert server.poll() is None
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert "stopped lines=1" in server.said()
        line.process.stop()


def test_a_payment_while_it_drains(bank):
    """Whatever the moment of the signal: what the holder was told is what is in the books."""
    for delay in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3):
        with serving(bank, "drain = 30") as (server, port, _):
            before = bank.admin("report")["payments"]
            holder = bank.lab.start("cardwire", [
                bank.lab.program("cardwire"), "--json", "--reader", f"inproc:{bank.card}", "--server",
                f"127.0.0.1:{port}", "--pin-file", bank.pin, "pay", "--to", bank.payee, "--amount", "0.01", "--currency",
                "EUR", "--yes"])
            time.sleep(delay)
            server.send_signal(signal.SIGTERM)
            assert server.wait(40) == 0
            code = holder.wait(60)
            booked = bank.admin("report")["payments"] - before
            assert booked == 1 or code != 0, holder.said()
            if booked and code != 0:
                assert '"booked":"unknown"' in holder.said().replace(" ", ""), holder.said()


# ---- reading the settings again ----

def hang_up(server, word):
    before = server.said().count(word)
    server.send_signal(signal.SIGHUP)
    wait_for(f"the server saying '{word}'", lambda: server.said().count(word) > before, server)


def test_the_log_changes_its_form_and_level(bank):
    with serving(bank, "log-level = info\n") as (server, port, _):
        bank.cardwire(f"inproc:{bank.card}", "--server", f"127.0.0.1:{port}", "login")
        server.config.write_text("log = json\n")
        hang_up(server, "reload")
        seen = len(server.said())
        bank.cardwire(f"inproc:{bank.card}", "--server", f"127.0.0.1:{port}", "login")
        assert '"event":"handshake"' in server.said()[seen:] and " info " not in server.said()[seen:]
        server.config.write_text("log-level = error\n")
        hang_up(server, "reload")
        seen = len(server.said())
        assert bank.cardwire(f"inproc:{bank.card}", "--server", f"127.0.0.1:{port}", "login")[0] == 0
        assert server.said()[seen:] == ""


def test_a_file_that_is_wrong_changes_nothing(bank):
    with serving(bank, "drain = 1\nlog-level = info\n") as (server, port, _):
        server.config.write_text("drain = 2\nlog-levle = error\n")
        hang_up(server, "not-reloaded")
        assert "cardwired.conf:2: there is no key 'log-levle'" in server.said()
        bank.cardwire(f"inproc:{bank.card}", "--server", f"127.0.0.1:{port}", "login")
        assert "handshake card=" in server.said()
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    assert re.search(r"draining lines=[01] seconds=1", server.said())


def test_what_a_reload_cannot_change_is_said(bank):
    with serving(bank, "drain = 7\n") as (server, _, _):
        server.config.write_text('drain = 8\ninsecure-keylog = x\n')
        hang_up(server, "change when the server is started anew")
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        assert "seconds=8" in server.said()


def test_fewer_lines_from_now_on(bank):
    """Who is in stays; the next one waits until there is room."""
    with serving(bank, "lines = 100\n") as (server, port, _):
        line = Line(bank, port)
        line.say(ASK + b"\r\n")
        line.heard(b"not-logged-in")
        server.config.write_text("lines = 1\n")
        hang_up(server, "reload")
        count = server.said().count("handshake card=")
        other = bank.lab.start("cardwire", [bank.lab.program("cardwire"), "--json", "--reader", f"inproc:{copy(bank)}",
                                            "--server", f"127.0.0.1:{port}", "--pin-file", bank.pin, "login"])
        time.sleep(0.5)
        assert other.poll() is None and server.said().count("handshake card=") == count
        line.process.stop()
        assert other.wait(30) == 0, other.said()


def copy(bank):
    """The same card once more: a line of its own, while the first is in use."""
    folder = bank.lab.subfolder("twin")
    for file in bank.card.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    return folder
