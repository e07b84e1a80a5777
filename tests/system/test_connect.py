"""`cardwire connect` with a card that the bank issued for a foreign name, against servers that nobody here
wrote: mutual authentication and data both ways; and what it says when the card refuses one."""

import json
import subprocess
import types

import pytest

from cardwire_lab import Ca, Lab, json_lines, trust_in_cards, wait_for
from foreign import PROFILES, SERVERS, s_server, subject_seen

NAME = "server.cardwire.test"
GET = f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n"
PIN = "135790"


@pytest.fixture(scope="module")
def issued():
    """Cards as a bank issues them: by cardwired, for a foreign name and root."""
    with Lab() as lab:
        servers = Ca(lab.folder / "server-ca", "Server Root")
        pin = lab.file("pin", PIN + "\n")
        bank = lab.folder / "bank"
        assert lab.run("cardwired", "init", bank).returncode == 0
        cards = {}
        for kind in ("p256", "rsa2048"):
            added = lab.run("cardwired", "--dir", bank, "customer", "add", "--name", f"Holder {kind}",
                            "--json")
            reader = f"inproc:{lab.folder}/card-{kind}"
            done = lab.issue(bank, json.loads(added.stdout)["id"], reader, "--key", kind, "--pin-file", pin,
                             "--server-name", NAME, "--root", servers.cert)
            assert done.returncode == 0, done.stderr
            cards[kind] = types.SimpleNamespace(reader=reader,
                                                serial=json_lines(done.stdout)[-1]["serial"])
        yield types.SimpleNamespace(
            lab=lab, servers=servers, cards=cards, pin=pin, client_ca=trust_in_cards(bank),
            bank=bank, honest={p.name: servers.issue(NAME, p.kind, p.usage)
                               for p in PROFILES.values()})


def connect(issued, card, port, profile, *options):
    return [issued.lab.program("cardwire"), "--reader", card.reader, "--server", f"127.0.0.1:{port}",
            "--name", NAME, "--profile", profile, "--pin-file", issued.pin, *options, "connect"]


@pytest.mark.parametrize("key", ["p256", "rsa2048"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", SERVERS)
def test_connect_to_a_stock_server(issued, kind, profile, key):
    card = issued.cards[key]
    server = SERVERS[kind](issued.lab, PROFILES[profile], *issued.honest[profile], issued.client_ca)
    out = issued.lab.folder / f"out-{kind}-{profile}-{key}"
    say, want = ((GET, "you are ") if server.speaks == "http" else
                 ("hello there\n", "ereht olleh" if kind == "openssl" else "hello there"))
    try:
        with open(out, "wb") as stdout:
            terminal = issued.lab.start("cardwire", connect(issued, card, server.port, profile),
                                        stdin=subprocess.PIPE, stdout=stdout)
        terminal.stdin.write(say.encode())
        terminal.stdin.flush()
        # The server's own word comes back through the card, in clear at the terminal's stdout.
        wait_for("the server's answer", lambda: want in out.read_text(), terminal
                 if server.speaks != "http" else None)
        if server.speaks == "http":
            assert card.serial in out.read_text().lower()
        terminal.stdin.close()
        assert terminal.wait(60) == 0, terminal.tail()
        subject_seen(server, card.serial)
    finally:
        server.stop()


def test_connect_carries_much_both_ways(issued):
    """More than any buffer on the way holds: 200 lines of 1,000 characters there and back."""
    card, lab = issued.cards["p256"], issued.lab
    server = SERVERS["gnutls"](lab, PROFILES["tls13"], *issued.honest["tls13"], issued.client_ca)
    lines = [f"{i:04d}" + "x" * 995 + "\n" for i in range(200)]
    out = lab.folder / "much"
    try:
        with open(out, "wb") as stdout:
            terminal = lab.start("cardwire", connect(issued, card, server.port, "tls13"),
                                 stdin=subprocess.PIPE, stdout=stdout)
        for line in lines:
            terminal.stdin.write(line.encode())
        terminal.stdin.flush()
        wait_for("all lines coming back", lambda: out.stat().st_size >= 200_000, terminal)
        assert out.read_text() == "".join(lines)
        terminal.stdin.close()
        assert terminal.wait(60) == 0
    finally:
        server.stop()


@pytest.mark.parametrize("fault, reason", [("root", "untrusted"), ("name", "wrong-name"),
                                           ("expired", "expired")])
def test_connect_says_why_the_card_refused(issued, fault, reason):
    authority = Ca(issued.lab.subfolder("ca")) if fault == "root" else issued.servers
    name = "other.cardwire.test" if fault == "name" else NAME
    cert, key = authority.issue(name, **({"start": -9000, "end": -3600} if fault == "expired" else {}))
    server = s_server(issued.lab, PROFILES["tls13"], cert, key, issued.client_ca)
    try:
        done = subprocess.run(
            [str(x) for x in connect(issued, issued.cards["p256"], server.port, "tls13", "--json")],
            input="never sent\n", capture_output=True, text=True, timeout=60, check=False,
            env=issued.lab.env)
        assert done.returncode == 3
        said = json_lines(done.stdout + done.stderr)[-1]
        assert said["ok"] is False and said["reason"] == reason and said["detail"]
        assert "ESTABLISHED" not in server.seen() and "reven" not in server.seen()
    finally:
        server.stop()


def test_card_goes_nowhere_else(issued):
    """A name that was not written at issuance is no name for this card."""
    done = issued.lab.run("cardwire", "--reader", issued.cards["p256"].reader, "--server",
                          "127.0.0.1:9", "--name", "elsewhere.test", "--pin-file", issued.pin,
                          "--json", "connect")
    assert done.returncode != 0
    assert json_lines(done.stdout)[-1]["ok"] is False
