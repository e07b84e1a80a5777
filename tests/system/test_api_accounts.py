"""What the bank says of an account, over a card's line: pages, filters, and parameters that are wrong."""

import urllib.parse

import pytest

from holder import bank_of_two, problem

NOBODY = "ZZ00000000000000"


@pytest.fixture(scope="module")
def world():
    """Ada paid Ben 0.01 to 0.07, and Ben paid her 0.50."""
    with bank_of_two() as it:
        it.ada.log_in()
        for cents in range(1, 8):
            assert it.ada.pay(it.ada.sign(it.ben, cents, reference=f"Rent {cents}%_'"))[0] == 201
        it.ben.log_in()
        assert it.ben.pay(it.ben.sign(it.ada, 50, reference="Back"))[0] == 201
        it.ada.log_in()
        yield it


def ask(world, **parameters):
    query = urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)
    return world.ada.http("GET", f"/v1/accounts/{world.ada.account}/transactions?{query}")


def amounts(world, **parameters):
    status, said = ask(world, **parameters)
    assert status == 200, said
    return [t["amount"] for t in said["transactions"]]


ALL = ["0.50", "-0.07", "-0.06", "-0.05", "-0.04", "-0.03", "-0.02", "-0.01", "100.00"]


@pytest.mark.parametrize("limit", [1, 2, 4, 8, 9, 100])
def test_pages(world, limit):
    """Put together they are the whole, each but the last is full, and none comes twice."""
    seen, parameters = [], {"limit": limit}
    while True:
        _, page = ask(world, **parameters)
        seen += page["transactions"]
        if page["cursor"] is None:
            break
        assert len(page["transactions"]) == limit
        parameters["cursor"] = page["cursor"]
    assert [t["amount"] for t in seen] == ALL
    assert len({t["id"] for t in seen}) == len(ALL)


@pytest.mark.parametrize("parameters, expected", [
    ({}, ALL),
    ({"min": "0.05"}, ["0.50", "-0.07", "-0.06", "-0.05", "100.00"]),
    ({"max": "0.05"}, ["-0.05", "-0.04", "-0.03", "-0.02", "-0.01"]),
    ({"min": "0.03", "max": "0.04"}, ["-0.04", "-0.03"]),
    ({"direction": "in"}, ["0.50", "100.00"]),
    ({"direction": "out", "min": "0.06"}, ["-0.07", "-0.06"]),
    ({"reference": "Rent 3"}, ["-0.03"]),
    ({"reference": "ent"}, ALL[1:8]),
    ({"reference": "%_'"}, ALL[1:8]),  # nothing in it is a pattern
    ({"reference": "R%"}, []),
    ({"reference": "rent"}, []),
    ({"counterparty": "BEN"}, ALL[:8]),
    ({"counterparty": "CASH-EUR"}, ["100.00"]),
    ({"counterparty": NOBODY}, []),
    ({"from": "2020-01-01"}, ALL),
    ({"from": "2100-01-01"}, []),
    ({"to": "2020-01-01"}, []),
    ({"from": "2020-01-01", "to": "2100-01-01T00:00:00Z", "direction": "in", "counterparty": "BEN"}, ["0.50"]),
])
def test_filters(world, parameters, expected):
    if parameters.get("counterparty") == "BEN":
        parameters = dict(parameters, counterparty=world.ben.account)
    assert amounts(world, limit=100, **parameters) == expected
    if len(expected) > 1:  # and in pages
        _, page = ask(world, limit=1, **parameters)
        assert amounts(world, limit=100, cursor=page["cursor"], **parameters) == expected[1:]


def test_times_are_from_and_before(world):
    rows = ask(world, limit=100)[1]["transactions"]
    when = rows[3]["time"]
    same = [t["amount"] for t in rows if t["time"] == when]
    assert amounts(world, limit=100, **{"from": when}) == [t["amount"] for t in rows if t["time"] >= when]
    assert amounts(world, limit=100, to=when) == [t["amount"] for t in rows if t["time"] < when]
    assert same and not set(same) & set(amounts(world, limit=100, to=when))


def test_pages_hold_still(world):
    """What is booked between two pages comes before the first of them; the second is as it was."""
    _, first = ask(world, limit=3)
    _, second = ask(world, limit=3, cursor=first["cursor"])
    assert world.ada.pay(world.ada.sign(world.ben, 9, reference="Meanwhile"))[0] == 201
    assert ask(world, limit=3, cursor=first["cursor"])[1]["transactions"] == second["transactions"]
    assert ask(world, limit=1)[1]["transactions"][0]["reference"] == "Meanwhile"


@pytest.mark.parametrize("query, names", [
    ("limit=0", "limit"), ("limit=101", "limit"), ("limit=ten", "limit"), ("limit=5&limit=5", "limit"),
    ("limit=", "limit"), ("from=today", "from"), ("from=2026-13-01", "from"), ("to=2026-11-24T25:00:00Z", "to"),
    ("from=2026-11-24&to=2026-11-24", "from"), ("min=-1", "min"), ("min=1.001", "min"), ("min=2&max=1", "min"),
    ("max=99999999999999999999", "max"), ("max=NaN", "max"), ("direction=both", "direction"),
    ("reference=%0A", "reference"), ("reference=%C3", "reference"), ("reference=" + "x" * 141, "reference"),
    ("counterparty=" + "Z" * 35, "counterparty"), ("cursor=0", "cursor"), ("cursor=" + "0" * 40, "cursor"),
    ("offset=1", "offset"), ("limit", "limit"), ("%6cimit=1", "NAME=VALUE"), ("x" * 1100, "too long"),
])
def test_wrong_parameters_are_named(world, query, names):
    answer = world.ada.http("GET", f"/v1/accounts/{world.ada.account}/transactions?{query}")
    assert problem(answer) == (400, "parameter")
    assert names in answer[1]["detail"]


def test_cursor_belongs_to_its_question(world):
    _, page = ask(world, limit=1, direction="out")
    cursor = page["cursor"]
    assert amounts(world, limit=1, direction="out", cursor=cursor)
    assert problem(ask(world, limit=1, cursor=cursor)) == (400, "parameter")
    assert problem(ask(world, limit=1, direction="in", cursor=cursor)) == (400, "parameter")
    world.ben.log_in()
    answer = world.ben.http("GET", f"/v1/accounts/{world.ben.account}/transactions?direction=out&cursor={cursor}")
    assert problem(answer) == (400, "parameter")
