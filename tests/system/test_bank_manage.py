"""The bank manages the cards that it issued, end to end: `cardwired` signs, `cardwire` carries over the card's
own line, the card checks; and what is done at the bank's own reader."""

import base64
import re
import time
import types

import pytest

from cardwire_lab import Lab, json_lines, wait_for
from rawcard import RawCard, tlv

PIN = "135790"
NAME = "bank.cardwire.test"
HOUR = 3600


class Bank:
    """Ada with 100.00 and Ben, whom she pays; the server can be started anew."""

    def __init__(self, lab):
        self.lab, self.folder, self.pin = lab, lab.folder / "bank", lab.file("pin", PIN + "\n")
        self.cards = 0
        self.server = None
        assert lab.run("cardwired", "init", self.folder).returncode == 0
        self.ada, self.ben = (self.admin("customer", "add", "--name", n)["id"] for n in ("Ada", "Ben"))
        self.payee = self.admin("account", "open", "--customer", self.ben)["account"]
        self.admin("account", "open", "--customer", self.ada, "--deposit", "100.00")
        self.serve()

    def try_admin(self, *args):
        done = self.lab.run("cardwired", "--dir", self.folder, *args, "--json")
        return done.returncode, json_lines(done.stdout)[-1]

    def admin(self, *args):
        code, said = self.try_admin(*args)
        assert code == 0, said
        return said

    def serve(self):
        if self.server:
            self.server.stop()
        port_file = self.lab.folder / "port"
        port_file.unlink(missing_ok=True)
        self.server = self.lab.start("cardwired", [
            self.lab.program("cardwired"), "--dir", self.folder, "serve", "--listen", "127.0.0.1:0",
            "--port-file", port_file])
        self.port = wait_for("the bank naming its port", lambda: port_file.exists()
                             and port_file.read_text().strip(), self.server)

    def issue(self, *options, terms=()):
        """A card of Ada's: .serial, .reader, .folder, .mailer"""
        self.cards += 1
        folder = self.lab.folder / f"card{self.cards}"
        done = self.lab.issue(self.folder, self.ada, f"inproc:{folder}", *options, terms=terms)
        assert done.returncode == 0, done.stdout
        return types.SimpleNamespace(reader=f"inproc:{folder}", folder=folder,
                                     **json_lines(done.stdout)[-1])

    def cardwire(self, card, *args, pin=None):
        done = self.lab.run("cardwire", "--json", "--reader", card.reader, "--server",
                            f"127.0.0.1:{self.port}", "--pin-file", pin or self.pin, *args)
        said = json_lines(done.stdout)
        assert said, done.stderr
        return done.returncode, said[-1]

    def login(self, card, **options):
        code, said = self.cardwire(card, "login", **options)
        assert code == 0, said
        return said

    def pay(self, card, amount, currency="EUR"):
        return self.cardwire(card, "pay", "--to", self.payee, "--amount", amount, "--currency", currency,
                             "--reference", "test", "--yes")

    def state(self, card):
        """Of the updates, as the ledger has them: [(sequence, fetched, applied)]"""
        return [(u["sequence"], u["fetched"] is not None, u["applied"]) for u in
                self.admin("card", "updates", "--card", card.serial)["updates"]]


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = Bank(lab)
        yield it
        assert it.server.poll() is None, it.server.tail()
        assert it.admin("report")["sound"]


def info(bank, card):
    """The card's own word, read by hand."""
    with RawCard(bank.lab, card.folder) as raw:
        raw.select()
        return tlv(raw.info(0))


def test_payee_is_confirmed_by_another_way(bank):
    card = bank.issue("--pin-file", bank.pin)
    code, said = bank.pay(card, "1.00")
    assert code == 3 and said["refusal"] == "payee", said
    assert bank.try_admin("payee", "add", "--card", card.serial, "--account", bank.payee)[0] == 2
    assert bank.admin("payee", "add", "--card", card.serial, "--account", bank.payee, "--confirmed-by",
                      "phone, by Eve")["last"] == 1
    assert bank.state(card) == [(1, False, False)]
    bank.login(card)  # brings the update
    assert bank.state(card) == [(1, True, True)]
    code, said = bank.pay(card, "1.00")
    assert code == 0, said
    listed = bank.admin("payee", "list", "--card", card.serial)["payees"]
    assert [(p["account"], p["name"], p["confirmed_by"], p["removed"]) for p in listed] == [
        (bank.payee, "Ben", "phone, by Eve", None)]
    # and is taken off again
    bank.admin("payee", "remove", "--card", card.serial, "--account", bank.payee)
    bank.login(card)
    assert bank.pay(card, "1.00")[0] == 3
    assert bank.admin("payee", "list", "--card", card.serial)["payees"][0]["removed"] is not None
    assert bank.try_admin("payee", "remove", "--card", card.serial, "--account", bank.payee)[0] == 3


def test_payee_of_the_contract(bank):
    card = bank.issue("--pin-file", bank.pin, "--payee", bank.payee)
    assert bank.pay(card, "1.00")[0] == 0
    assert bank.try_admin("payee", "add", "--card", card.serial, "--account", bank.payee, "--confirmed-by",
                          "again")[0] == 4


def test_limits_are_changed(bank):
    card = bank.issue("--pin-file", bank.pin, terms=("--payees", "any", "--limit", "EUR:2.00:3.00"))
    assert bank.pay(card, "2.01")[0] == 3
    assert bank.pay(card, "2.00")[0] == 0
    assert bank.pay(card, "1.01")[0] == 3  # the day's
    bank.admin("card", "update", "--card", card.serial, "--limit", "EUR:5.00:100.00")
    bank.login(card)
    assert bank.pay(card, "4.00")[0] == 0
    assert bank.pay(card, "5.01")[0] == 3
    bank.admin("card", "update", "--card", card.serial, "--limit", "none", "--payees", "listed")
    bank.login(card)
    assert bank.pay(card, "1.00")[0] == 3  # limits and payees are one policy


def test_refused_order_has_used_the_days_limit(bank):
    """The card has signed it: what the bank then thinks of it does not come back to the card."""
    card = bank.issue("--pin-file", bank.pin, terms=("--payees", "any", "--limit", "EUR:900.00:1000.00"))
    code, said = bank.pay(card, "800.00")
    assert code == 4 and "does not hold that much" in said["detail"], said
    code, said = bank.pay(card, "300.00")
    assert code == 3 and said["refusal"] == "day-limit", said


def test_small_orders_go_without_a_pin_of_their_own(bank):
    """The bank's option reaches the card; that it keeps to it is tested with the card."""
    card = bank.issue("--pin-file", bank.pin,
                      terms=("--payees", "any", "--limit", "EUR:50.00:50.00:1.50:3.00"))
    with RawCard(bank.lab, card.folder) as raw:
        raw.select()
        value, sw = raw.command(0, 0xCA, 0x06, 0x00, le=256)
    assert sw == 0x9000
    amounts = b"".join(n.to_bytes(8, "big") for n in (5000, 5000, 150, 300))
    assert tlv(value)[0x82] == b"EUR" + amounts


def test_everything_at_once_is_split(bank):
    """More than seven writes: several messages, in order, and the card takes them all in one login."""
    card = bank.issue("--pin-file", bank.pin)
    root = bank.folder / "server-root.pem"
    said = bank.admin("card", "update", "--card", card.serial, "--root", root, "--root",
                      bank.folder / "card-root.pem", "--server-name", NAME, "--server-name", "shop.test",
                      "--profiles", "tls13", "--limit", "EUR:7.00:7.00", "--lock")
    assert (said["first"], said["last"]) == (1, 2)
    bank.cardwire(card, "login")  # after the last of them there is no line any more
    assert [fetched for _, fetched, _ in bank.state(card)] == [True, True]
    with RawCard(bank.lab, card.folder) as raw:
        raw.select()
        assert tlv(raw.info(0))[0x82] == b"\4"  # locked
        assert int.from_bytes(tlv(raw.info(0))[0x8D], "big") == 2
        assert raw.command(0, 0xCA, 0x02, 0x01, le=256)[1] == 0x9000
        assert b"shop.test" in raw.command(0, 0xCA, 0x03, 0x01, le=256)[0]
        assert raw.command(0, 0xCA, 0x03, 0x02, le=256)[1] == 0x6A88
    assert bank.admin("card", "unlock", "--reader", card.reader)["life"] == "active"
    bank.login(card)
    assert bank.state(card) == [(1, True, True), (2, True, True)]


def test_update_that_would_lose_the_card_is_refused(bank):
    card = bank.issue("--pin-file", bank.pin)
    for options in (("--root", bank.folder / "card-root.pem"), ("--server-name", "shop.test")):
        code, said = bank.try_admin("card", "update", "--card", card.serial, *options)
        assert code == 4 and "reach" in said["detail"], said
    assert bank.try_admin("card", "update", "--card", card.serial)[0] == 2
    assert bank.try_admin("card", "update", "--card", card.serial, "--lock", "--terminate")[0] == 2
    assert bank.try_admin("card", "update", "--card", "00112233445566ff", "--lock")[0] == 3
    assert bank.state(card) == []


def test_terminated_over_the_line(bank):
    card = bank.issue("--pin-file", bank.pin, "--payee", bank.payee)
    bank.admin("card", "update", "--card", card.serial, "--terminate")
    bank.cardwire(card, "login")
    assert info(bank, card)[0x82] == b"\5"
    assert bank.cardwire(card, "login")[0] not in (0, 1)
    # the card has said so to nobody: the bank finds it out at its reader, where it can prove nothing
    code, said = bank.try_admin("card", "terminate", "--reader", card.reader)
    assert code == 4 and "--card" in said["detail"], said
    said = bank.admin("card", "terminate", "--reader", card.reader, "--card", card.serial)
    assert (said["status"], said["proved"]) == ("terminated", False)
    # what was done with it stays to be seen, and is not changed any more
    assert [sequence for sequence, _, _ in bank.state(card)] == [1]
    payee = ("--card", card.serial, "--account", bank.payee)
    assert [p["account"] for p in bank.admin("payee", "list", "--card", card.serial)["payees"]] == [bank.payee]
    assert bank.try_admin("payee", "remove", *payee)[0] == 4
    assert bank.try_admin("card", "update", "--card", card.serial, "--lock")[0] == 4


def test_time_comes_from_the_bank(bank):
    began = int(time.time())
    long_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began - 20 * 24 * HOUR))
    card = bank.issue("--pin-file", bank.pin, "--time", long_ago)
    assert int.from_bytes(info(bank, card)[0x84], "big") == began - 20 * 24 * HOUR
    bank.login(card)
    assert began <= int.from_bytes(info(bank, card)[0x84], "big") <= int(time.time())


def test_activate_after_the_mail(bank):
    card = bank.issue("--pin-file", bank.pin, "--no-activate")
    assert card.status == "personalised"
    assert bank.cardwire(card, "login")[0] not in (0, 1)
    said = bank.admin("card", "activate", "--reader", card.reader)
    assert (said["life"], said["status"]) == ("active", "active")
    bank.login(card)


def test_lock_unlock_terminate_at_the_reader(bank):
    card = bank.issue("--pin-file", bank.pin)
    assert bank.admin("card", "lock", "--reader", card.reader)["life"] == "locked"
    assert bank.cardwire(card, "login")[0] not in (0, 1)
    assert bank.try_admin("card", "activate", "--reader", card.reader)[0] == 4
    bank.admin("card", "unlock", "--reader", card.reader)
    bank.login(card)
    assert bank.admin("card", "terminate", "--reader", card.reader)["status"] == "terminated"
    assert bank.cardwire(card, "login")[0] not in (0, 1)
    assert bank.try_admin("card", "unblock", card.serial)[0] == 4


def numbers(path):
    """PIN and PUK of a mailer."""
    text = open(path, encoding="ascii").read()
    return re.search(r"^PIN (\d+)$", text, re.M)[1], re.search(r"^PUK (\d+)$", text, re.M)[1]


def test_new_pin_and_puk(bank):
    card = bank.issue()
    pin, puk = numbers(card.mailer)
    assert len(puk) == 8
    wrong = bank.lab.file("wrong", "000001\n")
    for _ in range(3):
        assert bank.cardwire(card, "login", pin=wrong)[0] == 5
    said = bank.admin("card", "reset-pin", "--reader", card.reader)
    assert said["mailer"] == card.mailer
    new, new_puk = numbers(card.mailer)
    bank.login(card, pin=bank.lab.file("new", new + "\n"))
    assert (new, new_puk) != (pin, puk)
    # one that must be changed first
    bank.admin("card", "reset-pin", "--reader", card.reader, "--pin-file", bank.pin, "--transport-pin")
    assert bank.cardwire(card, "login")[0] == 5
    code, said = bank.cardwire(card, "pin", "change", "--new-pin-file", bank.lab.file("own", "8024\n"))
    assert code == 0, said
    bank.login(card, pin=bank.lab.folder / "own")


def raw_der(pem):
    text = open(pem, encoding="ascii").read()
    return base64.b64decode("".join(text.split("-----")[2].split()))


def test_new_root(bank):
    """The whole of it: cards learn the next root while the server still has the old one; then it has the
    new one; then they forget the old one. Who has not learnt it stays out."""
    card, late = bank.issue("--pin-file", bank.pin), bank.issue("--pin-file", bank.pin)
    old = bank.folder / "server-root.pem"
    new = bank.admin("root", "roll")["root"]
    assert bank.try_admin("root", "roll")[0] == 4
    between = bank.issue("--pin-file", bank.pin)  # gets both
    bank.serve()
    for it in (card, late, between):  # the old one still serves
        bank.login(it)
    bank.admin("card", "update", "--card", card.serial, "--root", old, "--root", new)
    bank.login(card)
    assert bank.state(card) == [(1, True, True)]
    code, said = bank.try_admin("root", "switch")  # `late`, and others of this module
    assert code == 4 and "cards have not reported" in said["detail"], said
    assert bank.admin("root", "switch", "--force")["root"] == new
    assert bank.try_admin("root", "switch", "--force")[0] == 4
    bank.login(late)  # the server that runs is as it was
    bank.serve()
    for it in (card, between):
        assert bank.login(it)["line"]["peer"] == NAME
    code, said = bank.cardwire(late, "login")
    assert code == 3 and said["reason"] == "untrusted", said
    # at the bank's own reader it takes the root all the same
    assert bank.admin("card", "sync", "--reader", late.reader)["first"] == 0
    bank.admin("card", "update", "--card", late.serial, "--root", new)
    assert bank.cardwire(late, "login")[0] == 3
    said = bank.admin("card", "sync", "--reader", late.reader)
    assert (said["first"], said["last"], said["life"]) == (1, 1, "active")
    assert bank.state(late) == [(1, True, True)]
    assert bank.login(late)["line"]["peer"] == NAME
    # in the ledger's word that root is now the bank's own: without it the card could not be reached
    assert bank.try_admin("card", "update", "--card", card.serial, "--root", old)[0] == 4
    bank.admin("card", "update", "--card", card.serial, "--root", new)
    bank.login(card)
    with RawCard(bank.lab, card.folder) as raw:
        raw.select()
        held = raw.command(0, 0xCA, 0x02, 0x00, le=256)[0]
        assert raw.command(0, 0xCA, 0x02, 0x01, le=256)[1] == 0x6A88
    assert held and held == raw_der(new)
    bank.login(card)
    bank.login(bank.issue("--pin-file", bank.pin))  # new cards know the new one alone
