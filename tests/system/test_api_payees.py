"""What a holder asks of the card's list of payees over its line, and what the bank's clerk makes of it; and
the notifications that tell of it, of money and of cards."""

import json

import pytest

from cardwire_lab import Lab
from holder import bank_of_two, problem
from small_bank import small_bank

REQUESTS = "/v1/payee-requests"


@pytest.fixture
def world():
    with bank_of_two() as it:
        it.ada.log_in()
        yield it


def ask(holder, action, account, name=None):
    body = {"action": action, "account": account} | ({"name": name} if name else {})
    return holder.http("POST", REQUESTS, body)


def cardwired(world, *args):
    return world.lab.run("cardwired", "--dir", world.folder, *args)


def listed(holder):
    return [p["account"] for p in holder.http("GET", "/v1/payees")[1]["payees"]]


def happened(holder, cursor=None, limit=100):
    status, said = holder.http("GET", f"/v1/notifications?limit={limit}" + (f"&cursor={cursor}" if cursor else ""))
    assert status == 200, said
    return said


def test_nobody_gets_onto_the_list_by_the_terminals_word(world):
    ada, ben = world.ada, world.ben
    status, said = ask(ada, "add", ben.account, "Ben")
    assert status == 201 and said["request"]["status"] == "open" and said["request"]["decided"] is None
    assert listed(ada) == [] and ada.http("GET", "/v1/card")[1]["pending"] == 0
    number = said["request"]["id"]
    open_now = world.admin("payee", "requests")["requests"]
    assert [(r["id"], r["card"], r["action"], r["account"]) for r in open_now] == [
        (number, ada.serial, "add", ben.account)]
    world.admin("payee", "confirm", number, "--confirmed-by", "telephone, 12:00")
    assert listed(ada) == [ben.account] and ada.http("GET", "/v1/card")[1]["pending"] == 1
    said = ada.http("GET", f"{REQUESTS}/{number}")[1]["request"]
    assert said["status"] == "confirmed" and said["decided"] and said["reason"] is None
    history = world.admin("payee", "list", "--card", ada.serial)["payees"]
    assert history[0]["confirmed_by"] == "telephone, 12:00"
    assert world.admin("payee", "requests")["requests"] == []
    assert world.admin("audit")["ok"]


def test_taken_off_at_once(world):
    ada, ben = world.ada, world.ben
    world.admin("payee", "add", "--card", ada.serial, "--account", ben.account, "--confirmed-by", "test")
    status, said = ask(ada, "remove", ben.account)
    assert status == 201 and said["request"]["status"] == "confirmed"
    assert listed(ada) == [] and ada.http("GET", "/v1/card")[1]["pending"] == 2
    assert problem(ask(ada, "remove", ben.account)) == (404, "not-found")
    history = world.admin("payee", "list", "--card", ada.serial)["payees"]
    assert history[0]["removed"]


def test_decided_once(world):
    ada, ben = world.ada, world.ben
    number = ask(ada, "add", ben.account, "Ben")[1]["request"]["id"]
    assert ask(ada, "add", ben.account, "Ben") == (200, {"request": ada.http("GET", f"{REQUESTS}/{number}")[1]["request"]})
    world.admin("payee", "refuse", number, "--because", "Nobody answered.")
    for args in (["confirm", number, "--confirmed-by", "x"], ["refuse", number, "--because", "x"]):
        done = cardwired(world, "payee", *args)
        assert done.returncode == 4 and "refused already" in done.stderr
    assert listed(ada) == []
    again = ask(ada, "add", ben.account, "Ben")[1]["request"]
    assert again["id"] != number and again["status"] == "open"
    world.admin("payee", "confirm", again["id"], "--confirmed-by", "letter")
    done = cardwired(world, "payee", "confirm", str(again["id"]), "--confirmed-by", "x")
    assert done.returncode == 4 and "confirmed already" in done.stderr
    assert problem(ask(ada, "add", ben.account, "Ben")) == (409, "payee-listed")


def test_put_on_the_list_meanwhile(world):
    """The clerk added the payee without the request: confirming it changes nothing, and the request is open."""
    ada, ben = world.ada, world.ben
    number = ask(ada, "add", ben.account, "Ben")[1]["request"]["id"]
    world.admin("payee", "add", "--card", ada.serial, "--account", ben.account, "--confirmed-by", "test")
    done = cardwired(world, "payee", "confirm", str(number), "--confirmed-by", "x")
    assert done.returncode == 4 and "already" in done.stderr
    assert ada.http("GET", f"{REQUESTS}/{number}")[1]["request"]["status"] == "open"
    assert ada.http("GET", "/v1/card")[1]["pending"] == 1


def test_requests_of_another_card_are_not_seen(world):
    number = ask(world.ada, "add", world.ben.account, "Ben")[1]["request"]["id"]
    world.ben.log_in()
    assert problem(world.ben.http("GET", f"{REQUESTS}/{number}")) == (404, "not-found")
    assert world.ben.http("GET", REQUESTS)[1]["requests"] == []
    for name in ("0", "-1", "1x", "99999999999999999999", "%31"):
        assert problem(world.ben.http("GET", f"{REQUESTS}/{name}")) == (404, "not-found")


def test_so_many_may_be_open(world):
    for i in range(16):
        customer = world.admin("customer", "add", "--name", f"Payee {i}")["id"]
        account = world.admin("account", "open", "--customer", customer)["account"]
        assert ask(world.ada, "add", account, f"Payee {i}")[0] == 201
    assert problem(ask(world.ada, "add", world.ben.account, "Ben")) == (409, "payee-full")
    world.admin("payee", "refuse", 1, "--because", "x")
    assert ask(world.ada, "add", world.ben.account, "Ben")[0] == 201


@pytest.mark.parametrize("body", [
    {}, [], {"action": "add"}, {"action": "add", "account": "ACCOUNT"}, {"action": "remove"},
    {"action": "remove", "account": "ACCOUNT", "name": "Ben"}, {"action": "replace", "account": "ACCOUNT", "name": "Ben"},
    {"action": "add", "account": "ACCOUNT", "name": "Ben", "confirmed_by": "me"},
    {"action": "add", "account": "ACCOUNT", "name": ""}, {"action": "add", "account": "A" * 35, "name": "Ben"},
    {"action": "add", "account": "ACCOUNT", "name": "B" * 71}, {"action": "add", "account": 1, "name": "Ben"},
    {"action": ["add"], "account": "ACCOUNT", "name": "Ben"}])
def test_malformed_requests(world, body):
    text = json.dumps(body).replace("ACCOUNT", world.ben.account).encode()
    answer = world.ada.ask("POST", REQUESTS, text)
    assert problem((answer.status, json.loads(answer.body))) == (400, "malformed")
    assert world.admin("payee", "requests")["requests"] == []


@pytest.mark.parametrize("args, code", [
    (["payee", "confirm", "99", "--confirmed-by", "x"], 3), (["payee", "confirm", "x", "--confirmed-by", "x"], 2),
    (["payee", "confirm", "1"], 2), (["payee", "refuse", "1"], 2), (["payee", "refuse", "99", "--because", "x"], 3),
    (["payee", "confirm"], 2), (["payee", "refuse", "NUMBER", "--because", "\n"], 1),
    (["payee", "confirm", "NUMBER", "--confirmed-by", ""], 1), (["payee", "confirm", "NUMBER", "--confirmed-by", "x" * 201], 1)])
def test_clerk_called_wrongly(world, args, code):
    number = ask(world.ada, "add", world.ben.account, "Ben")[1]["request"]["id"]
    done = cardwired(world, *[str(number) if a == "NUMBER" else a for a in args])
    assert done.returncode == code and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert len(world.admin("payee", "requests")["requests"]) == 1 and listed(world.ada) == []


# --- notifications ----------------------------------------------------------------------------------

def test_what_happened(world):
    """Each thing once, in its order, to whom it concerns; the cursor goes on where it stopped."""
    ada, ben = world.ada, world.ben
    begin = happened(ada)
    assert [n["kind"] for n in begin["notifications"]] == ["money-received"]  # the opening deposit
    assert begin["more"] is False
    order = ada.sign(ben, 250, reference="Lunch")
    assert ada.pay(order)[0] == 201 and ada.pay(order)[0] == 200
    number = ask(ada, "add", ben.account, "Ben")[1]["request"]["id"]
    world.admin("payee", "confirm", number, "--confirmed-by", "test")
    for _ in range(2):  # blocked twice is blocked once
        world.admin("card", "block", ada.serial)
    world.admin("card", "unblock", ada.serial)
    said = happened(ada, begin["cursor"])
    assert sorted(n["kind"] for n in said["notifications"]) == sorted([
        "payment-booked", "payee-asked", "payee-added", "card-blocked", "card-unblocked"])
    paid = next(n for n in said["notifications"] if n["kind"] == "payment-booked")
    assert (paid["amount"], paid["reference"], paid["counterparty"]) == (
        "-2.50", "Lunch", {"account": ben.account, "name": "Ben"})
    assert all(n["card"] == ada.serial for n in said["notifications"] if "card" in n)
    again = happened(ada, said["cursor"])
    assert again["notifications"] == [] and again["cursor"] == said["cursor"]
    world.ben.log_in()
    assert [n["amount"] for n in happened(ben)["notifications"]] == ["100.00", "2.50"]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_leave_nothing_out(world, limit):
    ada, ben = world.ada, world.ben
    for i in range(3):
        assert ada.pay(ada.sign(ben, 100 + i))[0] == 201
        world.admin("card", "block", ada.serial)
        world.admin("card", "unblock", ada.serial)
    seen, cursor, more = [], None, True
    while more:
        said = happened(ada, cursor, limit)
        assert len(said["notifications"]) == limit or not said["more"]
        seen += said["notifications"]
        cursor, more = said["cursor"], said["more"]
    assert [n["amount"] for n in seen if "amount" in n] == ["100.00", "-1.00", "-1.01", "-1.02"]
    assert [n["kind"] for n in seen if "card" in n] == ["card-blocked", "card-unblocked"] * 3
    assert [n["time"] for n in seen] == sorted(n["time"] for n in seen)
    assert ada.pay(ada.sign(ben, 103))[0] == 201
    assert [n["amount"] for n in happened(ada, cursor)["notifications"]] == ["-1.03"]


def test_cursor_is_the_customers_own(world):
    cursor = happened(world.ada)["cursor"]
    world.ben.log_in()
    for wrong in (cursor, "0" * 64, cursor[:-1], "x"):
        assert problem(world.ben.http("GET", f"/v1/notifications?cursor={wrong}")) == (400, "parameter")


# --- cardwire ---------------------------------------------------------------------------------------

@pytest.fixture
def bank():
    with Lab() as lab:
        it = small_bank(lab, "135790", options=("--payees", "listed"))
        it.reader = f"inproc:{it.card}"
        yield it


def cardwire(bank, *args):
    return bank.cardwire(bank.reader, *args)


def test_from_the_wish_to_the_payment(bank):
    """A card that pays only to its list: the holder asks, the clerk confirms, the card takes the update."""
    order = ("pay", "--to", bank.payee, "--amount", "1.00", "--currency", "EUR", "--yes")
    code, said = cardwire(bank, *order)
    assert code == 3 and said["refusal"] == "payee"
    code, said = cardwire(bank, "payee", "add", "--to", bank.payee)
    assert code == 0 and said["request"]["status"] == "open" and said["request"]["name"] == "Ben"
    assert cardwire(bank, *order)[0] == 3  # asking alone changes nothing
    number = said["request"]["id"]
    bank.admin("payee", "confirm", number, "--confirmed-by", "at the counter")
    assert cardwire(bank, "payee", "requests")[1]["requests"][0]["status"] == "confirmed"
    assert cardwire(bank, "payee", "list")[1]["payees"] == [{"account": bank.payee, "name": "Ben"}]
    code, said = cardwire(bank, *order)
    assert code == 0, said
    code, said = cardwire(bank, "payee", "remove", "--to", bank.payee)
    assert code == 0 and said["request"]["status"] == "confirmed"
    assert cardwire(bank, "login")[1]["updates"] == 1
    assert cardwire(bank, *order)[1]["refusal"] == "payee"
    code, said = cardwire(bank, "notifications")
    assert code == 0 and sorted(n["kind"] for n in said["notifications"]) == sorted([
        "money-received", "payee-asked", "payee-added", "payment-booked", "payee-removed"])
    code, said = cardwire(bank, "notifications", "--since", said["cursor"])
    assert code == 0 and said["notifications"] == [] and said["more"] is False


def test_for_people(bank):
    def say(*args):
        done = bank.lab.run("cardwire", "--reader", bank.reader, "--server", f"127.0.0.1:{bank.port}", "--pin-file",
                            bank.pin, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout
    assert "another way" in say("payee", "add", "--to", bank.payee)
    bank.admin("payee", "refuse", 1, "--because", "Nobody answered.")
    assert say("payee", "requests").split() == ["1", "refused", "add", bank.payee, "Ben", "Nobody", "answered."]
    assert say("payee", "list") == ""
    lines = say("notifications", "--limit", "2").splitlines()
    assert len(lines) == 3 and "100.00 EUR" in lines[0] and lines[2].startswith("To go on (there is more): --since ")
    assert "Nobody answered." in say("notifications", "--since", lines[2].split()[-1])


@pytest.mark.parametrize("args", [["payee"], ["payee", "dance"], ["payee", "add"], ["payee", "add", "--to", "no account"],
                                  ["payee", "list", "more"], ["notifications", "--since", "x&limit=1"]])
def test_cardwire_called_wrongly(bank, args):
    code, said = cardwire(bank, *args)
    assert code == 2 and said["ok"] is False and said["detail"]


@pytest.mark.parametrize("args, reason", [
    (["payee", "add", "--to", "ZZ00000000000000"], "not-found"), (["payee", "remove", "--to", "ZZ00000000000000"], "not-found"),
    (["notifications", "--since", "00"], "parameter")])
def test_the_bank_refuses(bank, args, reason):
    code, said = cardwire(bank, *args)
    assert code == 4 and said["reason"] == reason, said
