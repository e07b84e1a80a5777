"""The database's machine is lost while clients pay: kill -9 to PostgreSQL's primary and to all of its processes, its
standby takes over, and the clients come again with the same orders until they are told. With a synchronous standby
nothing that was acknowledged is lost; with an asynchronous one it is, by which the test is known to bite."""

import contextlib
import pathlib
import subprocess
import threading
import time
import types

import pytest

from cardwire_lab import ROOT, Lab, json_lines, wait_for
from pg_lab import Postgres
from small_bank import serve_bank, small_bank
from test_scale import balance

RETRY = ROOT / "build" / "bench" / "retry"
CLIENTS, BATCH = 3, 16
ENOUGH = 300  # acknowledgements


@contextlib.contextmanager
def pair(synchronous):
    """A primary and its standby. The standby is asked for when it is there: before, every commit would wait for it."""
    with Postgres(["fsync = off"]) as primary:
        primary.sql("CREATE DATABASE bank")
        with Postgres(copy_of=primary, name="two") as standby:
            if synchronous:
                primary.sql("ALTER SYSTEM SET synchronous_standby_names = 'two'")
                primary.sql("SELECT pg_reload_conf()")
            want = "sync" if synchronous else "async"
            wait_for("the standby", lambda: primary.sql("SELECT sync_state FROM pg_stat_replication") == want)
            yield primary, standby


class Load:
    """bench/retry: clients that are processes of their own. acknowledged(): numbers of orders."""

    def __init__(self, lab, address, clients=CLIENTS):
        self.out = lab.folder / "acknowledged"
        with open(self.out, "wb") as out:
            self.process = lab.start("retry", [RETRY, "--store", address, "--clients", clients, "--batch", BATCH],
                                     stdin=subprocess.PIPE, stdout=out, env=dict(lab.env, TMPDIR=str(lab.folder)))
        self.bank = pathlib.Path(wait_for("the bank", lambda: self.out.read_text().split("\n")[0]
                                          if "\n" in self.out.read_text() else None, self.process))

    def acknowledged(self):
        return [int(line) for line in self.out.read_text().split("\n")[1:-1]]

    def more(self, what, count=ENOUGH):
        before = len(self.acknowledged())
        wait_for(f"{count} payments more {what}", lambda: len(self.acknowledged()) >= before + count, self.process)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0, self.process.said()
        return self.acknowledged()


def cut_off(standby):
    """It hears nothing more of its primary, as when the net between them fails."""
    standby.sql("ALTER SYSTEM SET primary_conninfo = ''")
    standby.sql("SELECT pg_reload_conf()")
    wait_for("the standby being cut off", lambda: standby.sql("SELECT count(*) FROM pg_stat_wal_receiver") == "0")


def fail_over(load, primary, standby):
    primary.kill()
    standby.run("pg_ctl", "promote", "-D", standby.data, "-w")
    load.more("on the standby")


def books_are_right(lab, load, server):
    done = lab.run("cardwired", "--dir", load.bank, "audit", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    booked = [int(n) for n in server.sql("SELECT counter FROM payment", "bank").split()]
    assert len(booked) == len(set(booked)) == json_lines(done.stdout)[-1]["payments"]
    assert server.sql("SELECT count(*), sum(amount) FROM posting JOIN payment USING (journal)",
                      "bank") == f"{2 * len(booked)}|0"
    assert server.sql("SELECT sum(balance) FROM account", "bank") == "0"
    # every order was of one cent: what the payee has is their number
    assert server.sql("SELECT max(balance) FROM account WHERE customer = 2", "bank") == str(len(booked))
    return set(booked)


@pytest.mark.parametrize("cut", [False, True], ids=["killed", "cut off and killed"])
def test_nothing_is_lost(cut):
    with Lab() as lab, pair(synchronous=True) as (primary, standby):
        load = Load(lab, primary.address("bank", standby))
        load.more("before")
        if cut:  # nobody is told anything that is in one place only
            cut_off(standby)
            time.sleep(0.3)  # answers that were on their way
            before = len(load.acknowledged())
            time.sleep(1)
            assert len(load.acknowledged()) == before
        fail_over(load, primary, standby)
        acknowledged = load.end()
        booked = books_are_right(lab, load, standby)
        assert len(acknowledged) == len(set(acknowledged)) >= 2 * ENOUGH
        assert set(acknowledged) <= booked


@pytest.mark.parametrize("how", ["restarted", "cancelled"])
def test_a_repeat_is_told_nothing_that_may_be_lost(how):
    """A commit whose wait for the standby was broken off is seen by everybody, and is in one place. Who asks again with
    the same order must wait as the first did."""
    with Lab() as lab, pair(synchronous=True) as (primary, standby):
        load = Load(lab, primary.address("bank", standby), clients=1)  # more would wait for each other
        load.more("before")
        cut_off(standby)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        wait_for("a commit waiting", lambda: primary.sql(waiting) != "0")
        there = len(load.acknowledged())
        if how == "restarted":
            primary.kill()
            primary.start()
        else:
            primary.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        wait_for("a repeat waiting", lambda: primary.sql(waiting) != "0")
        time.sleep(1)
        visible = int(primary.sql("SELECT count(*) FROM payment", "bank"))
        assert visible > there == len(load.acknowledged())
        fail_over(load, primary, standby)
        acknowledged = load.end()
        assert set(acknowledged) <= books_are_right(lab, load, standby)


def test_asynchronous_replication_loses():
    """The same, and the books that are left are right in themselves: nothing in them tells what is missing."""
    with Lab() as lab, pair(synchronous=False) as (primary, standby):
        load = Load(lab, primary.address("bank", standby))
        load.more("before")
        cut_off(standby)
        load.more("of which the standby knows nothing")
        fail_over(load, primary, standby)
        acknowledged = load.end()
        lost = set(acknowledged) - books_are_right(lab, load, standby)
        print(f"lost {len(lost)} of {len(acknowledged)} acknowledged payments")
        assert len(lost) >= ENOUGH


def test_cards_pay_on():
    """The whole way: two cards, HAProxy, two servers, which nobody starts anew. A holder whose payment fails pays again."""
    with Lab() as lab, pair(synchronous=True) as (primary, standby):
        bank = small_bank(lab, "135790", store=primary.address("bank", standby))
        ben, other = bank.admin("customer", "list")["customers"][1]["id"], lab.subfolder("cards") / "card"
        assert lab.issue(bank.folder, ben, f"inproc:{other}", "--pin-file", bank.pin).returncode == 0
        _, port, ops = serve_bank(lab, bank.folder)
        balancer = balance(lab, [bank, types.SimpleNamespace(port=port, ops=ops)])
        told, failed, end = [], [], threading.Event()

        def pay_on(card, payee):
            while not end.is_set():
                code, said = bank.cardwire(f"inproc:{card}", "--server", f"127.0.0.1:{balancer}", "pay", "--to", payee,
                                           "--amount", "0.01", "--currency", "EUR", "--yes")
                (told if code == 0 else failed).append(said["payment"]["order"] if code == 0 else said)
        threads = [threading.Thread(target=pay_on, args=(bank.card, bank.payee)),
                   threading.Thread(target=pay_on, args=(other, bank.payer))]
        for thread in threads:
            thread.start()
        try:
            wait_for("payments", lambda: len(told) > 10)
            primary.kill()
            standby.run("pg_ctl", "promote", "-D", standby.data, "-w")
            before = len(told)
            wait_for("payments on the standby", lambda: len(told) > before + 10)
        finally:
            end.set()
            for thread in threads:
                thread.join()
        booked = standby.sql("SELECT encode(order_id, 'hex') FROM payment", "bank").split()
        print(f"{len(told)} told, {len(booked)} booked, {len(failed)} attempts failed")
        assert len(told) == len(set(told)) and set(told) <= set(booked)
        assert bank.admin("audit")["payments"] == len(booked)
        assert {str(f.get("booked")) for f in failed} <= {"unknown", "no", "None"}
