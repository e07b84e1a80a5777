"""The card is brought up to date over its own line after a login. First by a bank that is played, with the
update key in its hands: what it may do, and what becomes of it when it fails, lies or means harm. None of that
fails a login or a payment."""

import base64
import calendar
import json
import threading
import time
import types

import pytest

from cardwire_lab import Ca, json_lines
from fakebank import PAYEE, FakeBank, as_json, honest, problem
from rawcard import LOCKED, TERMINATED, RawCard, payees, personalise, policy, time_message, update_message

PIN = "83159270461"
NAME = "bank.cardwire.test"
DAY = 86400
STRANGE = b"\x11" * 8


@pytest.fixture(scope="module")
def issued(lab):
    """A card that was issued three days ago, and a server that it permits."""
    servers, cards = Ca(lab.folder / "servers", "Server Root"), Ca(lab.folder / "cards", "Card Root")
    cert, key = servers.issue(NAME)
    folder = lab.subfolder("played")
    (folder / "server-p256.pem").write_text(cert.read_text())
    (folder / "server-p256.key").write_text(key.read_text())
    (folder / "card-root.pem").write_text(cards.cert.read_text())
    with RawCard(lab, lab.folder / "issued") as card:
        serial = personalise(card, cards, [servers.cert], {NAME: 7}, pin=PIN, floor=time.time() - 3 * DAY,
                             terms=policy(flags=1 | 8))  # listed payees, and there are none
    return types.SimpleNamespace(folder=folder, card=lab.folder / "issued", serial=bytes.fromhex(serial))


class Bank:
    """Knows one card. answers: path -> what it says in the place of the truth; asked: what it was asked."""

    def __init__(self, serial, updates=(), at=None, answers=None):
        self.serial, self.updates, self.applied = serial, list(updates), 0
        self.at = at or int(time.time())
        self.answers, self.asked = answers or {}, []

    def __call__(self, method, path, body):
        path, _, query = path.partition("?")
        self.asked.append((method, path))
        if path in self.answers:
            answer = self.answers[path]
            return answer(body) if callable(answer) else answer
        if path == "/v1/card":
            return as_json({"serial": self.serial.hex(), "status": "active",
                            "sequence": max([self.applied, *(n for n, _ in self.updates)]),
                            "pending": sum(n > self.applied for n, _ in self.updates)})
        if path == "/v1/card/time":
            return signed(time_message(self.serial, bytes.fromhex(json.loads(body)["challenge"]), self.at))
        if (method, path) == ("GET", "/v1/card/updates"):
            after = int(query.removeprefix("after="))
            return listed([u for u in self.updates if u[0] > after])
        if path == "/v1/card/updates":
            self.applied = json.loads(body)["sequence"]
            return as_json({})
        if path == "/v1/payments":
            return problem(422, "funds")
        return honest(method, path, body)


def text_of(message):
    return base64.b64encode(message).decode()


def signed(message):
    return as_json({"message": text_of(message)})


def listed(updates):
    return as_json({"updates": [{"sequence": n, "message": text_of(m)} for n, m in updates]})


def update(serial, number, *writes):
    return number, update_message(serial, number, writes)


@pytest.fixture
def card(lab, issued):
    """A copy of it; card(bank, *args) runs cardwire against the played bank."""
    folder = lab.subfolder("card")
    for file in issued.card.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
        (folder / file.name).chmod(0o600)
    pin = lab.file(f"{folder.name}-pin", PIN + "\n")

    def run(bank, *args, code=0):
        with FakeBank(issued.folder, bank) as fake:
            done = lab.run("cardwire", "--json", "--reader", f"inproc:{folder}", "--server",
                           f"127.0.0.1:{fake.port}", "--pin-file", pin, *args)
        print(args, done.stdout, done.stderr)
        assert done.returncode == code, done.stdout + done.stderr
        run.stderr = done.stderr
        return json_lines(done.stdout)[-1]

    def info():
        return json_lines(lab.run("cardwire", "--json", "--reader", f"inproc:{folder}", "card").stdout)[-1]
    run.info, run.serial, run.folder = info, issued.serial, folder
    return run


def pay(card, bank, more=(), **options):
    return card(bank, "pay", "--to", PAYEE, "--amount", "1.00", "--currency", "EUR", "--reference", "Tea", "--yes",
                *more, **options)


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def test_login_takes_updates_and_time(card):
    first = update(card.serial, 2, (0x0900, payees([(PAYEE, "Ben")])))
    second = update(card.serial, 5, (0x0600, policy(flags=1 | 8, limits=[("EUR", 900, 900, 0, 0)])))
    bank = Bank(card.serial, [first, second])
    said = card(bank, "login")
    assert (said["updates"], said["sequence"], said["time"]) == (2, 5, stamp(bank.at))
    assert "sync_failed" not in said and said["life"] == "active"
    assert bank.applied == 5
    now = card.info()
    assert now["time_floor"] == stamp(bank.at) and now["sequence"] == 5
    assert now["policy"]["limits"][0]["order"] == "9.00"
    # Nothing left to do: one question, and no word of it.
    bank.asked.clear()
    said = card(bank, "login")
    assert (said["updates"], said["time"]) == (0, None)
    assert bank.asked == [("POST", "/v1/session"), ("GET", "/v1/card")]


def test_no_sync(card):
    bank = Bank(card.serial, [update(card.serial, 1, (0x0900, payees([(PAYEE, "Ben")])))])
    said = card(bank, "--no-sync", "login")
    assert (said["updates"], said["time"]) == (0, None)
    assert bank.asked == [("POST", "/v1/session")]
    assert card.info()["sequence"] == 0


def test_card_update_does_only_that(card):
    bank = Bank(card.serial, [update(card.serial, 1, (0x0900, payees([(PAYEE, "Ben")])))])
    said = card(bank, "card", "update")
    assert said == {"ok": True, "updates": 1, "time": stamp(bank.at), "sequence": 1, "life": "active"}
    assert card(bank, "--no-sync", "card", "update")["updates"] == 0
    said = card(Bank(card.serial, answers={"/v1/card": problem(503, "store", "Out to lunch.")}), "card", "update",
                code=4)
    assert said["reason"] == "store" and said["detail"] == "Out to lunch."


def test_years_in_a_drawer(card):
    """31 days a message, and one message a login."""
    floor = calendar.timegm(time.strptime(card.info()["time_floor"], "%Y-%m-%dT%H:%M:%SZ"))
    bank = Bank(card.serial, at=int(time.time()) + 3 * 366 * DAY)
    assert card(bank, "card", "update")["time"] == stamp(floor + 31 * DAY)
    assert bank.asked.count(("POST", "/v1/card/time")) == 1


def test_a_clock_in_the_year_9999(card):
    """The bank's clock is wrong: one login moves the card by one jump."""
    floor = calendar.timegm(time.strptime(card.info()["time_floor"], "%Y-%m-%dT%H:%M:%SZ"))
    bank = Bank(card.serial, at=253402300799)
    assert card(bank, "login")["time"] == stamp(floor + 31 * DAY)
    assert bank.asked.count(("POST", "/v1/card/time")) == 1


# What a bank may answer, and whether the line is good for anything afterwards.
FAILURES = {
    "it knows no such thing": ({"/v1/card": problem(404, "not-found")}, True),
    "its books are closed": ({"/v1/card": problem(503, "store")}, True),
    "no JSON": ({"/v1/card": (200, "application/json", b"{{{")}, True),
    "no number": ({"/v1/card": as_json({"sequence": 0, "pending": -1})}, True),
    "many, and none": ({"/v1/card": as_json({"sequence": 4000000000, "pending": 4000000000})}, True),
    "no list": ({"/v1/card": as_json({"sequence": 1, "pending": 1}),
                 "/v1/card/updates": as_json({"updates": {"0": 1}})}, True),
    "no message": ({"/v1/card": as_json({"sequence": 1, "pending": 1}),
                    "/v1/card/updates": listed([(1, b"hello")])}, True),
    "too long": ({"/v1/card": as_json({"sequence": 1, "pending": 1}),
                  "/v1/card/updates": listed([(1, bytes(3000))])}, True),
    "no time": ({"/v1/card/time": problem(500, "clock")}, True),
    "a time without a message": ({"/v1/card/time": as_json({"message": None})}, True),
    "no HTTP": ({"/v1/card": (200, "text/plain\r\nTransfer-Encoding: chunked", b"")}, False),
    "it hangs up": ({"/v1/card": None}, False),
    "it hangs up over the time": ({"/v1/card/time": None}, False),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_fails_nothing_else(card, name):
    answers, line_holds = FAILURES[name]
    bank = Bank(card.serial, answers=answers)
    said = card(bank, "login")
    failed = name != "many, and none"  # an empty list is odd, and no failure
    assert ("sync_failed" in said) == failed
    assert ("not brought up to date" in card.stderr) == failed
    bank.asked.clear()
    assert card(bank, "balance")["accounts"]
    assert bank.asked.count(("POST", "/v1/session")) == (1 if line_holds else 2)
    assert card.info()["sequence"] == 0


@pytest.mark.slow  # the terminal bears thirty seconds of silence
def test_bank_that_falls_silent(card):
    """A late answer must not be taken for one to the next question: there is a new line."""
    over = threading.Event()
    lines = []

    def late(_body):
        lines.append(1)
        over.wait(100)
        return problem(404, "not-found")
    bank = Bank(card.serial, answers={"/v1/card": late})

    def answer(method, path, body):
        if path == "/v1/session" and lines:
            over.set()
        return bank(method, path, body)
    threading.Timer(40, over.set).start()  # the played bank serves one line at a time
    assert card(answer, "balance")["accounts"]
    assert len(lines) == 1


FORGED = {
    "for another card": lambda serial: [update(STRANGE, 1, (0x0900, b""))],
    "another number": lambda serial: [(2, update_message(serial, 1, [(0x0900, b"")]))],
    "a time as an update": lambda serial: [(1, time_message(serial, bytes(8), int(time.time())))],
    "backwards": lambda serial: [update(serial, 9, (0x0900, b"")), update(serial, 3, (0x0900, b""))],
}


@pytest.mark.parametrize("name", FORGED)
def test_what_is_not_for_this_card_is_not_carried(card, name):
    updates = FORGED[name](card.serial)
    bank = Bank(card.serial, answers={"/v1/card": as_json({"sequence": 9, "pending": 2}),
                                      "/v1/card/updates": listed(updates)})
    said = card(bank, "login")
    assert "not in order" in said["sync_failed"]
    assert card.info()["sequence"] == said["sequence"] == (9 if name == "backwards" else 0)


def test_the_card_checks_the_signature(card):
    number, message = update(card.serial, 1, (0x0900, payees([(PAYEE, "Mallory")])))
    forged = message[:-1] + bytes([message[-1] ^ 1])
    said = card(Bank(card.serial, [(number, forged)]), "login")
    assert "not signed by the bank" in said["sync_failed"] and said["updates"] == 0
    assert card.info()["sequence"] == 0
    assert card(Bank(card.serial, [(number, forged)]), "card", "update", code=3)["error"] == "denied"
    assert card(Bank(card.serial, [(number, message)]), "login")["updates"] == 1  # the same, honest


@pytest.mark.parametrize("life, name", [(LOCKED, "locked"), (TERMINATED, "terminated")])
@pytest.mark.parametrize("command", [["login"], ["balance"], ["pay", "--to", PAYEE, "--amount", "1.00",
                                                              "--currency", "EUR", "--yes"]])
def test_a_card_that_is_taken_back_ends_the_command(card, life, name, command):
    bank = Bank(card.serial, [update(card.serial, 1, (0x0B00, bytes([life]))),
                              update(card.serial, 2, (0x0900, b""))])
    said = card(bank, *command, code=6)
    assert said["reason"] == name and "your bank" in said["detail"]
    assert bank.asked[-1] == ("GET", "/v1/card/updates")  # nothing was asked after it
    assert card.info()["life"] == name
    said = card(bank, "login", code=6)
    assert said["reason"] == name


def test_card_update_tells_a_lock(card):
    bank = Bank(card.serial, [update(card.serial, 1, (0x0B00, bytes([LOCKED])))])
    assert card(bank, "card", "update")["life"] == "locked"


def test_a_word_that_was_lost_is_said_again(card):
    bank = Bank(card.serial, [update(card.serial, 4, (0x0900, payees([(PAYEE, "Ben")])))])
    assert card(bank, "login")["updates"] == 1
    for _ in range(2):
        bank.applied = 0
        said = card(bank, "login")
        assert said["updates"] == 0 and bank.applied == 4 and "sync_failed" not in said


def test_an_order_that_was_sent_comes_first(card, lab):
    """What became of it must be known before the bank can take the card back."""
    saved = lab.folder / f"{card.folder.name}-order"
    terms = update(card.serial, 1, (0x0600, policy(flags=1)))
    pay(card, Bank(card.serial, [terms]), more=["--save", saved], code=4)  # "funds"
    bank = Bank(card.serial, [terms, update(card.serial, 2, (0x0B00, bytes([LOCKED])))])
    said = card(bank, "pay", "--resend", saved, code=4)
    assert said["reason"] == "funds" and said["order"]
    assert ("GET", "/v1/card") not in bank.asked
    assert card(bank, "login", code=6)["reason"] == "locked"


def test_payee_and_limits_are_the_cards_to_say(card):
    """Said before a PIN is asked for: the PIN file that is given for the order would be no PIN."""
    bank = Bank(card.serial)
    said = pay(card, bank, code=3)
    assert said["refusal"] == "payee" and "have your bank add the payee" in said["detail"]
    assert "order" not in said  # nothing was sent
    terms = policy(flags=1, limits=[("EUR", 99, 500, 0, 0), ("USD", 100, 100, 0, 0)])
    bank.updates.append(update(card.serial, 1, (0x0600, terms)))
    assert pay(card, bank, code=3)["refusal"] == "order-limit"
    terms = policy(flags=1, limits=[("USD", 100, 100, 0, 0)])
    bank.updates.append(update(card.serial, 2, (0x0600, terms)))
    assert pay(card, bank, code=3)["refusal"] == "currency"
    assert card.info()["pin_tries_left"] == 3
