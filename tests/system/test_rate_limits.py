"""How often a card may ask: requests and payments apart, over all of its lines, and nobody pays for
another's card."""

import time

import pytest

from holder import bank_of_two, problem


@pytest.fixture
def world():
    with bank_of_two("--requests-per-minute", "20", "--payments-per-minute", "3") as it:
        yield it


def exhaust(holder, path="/v1/card"):
    """Asks until it is refused; how many answers there were, and the refusal."""
    for n in range(100):
        answer = holder.ask("GET", path)
        if answer.status == 429:
            return n, answer
        assert answer.status == 200
    raise AssertionError("never refused")


def test_requests(world):
    world.ada.log_in()
    begun = time.monotonic()
    n, refusal = exhaust(world.ada)
    passed = time.monotonic() - begun
    assert 19 <= n <= 19 + passed / 3 + 1  # the login was one of twenty; one more every three seconds
    wait = int(refusal.headers["retry-after"])
    assert 1 <= wait <= 3 and refusal.type == "application/problem+json"
    # Another line is the same card; another card is not.
    world.ada.open()
    assert problem(world.ada.http("POST", "/v1/session", {"key_agreement": "succeeded"})) == (429, "rate-limit")
    world.ben.log_in()
    assert world.ben.http("GET", "/v1/card")[0] == 200


def test_payments_are_apart(world):
    ada, ben = world.ada, world.ben
    ada.log_in()
    orders = [ada.sign(ben, 1) for _ in range(4)]
    exhaust(ada)
    answers = [ada.pay(order) for order in orders]  # requests are used up; payments are not
    assert [status for status, _ in answers] == [201, 201, 201, 429]
    assert "not looked at" in answers[3][1]["detail"]
    assert world.admin("report")["payments"] == 3
    # Asking again for what was paid counts as well: it is a payment until it was looked at.
    assert problem(ada.pay(orders[0])) == (429, "rate-limit")


def test_who_waits_as_long_as_was_said_is_served():
    with bank_of_two("--payments-per-minute", "60") as world:
        ada, answer = world.ada, None
        ada.log_in()
        while answer is None or answer.status != 429:
            order = ada.sign(world.ben, 1)
            answer = ada.ask("POST", "/v1/payments", order)
        time.sleep(int(answer.headers["retry-after"]))
        assert ada.pay(order)[0] == 201
        assert world.admin("audit")["ok"]


def test_no_limit():
    with bank_of_two("--requests-per-minute", "0", "--payments-per-minute", "0") as world:
        world.ada.log_in()
        for _ in range(700):
            assert world.ada.http("GET", "/v1/card")[0] == 200


@pytest.mark.parametrize("option", ["--requests-per-minute", "--payments-per-minute"])
@pytest.mark.parametrize("value", ["-1", "x", "1000001", ""])
def test_called_wrongly(world, option, value):
    done = world.lab.run("cardwired", "--dir", world.folder, "serve", option, value)
    assert done.returncode == 2 and option in done.stderr
