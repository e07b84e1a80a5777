"""The bank on PostgreSQL: the tests of the ledger and of all that stands on it once more, on a real server."""

import os
import re
import sqlite3
import subprocess

import pytest

from cardwire_lab import ROOT, Lab, json_lines
from pg_lab import Postgres
from small_bank import pays, serve_bank, small_bank

PIN = "135790"

# What is about SQLite's own file, disk and locks is not among them.
PORTABLE = ["test_bank_ledger", "test_bank_limits", "test_bank_manage", "test_bank_server", "test_bank_update",
            "test_bank_issue", "test_bank_revoke", "test_bank_statement", "test_bank_card_api", "test_bank_resume", "test_bank_piv", "test_bank_sync",
            "test_bank_receipt", "test_bank_dashboard", "test_bank_work",
            "test_bank_random"]


@pytest.fixture(scope="module")
def server():
    with Postgres(["fsync = off"]) as it:
        yield it


@pytest.mark.parametrize("program", PORTABLE)
def test_unit_tests_on_it(server, program):
    done = subprocess.run([ROOT / "build" / "tests" / "unit" / program], capture_output=True, text=True, check=False,
                          errors="replace", timeout=300, cwd=ROOT,
                          env=dict(os.environ, CARDWIRE_TEST_STORE=server.address("postgres")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def bank(server):
    with Lab() as lab:
        it = small_bank(lab, PIN, store=server.database("bank"))
        it.reader = f"inproc:{it.card}"
        yield it


def audit(bank, folder=None):
    done = bank.lab.run("cardwired", "--dir", folder or bank.folder, "audit", "--json")
    return done.returncode, json_lines(done.stdout)[-1]


def test_a_card_pays(bank, server):
    assert not (bank.folder / "bank.db").exists()
    assert (bank.folder / "bank.store").stat().st_mode & 0o777 == 0o600
    for _ in range(3):
        pays(bank, bank.reader)
    assert server.sql("SELECT count(*), sum(amount) FROM payment JOIN posting USING (journal)", "bank") == "6|0"
    code, said = audit(bank)
    assert code == 0 and said["payments"] >= 3, said


def test_the_copy_is_a_file(bank):
    """A backup needs no database beside it."""
    pays(bank, bank.reader)
    copy = bank.lab.subfolder("backup") / "bank"
    done = bank.lab.run("cardwired", "--dir", bank.folder, "backup", copy, "--json")
    assert done.returncode == 0, done.stderr
    assert (copy / "bank.db").exists() and not (copy / "bank.store").exists()
    assert audit(bank)[1] == audit(bank, copy)[1]


@pytest.mark.parametrize("statement, what", [
    ("UPDATE posting SET amount = amount * 2 WHERE journal = 10", "entry 10: its hash does not fit"),
    ("DELETE FROM chain WHERE journal = (SELECT max(journal) FROM chain)", "it has no hash"),
    ("UPDATE account SET balance = balance + 100 WHERE id = 2", "holds"),
    ("UPDATE payment SET text = decode('00', 'hex') WHERE journal = 10", "entry 10: its hash does not fit"),
    ("DROP TRIGGER journal_stays ON journal", "tables, indexes and triggers are not those"),
    ("ALTER TABLE journal DISABLE TRIGGER journal_stays", "tables, indexes and triggers are not those"),
    ("CREATE OR REPLACE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NEW; END $f$",
     "tables, indexes and triggers are not those"),
])
def test_what_was_changed_is_named(bank, server, statement, what):
    """By somebody who may do everything in the database."""
    name = "changed" + re.sub("[^a-z]", "", statement.lower())[:40]
    pays(bank, bank.reader)
    server.sql(f"CREATE DATABASE {name}")
    dump = server.run("pg_dump", "-h", server.socket, "-U", "cardwire", "bank")
    done = subprocess.run([server.bin / "psql", "-h", server.socket, "-U", "cardwire", "-d", name, "-q", "-v",
                           "ON_ERROR_STOP=1"], input=dump, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = bank.lab.subfolder("changed") / "bank"
    subprocess.run(["cp", "-a", bank.folder, folder], check=True)
    (folder / "bank.store").write_text(server.address(name))
    assert audit(bank, folder)[0] == 0  # what pg_dump carried is whole
    server.sql(f"SET session_replication_role = replica; {statement}", name)
    code, said = audit(bank, folder)
    assert code == 1 and what in said["detail"], said


def test_the_tables_defend_themselves(bank, server):
    full = ("journal", "posting", "payment", "chain")
    statements = [f"DELETE FROM {table}" for table in full]
    statements += [f"TRUNCATE {table} CASCADE" for table in (*full, "admin_log", "hold", "proposal")]
    for statement in statements:
        with pytest.raises(AssertionError, match="append-only"):
            server.sql(statement, "bank")


def test_a_folder_that_others_may_read(bank):
    store = bank.folder / "bank.store"
    store.chmod(0o644)
    code, said = audit(bank)
    store.chmod(0o600)
    assert code != 0 and "bank.store" in said["detail"]


def test_no_database_there(bank):
    folder = bank.lab.subfolder("nowhere") / "bank"
    done = bank.lab.run("cardwired", "init", folder, "--store", "postgresql:///bank?host=/nowhere")
    assert done.returncode != 0 and "cannot reach the database" in done.stderr
    done = bank.lab.run("cardwired", "init", folder.with_name("b2"), "--store", "bank.db")
    assert done.returncode != 0 and "postgresql://" in done.stderr


def test_migrate(server):
    """A bank moves into a database while its server is there, which is then refused its old file."""
    with Lab() as lab:
        it = small_bank(lab, PIN)
        reader = f"inproc:{it.card}"
        receipt, again = lab.folder / "receipt.p7", lab.folder / "again.p7"
        for _ in range(2):
            pays(it, reader)
        it.admin("card", "renew", it.serial, "--reader", reader)
        done = lab.issue(it.folder, 1, f"inproc:{lab.folder / 'second'}", "--pin-file", it.pin)
        it.admin("card", "revoke", json_lines(done.stdout)[-1]["serial"], "--reason", "superseded")
        listed = it.admin("crl", lab.folder / "crl.pem")
        code, paid = it.cardwire(reader, "pay", "--to", it.payee, "--amount", "1.00", "--currency", "EUR", "--yes",
                                 "--receipt", receipt)
        for what in ("block", "unblock"):
            it.admin("card", what, it.serial)
        with sqlite3.connect(it.folder / "bank.db") as old:  # as if the holder had asked over the line
            old.execute("INSERT INTO payee_request SELECT 1, serial, 'add', 'X', 'X', 0, 'open', 0, '' FROM card LIMIT 1")
            old.commit()
            rows = {name: old.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name, in old.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()}
        assert rows["event"] == 2 and rows["payee_request"] == 1
        before = audit(it)[1]
        assert code == 0 and before["heads"] == 1, paid
        store = server.database("moved")
        done = lab.run("cardwired", "--dir", it.folder, "migrate", "--store", store, "--json")
        assert done.returncode == 0, done.stderr
        assert json_lines(done.stdout)[-1]["head"] == before["head"]
        assert audit(it)[1] == before
        assert {name: int(server.sql(f"SELECT count(*) FROM {name}", "moved")) for name in rows} == rows
        next_list = it.admin("crl", lab.folder / "crl.pem")
        assert (next_list["number"], next_list["certificates"]) == (listed["number"] + 1, listed["certificates"]) and listed["certificates"]
        assert server.sql("SELECT count(*) FROM certificate WHERE replaced IS NOT NULL", "moved") == "2"
        # the old server still has the file open: nothing is booked there any more
        code, said = it.cardwire(reader, "pay", "--to", it.payee, "--amount", "1.00", "--currency", "EUR", "--yes")
        assert code != 0, said
        with sqlite3.connect(it.folder / "bank.db") as old:
            assert old.execute("SELECT count(*) FROM payment").fetchone() == (3,)
        it.server.terminate()
        it.server.wait(30)
        _, port, _ = serve_bank(lab, it.folder)
        it.port = port
        done = lab.run("cardwire", "--json", "--reader", reader, "--server", f"127.0.0.1:{port}", "--pin-file", it.pin,
                       "pay", "--to", it.payee, "--amount", "1.00", "--currency", "EUR", "--yes")
        assert done.returncode == 0, done.stdout
        assert server.sql("SELECT count(*) FROM payment", "moved") == "4"
        # What the bank has signed is the same there.
        done = lab.run("cardwire", "--json", "--reader", reader, "--server", f"127.0.0.1:{port}", "--pin-file", it.pin,
                       "receipt", "--order", paid["payment"]["order"], "--out", again)
        assert done.returncode == 0 and again.read_bytes() == receipt.read_bytes(), done.stdout
        done = lab.run("cardwire", "receipt", "verify", again, "--root", it.folder / "card-root.pem")
        assert done.returncode == 0, done.stderr
        assert audit(it)[1]["payments"] == 4
        done = lab.run("cardwired", "--dir", it.folder, "migrate", "--store", server.database("again"))
        assert done.returncode != 0 and "in a database already" in done.stderr


def test_migrate_into_other_books(bank, server):
    with Lab() as lab:
        it = small_bank(lab, PIN)
        pays(it, f"inproc:{it.card}")
        done = lab.run("cardwired", "--dir", it.folder, "migrate", "--store", server.address("bank"))
        assert done.returncode != 0 and "holds a ledger already" in done.stderr
        assert audit(it)[0] == 0  # and goes on
        pays(it, f"inproc:{it.card}")
