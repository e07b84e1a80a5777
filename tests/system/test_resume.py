"""A second login goes on from the session of the first: with the real bank and with servers by other people,
after the card's process was killed in the middle of a line, and only for a card and a PIN that are good."""

import re

import pytest

from cardwire_lab import Lab, json_lines, wait_for
from foreign import PROFILES, SERVERS
from rawcard import OPEN, PIN, RawCard
from small_bank import NAME, small_bank

BARS = {"tls13": (8, 1000), "ecdhe": (6, 800), "rsa": (6, 800)}
RESUMED = 0x9B


def http(card, method, path, body=b""):
    """The status of one request over the open line; in TLS 1.3 the ticket comes with the answer."""
    request = (f"{method} {path} HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\n\r\n").encode() + body
    for at in range(0, len(request), 200):
        assert card.write(request[at:at + 200]) == 0x9000
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = card.read()
        assert part, card.reason()
        answer += part
    return int(answer.split()[1])


# --- the bank ---------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN, "both")

        def cardwire(*args, pin=it.pin):
            done = lab.run("cardwire", "--json", "--reader", f"inproc:{it.card}", "--server",
                           f"127.0.0.1:{it.port}", "--pin-file", pin, *args)
            return done.returncode, json_lines(done.stdout)
        it.cardwire = cardwire
        yield it


@pytest.mark.parametrize("key", ["p256", "rsa"])
@pytest.mark.parametrize("profile", PROFILES)
def test_card_torn_out_of_an_open_line(bank, profile, key):
    """kill -9 of the card's process: no CLOSE, no close_notify; three times over."""
    for again in range(4):
        card = RawCard(bank.lab, bank.card)
        assert card.open(PIN, bank.port, NAME, profile, key, resume=again > 0) & OPEN
        session = card.session()
        assert session[RESUMED][0] == (again > 0)
        assert session[0x94] == NAME.encode() and session[0x9A] == b"\1"
        assert http(card, "POST", "/v1/session", b'{"key_agreement":"succeeded"}') == 200
        assert http(card, "GET", "/v1/accounts") == 200  # the bank knows whose line it is
        card.kill()


def test_resumed_line_needs_its_pin(bank):
    assert bank.cardwire("login")[0] == 0
    with RawCard(bank.lab, bank.card) as card:
        card.select()
        assert card.command(0x80, 0x10, 0, 0, le=256)[1] == 0x6982
    wrong = bank.lab.file("wrong-pin", "99999999\n")
    code, said = bank.cardwire("login", pin=wrong)
    assert code == 5 and said[-1]["error"] == "wrong-pin"
    code, said = bank.cardwire("login")
    assert code == 0 and said[-1]["line"]["resumed"] is True


@pytest.mark.parametrize("key", ["p256", "rsa"])
@pytest.mark.parametrize("profile", PROFILES)
def test_terminal_says_so_and_it_is_cheap(bank, profile, key):
    options = ("--profile", profile, "--key", key, "login")
    seen = []
    for extra in (("--full",), (), (), ("--full",)):
        code, said = bank.cardwire(*extra, *options)
        assert code == 0, said
        seen.append(said[-1]["line"])
        assert said[-1]["session"]["card"]["serial"] == bank.serial
    assert [line["resumed"] for line in seen] == [False, True, True, False]
    assert len({line["peer_sha256"] for line in seen}) == 1
    for line in seen[1:3]:
        cost, (apdus, total) = line["handshake"], BARS[profile]
        assert cost["apdus"] <= apdus
        assert cost["bytes_to_card"] + cost["bytes_from_card"] <= total
    done = bank.lab.run("cardwire", "--reader", f"inproc:{bank.card}", "--server",
                        f"127.0.0.1:{bank.port}", "--pin-file", bank.pin, *options)
    assert done.returncode == 0 and re.search(r"^Line: .*, resumed$", done.stderr, re.M)


def test_blocked_card_is_not_resumed(bank):
    for profile in PROFILES:
        assert bank.cardwire("--profile", profile, "login")[0] == 0
        bank.admin("card", "block", bank.serial)
        code, said = bank.cardwire("--profile", profile, "login")
        assert code == 4 and said[-1]["ok"] is False
        bank.admin("card", "unblock", bank.serial)
        code, said = bank.cardwire("--profile", profile, "login")
        assert code == 0 and said[-1]["line"]["resumed"] is False


def test_payment_over_a_resumed_line(bank):
    """The order is bound to the resumed line, and the bank finds it so."""
    assert bank.cardwire("login")[0] == 0
    code, said = bank.cardwire("pay", "--to", bank.payee, "--amount", "1.00", "--currency", "EUR",
                               "--reference", "resumed", "--yes")
    assert code == 0 and said[-1]["payment"]["amount"] == "1.00"
    log = next(p for p in bank.lab.processes if p.name == "cardwired").said()
    lines = [line for line in log.splitlines() if "handshake card=" in line or "/v1/payments" in line]
    paid = next(i for i, line in enumerate(lines) if "/v1/payments" in line)
    assert "resumed=1 bound=1" in lines[paid - 1]


def steps(rows):
    return [(r["who"], r["what"]) for r in rows]


CHECK, SENT, RECEIVED = "card checks", "card -> server", "server -> card"
TLS12 = [(CHECK, "random"), (SENT, "ClientHello"), (RECEIVED, "ServerHello"), (CHECK, "session"),
         (CHECK, "keys"), (RECEIVED, "ChangeCipherSpec"), (RECEIVED, "Finished"),
         (CHECK, "server-finished"), (SENT, "ChangeCipherSpec"), (SENT, "Finished"),
         (SENT, "POST /v1/session")]
TLS13 = [(CHECK, "random"), (SENT, "ClientHello"), (RECEIVED, "ServerHello"), (CHECK, "session"),
         (CHECK, "key-share"), (CHECK, "keys"), (RECEIVED, "EncryptedExtensions"),
         (RECEIVED, "Finished"), (CHECK, "server-finished"), (SENT, "Finished"),
         (SENT, "POST /v1/session")]


@pytest.mark.parametrize("profile", PROFILES)
def test_trace_of_a_resumed_line(bank, profile):
    assert bank.cardwire("--profile", profile, "login")[0] == 0
    code, said = bank.cardwire("--profile", profile, "trace")
    assert code == 0 and said[-1]["line"]["resumed"] is True
    rows = [s for s in said if s["type"] == "step"]
    assert steps(rows) == (TLS13 if profile == "tls13" else TLS12)
    assert all(r["step"] and r["claims"] and r["note"] for r in rows)
    assert all(r["result"] in (None, "held") for r in rows)
    carried = next(r for r in rows if r["what"] == "session")
    assert carried["step"] == "5-11" and "carried over from an earlier line" in carried["note"]
    # A full one has them itself, and carries nothing over.
    code, said = bank.cardwire("--full", "--profile", profile, "trace")
    rows = [s for s in said if s["type"] == "step"]
    assert code == 0 and (CHECK, "session") not in steps(rows) and (CHECK, "chain") in steps(rows)


# --- servers by other people ------------------------------------------------------------------------

def talk(server, card):
    """A word from the server, which in TLS 1.3 brings its ticket along."""
    if server.speaks == "http":
        assert http(card, "GET", "/") == 200
    else:
        assert card.write(b"hello there\n") == 0x9000
        assert card.read()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", SERVERS)
def test_resumes_with_a_stock_server(world, kind, profile):
    """After kill -9 of the card. GnuTLS gives out its whole session as a ticket in TLS 1.3, which the card
    does not keep: it shakes hands in full, as it does with a server that has been started anew."""
    server = SERVERS[kind](world.lab, PROFILES[profile], *world.honest[profile], world.cards.cert,
                           sessions=True)
    want = not (kind == "gnutls" and profile == "tls13")
    try:
        for again in range(3):
            world.card.kill()
            world.card = RawCard(world.lab, world.lab.folder / "card")
            assert world.card.open(PIN, server.port, world.name, profile, resume=True) & OPEN
            assert world.card.session()[RESUMED][0] == (want and again > 0), f"line {again}"
            talk(server, world.card)
        if kind in ("nginx", "haproxy"):  # whose log tells it
            told = {"nginx": r" r$", "haproxy": r"resumed=1"}[kind]
            wait_for("the server telling of the resumed line", lambda: len(
                re.findall(told, server.seen(), re.M)) >= 2, server.process)
    finally:
        world.card.hang_up()
        server.stop()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", SERVERS)
def test_line_with_a_stock_server_as_it_comes(world, kind, profile):
    """With what it does if nobody says anything about sessions: the card gets its lines in any case."""
    server = SERVERS[kind](world.lab, PROFILES[profile], *world.honest[profile], world.cards.cert)
    try:
        for _ in range(3):
            world.card.reset()
            assert world.card.open(PIN, server.port, world.name, profile, resume=True) & OPEN
            talk(server, world.card)
            world.card.hang_up()
    finally:
        server.stop()
