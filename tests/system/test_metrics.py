"""What Prometheus reads, by Prometheus's own parser: it counts what real cards did, and names nobody."""

import sqlite3

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cardwire_lab import Lab, wait_for
from small_bank import logs_in, pays, serve_bank, small_bank
from test_drain import ASK, Line
from test_ops import ask

PIN = "135790"


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.reader = f"inproc:{it.card}"
        yield it


class Metrics:
    def __init__(self, port):
        status, headers, self.text = ask(port, "/metrics")
        assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.families = {f.name: f for f in text_string_to_metric_families(self.text)}
        self.values = {}
        for family in self.families.values():
            assert family.documentation and family.type in ("counter", "gauge", "histogram"), family
            for s in family.samples:
                key = (s.name, *sorted(s.labels.items()))
                assert key not in self.values, f"{key} comes twice"
                self.values[key] = s.value

    def get(self, name, **labels):
        """0 for what has not been counted yet."""
        return self.values.get(("cardwire_" + name, *sorted(labels.items())), 0)


def test_a_bank_that_did_nothing(bank):
    server, _, ops = serve_bank(bank.lab, bank.folder)
    m = Metrics(ops)
    server.stop()
    assert m.get("build_info", version="0.1.0") == 1 and m.get("draining") == 0
    assert m.get("connections") == m.get("lines") == 0
    assert {k: v for k, v in m.values.items() if k[0].endswith(("_total", "_count", "_sum")) and v} == {}
    for key in ("p256", "rsa2048"):
        assert 89.9 < m.get("certificate_days_left", key=key) <= 90
    for name in ("commit_seconds", "batch_payments", "handshakes", "store_errors"):
        assert "cardwire_" + name in m.families


@pytest.mark.parametrize("profile", ["tls13", "ecdhe", "rsa"])
def test_handshakes(bank, profile):
    before = Metrics(bank.ops)
    logs_in(bank, bank.reader, profile)  # twice: the second goes on from the session of the first
    after = Metrics(bank.ops)
    for result in ("full", "resumed"):
        labels = {"profile": profile, "result": result}
        assert after.get("handshakes_total", **labels) == before.get("handshakes_total", **labels) + 1, result
    labels = {"method": "POST", "route": "/v1/session", "status": "200"}
    assert after.get("requests_total", **labels) == before.get("requests_total", **labels) + 2


def test_lines_that_are_up(bank):
    line = Line(bank, bank.port)
    line.say(ASK + b"\r\n")
    line.heard(b"not-logged-in")
    m = Metrics(bank.ops)
    assert m.get("lines") == m.get("connections") == 1
    line.process.stop()
    wait_for("the line going down", lambda: Metrics(bank.ops).get("connections") == 0, bank.server)
    assert Metrics(bank.ops).get("lines") == 0


def test_a_handshake_that_fails(bank):
    before = Metrics(bank.ops)
    bank.admin("card", "block", bank.serial)
    assert bank.cardwire(bank.reader, "--full", "login")[0] != 0
    bank.admin("card", "unblock", bank.serial)
    wait_for("the failure", lambda: Metrics(bank.ops).get("handshakes_total", profile="none", result="failed")
             == before.get("handshakes_total", profile="none", result="failed") + 1, bank.server)
    assert Metrics(bank.ops).get("connections") == 0


def test_payments(bank):
    before = Metrics(bank.ops)
    pays(bank, bank.reader)
    pays(bank, bank.reader)
    code, _ = bank.cardwire(bank.reader, "pay", "--to", bank.payee, "--amount", "99999.00", "--currency", "EUR", "--yes")
    assert code != 0
    after = Metrics(bank.ops)

    def more(name, **labels):
        return after.get(name, **labels) - before.get(name, **labels)
    assert more("payments_total", result="booked") == 2
    assert more("payments_total", result="funds") == 1
    assert more("commit_seconds_count") == 3 and more("batch_payments_count") == 3
    assert more("batch_payments_sum") == 3 and more("batch_payments_bucket", le="1") == 3
    assert 0 < more("commit_seconds_sum") < 60
    route = {"method": "POST", "route": "/v1/payments"}
    assert more("requests_total", status="201", **route) == 2 and more("requests_total", status="422", **route) == 1
    assert more("request_seconds_count", **route) == 3
    assert more("request_seconds_sum", **route) >= more("commit_seconds_sum")


def test_histograms_only_rise(bank):
    logs_in(bank, bank.reader, "tls13")
    m = Metrics(bank.ops)
    for name in ("request_seconds", "commit_seconds", "batch_payments"):
        series = {}
        for s in m.families["cardwire_" + name].samples:
            rest = tuple(sorted((k, v) for k, v in s.labels.items() if k != "le"))
            if s.name.endswith("_bucket"):
                series.setdefault(rest, []).append((float(s.labels["le"]), s.value))
        assert series
        for rest, buckets in series.items():
            values = [v for _, v in sorted(buckets)]
            assert values == sorted(values) and buckets[-1][0] == float("inf")
            assert m.values[("cardwire_" + name + "_count", *rest)] == values[-1]


def test_errors_of_the_books(bank):
    before = Metrics(bank.ops)
    line = Line(bank, bank.port)
    line.say(ASK + b"\r\n")
    line.heard(b"not-logged-in")
    other = sqlite3.connect(bank.folder / "bank.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        assert ask(bank.ops, "/readyz")[0] == 503
        other.execute("ROLLBACK")
        other.execute("ALTER TABLE card RENAME TO gone")  # a program that should not have: every look fails
        try:
            line.say(ASK + b"\r\n")
            line.heard(b"urn:cardwire:problem:store")
            line.process.stop()
            assert bank.cardwire(bank.reader, "--full", "login")[0] != 0
        finally:
            other.execute("ALTER TABLE gone RENAME TO card")
    finally:
        other.close()
    after = Metrics(bank.ops)
    for during in ("ready", "request", "handshake"):
        assert (after.get("store_errors_total", during=during) - before.get("store_errors_total", during=during)) == 1, during
    logs_in(bank, bank.reader, "tls13")


def test_nobody_is_named(bank):
    pays(bank, bank.reader)
    text = Metrics(bank.ops).text
    for secret in (bank.serial, bank.payer, bank.payee, PIN, "Ada", "Ben"):
        assert secret not in text
