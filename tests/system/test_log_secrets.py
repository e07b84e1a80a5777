"""All that the server logs of a whole session, at the loudest level and in both forms, is searched for what must not be
in it: PINs, keys, names, accounts, amounts, what was ordered."""

import base64
import json
import re
import socket
import ssl

import pytest

from cardwire_lab import Lab, json_lines, wait_for
from small_bank import serve_bank, small_bank
from test_ops import ask

PIN, WRONG = "135790", "246802"
REFERENCE = "rent-for-may"
EVENTS = {"listening", "handshake", "request", "alert", "reload", "ops", "draining", "stopped", "turned-out"}


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.server.stop()
        yield it


def session(bank, form):
    """A server's whole life, with all that goes well and much that does not. (its log, what must not be in it)"""
    keylog = bank.lab.folder / f"keys-{form}"
    server, port, ops = serve_bank(bank.lab, bank.folder, "--log", form, "--log-level", "debug", "--insecure-keylog",
                                   keylog)
    wrong = bank.lab.file("wrong-pin", WRONG + "\n")

    def cardwire(*args):
        done = bank.lab.run("cardwire", "--json", "--reader", f"inproc:{bank.card}", "--server", f"127.0.0.1:{port}",
                            "--pin-file", bank.pin, *args)
        return json_lines(done.stdout)[-1]
    said = []
    for profile in ("tls13", "ecdhe", "rsa"):
        said.append(cardwire("--profile", profile, "login"))
    said.append(cardwire("balance"))
    for amount in ("13.37", "77777.77"):  # the second is more than there is
        said.append(cardwire("pay", "--to", bank.payee, "--amount", amount, "--currency", "EUR", "--reference", REFERENCE,
                             "--yes"))
    assert said[-2]["ok"] and not said[-1]["ok"], said[-2:]
    said.append(cardwire("statement"))
    receipt = bank.lab.folder / f"receipt-{form}"
    said.append(cardwire("receipt", "--order", said[4]["payment"]["order"], "--out", receipt))
    assert cardwire("--pin-file", wrong, "login")["ok"] is False
    with socket.create_connection(("127.0.0.1", int(port))) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        s.recv(100)
    with pytest.raises((ssl.SSLError, OSError)):
        context = ssl.create_default_context(cafile=bank.folder / "server-root.pem")
        with socket.create_connection(("127.0.0.1", int(port))) as s, context.wrap_socket(
                s, server_hostname="bank.cardwire.test") as line:
            line.sendall(b"x")
            line.recv(100)
    for path in ("/metrics", "/readyz", "/" + REFERENCE):
        ask(ops, path)
    server.send_signal(1)
    wait_for("the reload", lambda: "SIGHUP" in server.said(), server)
    server.terminate()
    server.wait(30)
    return server.said(), forbidden(bank, keylog, receipt, said)


def forbidden(bank, keylog, receipt, said):
    found = {PIN, WRONG, REFERENCE, "Ada", "Ben", bank.payer, bank.payee, "13.37", "77777.77", "1337", "7777777"}
    for line in keylog.read_text().splitlines():
        found.update(line.split()[1:])  # client random and secret
    for key in bank.folder.glob("*.key"):
        text = key.read_text(errors="replace")
        found.update(re.findall(r"(?m)^[A-Za-z0-9+/=]{30,}$", text))
    mailer = bank.folder / "mailers"
    for file in mailer.iterdir() if mailer.is_dir() else []:
        found.update(re.findall(r"\b\d{4,}\b", file.read_text()))
    balances = [a["balance"] for s in said for a in s.get("accounts", [])]
    found.update(b for b in balances if len(b) > 4)
    found.add(base64.b64encode(receipt.read_bytes()).decode()[100:160])
    assert len(found) > 30 and all(len(f) >= 3 for f in found), found
    return found


def leaks(log, secrets):
    return sorted(s for s in secrets if s.lower() in log.lower())


@pytest.mark.parametrize("form", ["text", "json"])
def test_nothing_of_it_is_in_the_log(bank, form):
    log, secrets = session(bank, form)
    assert leaks(log, secrets) == []
    for secret in secrets:  # and the search finds what is there
        assert leaks(log + f'\n2026-11-26T20:00:00Z info x why="about {secret}"\n', secrets)
    seen = set()
    for line in log.splitlines():
        if form == "json":
            event = json.loads(line)
            assert set(event) >= {"time", "level", "event"}
            seen.add(event["event"])
        else:
            shape = re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (error|warn|info|debug) ([a-z-]+)'
                                 r'((?: [a-z_]+=(?:[^\s"=\\]+|"(?:[^"\\]|\\.)*"))*)', line)
            assert shape, line
            seen.add(shape[2])
    assert seen >= EVENTS - {"turned-out"} and seen <= EVENTS | {"refused", "error"}, seen
