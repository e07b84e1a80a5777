"""cardwired audit over books that real cards paid into, while they pay; what it finds in books that somebody changed,
and how it says so. Every kind of change is in tests/unit/test_bank_audit.c."""

import errno
import os
import pty
import shutil
import sqlite3
import subprocess
import threading

import pytest

from cardwire_lab import Lab, json_lines
from small_bank import make_older, pays, small_bank

PIN = "135790"


@pytest.fixture(scope="module", params=["p256", "rsa2048"])
def bank(request):
    with Lab() as lab:
        it = small_bank(lab, PIN, kind=request.param)
        it.folder, it.reader = lab.folder / "bank", f"inproc:{it.card}"
        for _ in range(3):
            pays(it, it.reader)
        yield it


def audit(bank, *args, folder=None):
    """(exit code, what it said in JSON)"""
    done = bank.lab.run("cardwired", "--dir", folder or bank.folder, "audit", *args, "--json")
    return done.returncode, json_lines(done.stdout)[-1]


@pytest.fixture
def copy(bank):
    """The bank's folder once more, to do with as one likes."""
    folder = bank.lab.subfolder("copy") / "bank"
    bank.admin("report")
    shutil.copytree(bank.folder, folder)
    return folder


def change(folder, *statements):
    """As whoever can write the file: no trigger holds him up, and all are there again afterwards."""
    with sqlite3.connect(folder / "bank.db") as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            db.execute(statement)
        for _, text in triggers:
            db.execute(text)
    db.close()


def test_in_order(bank):
    code, said = audit(bank)
    assert code == 0, said
    assert said["payments"] >= 3 and said["entries"] == said["payments"] + 9 and said["accounts"] == 3
    assert said["head"].startswith(f"{said['entries']}:")
    done = bank.lab.run("cardwired", "--dir", bank.folder, "audit")
    assert done.returncode == 0 and "everything is in order" in done.stdout and said["head"] in done.stdout
    assert done.stderr == ""  # nobody looks: no progress


def test_head_that_was_noted(bank):
    head = audit(bank)[1]["head"]
    pays(bank, bank.reader)
    code, said = audit(bank, "--head", head)
    assert code == 0 and said["head"] != head
    entry, digits = head.split(":")
    code, said = audit(bank, "--head", f"{entry}:{'0' * len(digits)}")
    assert code == 1 and f"entry {entry}" in said["detail"] and "noted" in said["detail"]
    code, said = audit(bank, "--head", f"9{head}")
    assert code == 1 and "is missing" in said["detail"]


@pytest.mark.parametrize("head", ["", "7", "7:00", "x:" + "0" * 64, "-1:" + "0" * 64])
def test_head_that_is_none(bank, head):
    code, said = audit(bank, "--head", head)
    assert code == 2 and "ENTRY:HASH" in said["detail"]


def test_while_the_bank_pays(bank):
    """One state of the books, whichever it is: never a payment half seen."""
    found = []
    over = threading.Event()

    def look():
        while not over.is_set():
            found.append(audit(bank))
    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(5):
            code, said = bank.cardwire(bank.reader, "pay", "--to", bank.payee, "--amount", "0.01", "--currency", "EUR",
                                       "--yes")
            assert code == 0, said
    finally:
        over.set()
        thread.join()
    assert len(found) > 1
    assert {code for code, _ in found} == {0}, found


@pytest.mark.parametrize("statement, what", [
    ("UPDATE posting SET amount = amount * 2 WHERE journal = 11", "entry 11: its hash does not fit"),
    ("DELETE FROM chain WHERE journal = 12", "entry 12: it has no hash"),
    ("UPDATE account SET balance = balance + 100 WHERE id = 2", "holds"),
    ("UPDATE certificate SET der = zeroblob(300)", "is not the one that was issued"),
])
def test_what_was_changed_is_named(bank, copy, statement, what):
    change(copy, statement)
    code, said = audit(bank, folder=copy)
    assert code == 1 and what in said["detail"], said


def test_chain_made_anew_does_not_sign(bank, copy):
    """Ten times the amount, balances and chain to fit: what the card signed says otherwise."""
    with sqlite3.connect(copy / "bank.db") as db:
        make_older(db, "UPDATE posting SET amount = amount * 10 WHERE journal = 10",
                   "UPDATE posting SET balance = (SELECT sum(q.amount) FROM posting q WHERE q.account = posting.account "
                   "AND q.journal <= posting.journal)",
                   "UPDATE account SET balance = (SELECT sum(amount) FROM posting WHERE account = account.id)")
    db.close()
    code, said = audit(bank, folder=copy)
    assert code == 1 and said["detail"] == "entry 3: it is not what the card's order says"


def test_lost_root(bank, copy):
    (copy / "card-root.pem").unlink()
    code, said = audit(bank, folder=copy)
    assert code != 0 and "card-root" in said["detail"]


def read_terminal(fd):
    """What comes next; nothing when the other side has closed and all of it was read."""
    try:
        return os.read(fd, 65536)
    except OSError as e:
        assert e.errno == errno.EIO
        return b""


def test_progress_for_people(bank, copy):
    """On a terminal the line with the percentage is written over; a short audit does not begin it."""
    with sqlite3.connect(copy / "bank.db") as db:
        make_older(db)  # its entries get their hashes as those of older books do
        last = db.execute("SELECT max(id) FROM journal").fetchone()[0]
        account, cash = (db.execute(f"SELECT id, balance FROM account WHERE customer IS {no} NULL ORDER BY id").fetchone()
                         for no in ("NOT", ""))
        for n in range(1, 2100):
            at = last + n
            db.execute("INSERT INTO journal VALUES (?, 0, 'deposit', 'Interest')", (at,))
            db.execute("INSERT INTO posting VALUES (?, 0, ?, -1, ?)", (at, cash[0], cash[1] - n))
            db.execute("INSERT INTO posting VALUES (?, 1, ?, 1, ?)", (at, account[0], account[1] + n))
        db.execute("UPDATE account SET balance = balance - 2099 WHERE id = ?", (cash[0],))
        db.execute("UPDATE account SET balance = balance + 2099 WHERE id = ?", (account[0],))
    db.close()
    ours, theirs = pty.openpty()
    done = subprocess.run([bank.lab.program("cardwired"), "--dir", copy, "audit"], stdout=subprocess.PIPE,
                          stderr=theirs, check=False, timeout=60, env=bank.lab.env)
    os.close(theirs)
    said = b""
    while part := read_terminal(ours):
        said += part
    os.close(ours)
    said = said.decode()
    assert done.returncode == 0 and b"in order" in done.stdout
    assert "\raudit: 1024 of" in said and "%" in said and said.endswith("\r\x1b[K")
