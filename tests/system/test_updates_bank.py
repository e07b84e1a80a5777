"""A holder's years with a card, with the real bank, over a real PC/SC daemon: the PIN that came by post, one that
was forgotten, limits, small amounts, a new payee, a card that was lost and found. What the bank decides reaches the
card over its own line."""

import re
import time

import pytest

from cardwire_lab import OPEN_TERMS, Lab, Pcscd, json_lines, wait_for
from small_bank import small_bank
from typist import Typist

PIN, PUK = "83159270461", "60274918"
NUMBERS = ("PIN", "PUK")


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.folder = lab.folder / "bank"
        it.puk = lab.file("puk", PUK + "\n")
        it.pcscd = Pcscd(lab)
        yield it


class Card:
    """A card of Ada's in the reader; options of `card issue`, process: of cardwire-card."""

    def __init__(self, bank, *options, terms=OPEN_TERMS, mailer=False, process=()):
        self.bank, self.lab, self.env = bank, bank.lab, dict(bank.lab.env, **bank.pcscd.env)
        self.folder = bank.lab.subfolder("issued")
        self.reader = bank.pcscd.reader(0)
        numbers = () if mailer else ("--pin-file", bank.pin, "--puk-file", bank.puk)
        done = self.lab.issue(bank.folder, 1, f"inproc:{self.folder}", *numbers, *options, terms=terms)
        assert done.returncode == 0, done.stderr
        self.serial = json_lines(done.stdout)[-1]["serial"]
        self.pin, self.puk = PIN, PUK
        if mailer:
            text = (bank.folder / "mailers" / f"{self.serial}.txt").read_text()
            self.pin, self.puk = (re.search(rf"^{n} (\d+)$", text, re.M).group(1) for n in NUMBERS)
        self.process = bank.pcscd.insert(self.lab, [self.folder], options=process)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()
        wait_for("the PC/SC daemon noticing that the card is gone", lambda: not any(
            r["card"] for r in json_lines(self.lab.run("cardwire", "--json", "readers", env=self.env).stdout)
            [-1]["readers"]))

    def __call__(self, *args, code=0, pins=None):
        """cardwire --json; pins: the lines that come when a PIN is asked for, one each."""
        lines = [self.pin] * 2 if pins is None else pins
        done = self.lab.run("cardwire", "--json", "--reader", self.reader, "--server",
                            f"127.0.0.1:{self.bank.port}", "--pin-file", "/dev/stdin", *args, env=self.env,
                            input="".join(line + "\n" for line in lines), start_new_session=True)
        print(args, done.stdout, done.stderr)
        assert done.returncode == code, done.stdout + done.stderr
        return json_lines(done.stdout)[-1]

    def pay(self, amount, *more, **options):
        return self("pay", "--to", self.bank.payee, "--amount", amount, "--currency", "EUR", "--reference", "Tea",
                    "--yes", *more, **options)

    def typed(self, *args, answers):
        return Typist([self.lab.program("cardwire"), "--reader", self.reader, *args], answers, env=self.env)

    def at_the_bank(self, *args):
        """cardwired with the card in the bank's own reader."""
        done = self.lab.run("cardwired", "--dir", self.bank.folder, "card", *args, "--reader", self.reader, "--json",
                            env=self.env)
        assert done.returncode == 0, done.stderr
        return json_lines(done.stdout)[-1]

    def updates(self):
        """Whether the bank has heard that each was applied."""
        return [u["applied"] for u in self.bank.admin("card", "updates", "--card", self.serial)["updates"]]


def test_pin_by_post(bank):
    new = "6027491"
    with Card(bank, "--transport-pin", mailer=True) as card:
        assert card("login", code=5)["reason"] == "transport-pin"
        done = card.typed("pin", "change", answers=[("PIN that came by post: ", card.pin), ("New PIN: ", new),
                                                    ("New PIN, again: ", new)])
        assert done.code == 0 and card.pin not in done.shown and new not in done.shown
        assert card("login", pins=[card.pin], code=5)["error"] == "wrong-pin"
        card.pin = new
        assert card("login")["session"]["card"]["serial"] == card.serial
        assert card.pay("1.00")["pin"] == "given"


def test_forgotten_pin(bank):
    with Card(bank) as card:
        for _ in range(3):
            said = card("login", pins=["0000"], code=5)
        assert "cardwire pin unblock" in said["detail"]
        assert card("login", pins=[], code=5)["reason"] == "pin-blocked"
        done = card.typed("pin", "unblock", answers=[("PUK: ", PUK), ("New PIN: ", "271828"),
                                                     ("New PIN, again: ", "271828")])
        assert done.code == 0, done.shown
        card.pin = "271828"
        assert card("balance")["accounts"]


def test_nothing_left_but_the_bank(bank):
    """All tries of the PUK are used up: the bank's own reader helps, and nothing else."""
    wrong, new = bank.lab.file("wrong", "00000000\n"), bank.lab.file("new", "271828\n")
    with Card(bank) as card:
        tries = card("pin", "status")["puk_tries_max"]
        for _ in range(tries):
            said = card("pin", "unblock", "--puk-file", wrong, "--new-pin-file", new, code=5)
        assert "your bank" in said["detail"]
        assert card("pin", "unblock", "--puk-file", bank.puk, "--new-pin-file", new, code=5)["error"] == "blocked"
        assert card("login")["ok"]  # the PIN itself was never in question
        card.at_the_bank("reset-pin", "--pin-file", new, "--puk-file", bank.puk)
        card.pin = "271828"
        assert card("pin", "status")["puk_tries_left"] == tries
        assert card("login")["ok"]


def test_lost_and_found(bank):
    with Card(bank) as card:
        bank.admin("card", "update", "--card", card.serial, "--lock")
        before = bank.admin("report")["payments"]
        said = card.pay("1.00", code=6)
        assert said["reason"] == "locked" and "has locked this card" in said["detail"] and "order" not in said
        assert card("login", pins=[], code=6)["reason"] == "locked"
        assert bank.admin("report")["payments"] == before
        card.at_the_bank("unlock")
        assert card.pay("1.00")["ok"]
        assert card.updates() == [True]


def test_terminated_over_the_air(bank):
    with Card(bank) as card:
        bank.admin("card", "update", "--card", card.serial, "--terminate")
        assert card("card", "update")["life"] == "terminated"
        assert card("login", pins=[], code=6)["reason"] == "terminated"
        said = card("card")
        assert said["keys"] == [] and said["policy"] is None


def test_new_payee_over_the_air(bank):
    with Card(bank, terms=("--limit", "none")) as card:
        said = card.pay("1.00", code=3)
        assert said["refusal"] == "payee" and "have your bank add the payee" in said["detail"]
        bank.admin("payee", "add", "--card", card.serial, "--account", bank.payee, "--confirmed-by", "letter")
        assert card.pay("1.00")["payment"]["payee"] == bank.payee  # it came with this very login
        assert card("card", "payees")["payees"] == [{"account": bank.payee, "name": "Ben"}]
        assert card.updates() == [True]
        bank.admin("payee", "remove", "--card", card.serial, "--account", bank.payee)
        assert card("login")["updates"] == 1
        assert card.pay("1.00", "--no-sync", code=3)["refusal"] == "payee"


def test_several_updates_in_their_order(bank):
    with Card(bank) as card:
        for limit in ("EUR:3.00:9.00", "EUR:2.00:9.00", "EUR:1.00:9.00"):
            bank.admin("card", "update", "--card", card.serial, "--limit", limit)
        assert card("login")["updates"] == 3
        assert card("card")["policy"]["limits"][0]["order"] == "1.00"
        assert card.updates() == [True] * 3
        assert card.pay("1.01", code=3)["refusal"] == "order-limit"
        assert card.pay("1.00")["pin"] == "given"
        assert card("pin", "status")["pin_tries_left"] == 3


def test_day_limit_and_the_next_day(bank):
    """The day is the card's own, by the bank's signature: a terminal that keeps the time back wins nothing."""
    before = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 2 * 86400))
    with Card(bank, "--time", before, terms=("--payees", "any", "--limit", "EUR:3.00:5.00")) as card:
        assert card.pay("3.00", "--no-sync")["ok"]
        said = card.pay("2.01", "--no-sync", code=3)
        assert said["refusal"] == "day-limit" and "pay tomorrow" in said["detail"]
        assert card.pay("2.00", "--no-sync")["ok"]
        assert card.pay("0.01", "--no-sync", code=3)["refusal"] == "day-limit"
        said = card.pay("3.00")  # two days later, as the bank tells the card
        assert said["pin"] == "given"
        assert card.pay("2.01", code=3)["refusal"] == "day-limit"
        assert card("pin", "status")["pin_tries_left"] == 3


def test_small_amounts(bank):
    """The PIN comes from a pipe, a line each time one is asked for: with one line there is none for the order."""
    with Card(bank, terms=("--payees", "any", "--limit", "EUR:9.00:90.00:2.00:3.00")) as card:
        one = [card.pin]
        assert card.pay("2.00", pins=one)["pin"] == "none"
        assert card.pay("1.00", pins=one)["pin"] == "none"
        before = bank.admin("report")["payments"]
        said = card.pay("0.01", pins=one, code=5)  # above the total of small ones: now the PIN is wanted
        assert "order" not in said and bank.admin("report")["payments"] == before
        assert card.pay("0.01")["pin"] == "given"
        assert card.pay("2.00", pins=one)["pin"] == "none"
        assert card.pay("2.01", pins=one, code=5)
        # A blocked PIN ends the small ones too.
        for _ in range(3):
            card("login", pins=["0000"], code=5)
        assert card.pay("0.01", pins=one, code=5)["reason"] == "pin-blocked"


def test_over_the_air_by_permission(bank):
    """Orders without contact are the bank's to permit, and to forbid again."""
    with Card(bank, "--contactless", "orders", process=["--contactless"]) as card:
        assert card.pay("1.00")["pin"] == "given"
        bank.admin("card", "update", "--card", card.serial, "--contactless", "line")
        said = card.pay("1.00", pins=[card.pin], code=6)
        assert "signs no order over a contactless interface" in said["detail"] and "order" not in said
        bank.admin("card", "update", "--card", card.serial, "--contactless", "none")
        assert card("login")["updates"] == 1
        assert "takes no PIN over a contactless" in card("login", pins=[], code=6)["detail"]


def test_wrong_pin_of_the_order_is_told(bank):
    with Card(bank) as card:
        said = card.pay("1.00", pins=[card.pin, "0000"], code=5)
        assert said["error"] == "wrong-pin" and "2 more tries" in said["detail"] and "order" not in said
