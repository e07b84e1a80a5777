"""cardwired backup: a copy made while cards pay is a bank with all that it had; one that was cut short is none."""

import random
import resource
import signal
import stat
import subprocess
import threading
import time

import pytest

from cardwire_lab import Lab, json_lines, wait_for
from small_bank import pays, small_bank

PIN = "135790"


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.folder, it.reader = lab.folder / "bank", f"inproc:{it.card}"
        for _ in range(3):
            pays(it, it.reader)
        yield it


def backup(bank, folder, **options):
    done = bank.lab.run("cardwired", "--dir", bank.folder, "backup", folder, "--json", **options)
    return done.returncode, json_lines(done.stdout)[-1]


def audit(bank, folder, *args):
    done = bank.lab.run("cardwired", "--dir", folder, "audit", *args, "--json")
    return done.returncode, json_lines(done.stdout)[-1]


def test_copy_is_the_bank(bank):
    """All of it but what is not the bank's: to the byte, with its modes; and the same head."""
    (bank.folder / "server.log").write_bytes(b"x" * 3_000_000)
    folder = bank.lab.folder / "whole"
    code, said = backup(bank, folder)
    assert code == 0, said
    assert said["folder"] == str(folder) and said["payments"] >= 3
    assert audit(bank, bank.folder, "--head", said["head"])[0] == 0
    names = {p.relative_to(bank.folder) for p in bank.folder.rglob("*") if p.suffix in (".key", ".pem", ".txt")}
    assert len(names) > 8
    assert {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()} == names | {
        (folder / "bank.db").relative_to(folder)}
    for name in names:
        assert (folder / name).read_bytes() == (bank.folder / name).read_bytes()
        assert (folder / name).stat().st_mode == (bank.folder / name).stat().st_mode
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "bank.db").stat().st_mode) == 0o600


def test_while_cards_pay(bank):
    """Each copy is of one state, and what was paid before it began is in it."""
    over = threading.Event()
    answers = []

    def pay():
        while not over.is_set():
            answers.append(bank.cardwire(bank.reader, "pay", "--to", bank.payee, "--amount", "0.01", "--currency", "EUR",
                                         "--yes"))
    thread = threading.Thread(target=pay)
    thread.start()
    try:
        for n in range(5):
            before = bank.admin("report")["payments"]
            code, said = backup(bank, bank.lab.folder / f"paying{n}")
            assert code == 0, said
            assert before <= said["payments"] <= bank.admin("report")["payments"]
    finally:
        over.set()
        thread.join()
    assert len(answers) > 1 and {code for code, _ in answers} == {0}


def test_restored(bank):
    """The card logs in at the copy, finds the same balance, and pays on."""
    folder = bank.lab.folder / "restored"
    assert backup(bank, folder)[0] == 0
    port_file = bank.lab.folder / "restored-port"
    server = bank.lab.start("cardwired", [bank.lab.program("cardwired"), "--dir", folder, "serve", "--listen",
                                          "127.0.0.1:0", "--port-file", port_file])
    port = wait_for("the bank naming its port", lambda: port_file.exists() and port_file.read_text().strip(), server)
    try:
        _, here = bank.cardwire(bank.reader, "balance")
        there = bank.cardwire(bank.reader, "balance", "--server", f"127.0.0.1:{port}")
        assert there[0] == 0 and there[1]["accounts"] == here["accounts"]
        code, said = bank.cardwire(bank.reader, "pay", "--to", bank.payee, "--amount", "1.00", "--currency", "EUR", "--yes",
                                   "--server", f"127.0.0.1:{port}")
        assert code == 0, said
        assert audit(bank, folder)[0] == 0
    finally:
        server.stop()


def test_folder_that_is_taken(bank):
    taken = bank.lab.subfolder("taken")
    (taken / "mine").write_text("mine")
    code, said = backup(bank, taken)
    assert code == 4 and "not empty" in said["detail"]
    for inside in (bank.folder / "inside", bank.folder / "mailers"):
        code, said = backup(bank, inside)
        assert code != 0 and ("inside the bank" in said["detail"] or "not empty" in said["detail"])
    (bank.folder / "inside").rmdir()
    code, said = backup(bank, bank.folder)
    assert code == 4 and "holds a bank already" in said["detail"]
    assert [p.name for p in taken.iterdir()] == ["mine"]


def test_keys_behind_links(bank):
    """The bank follows them, and so does the copy, which has the keys themselves."""
    key, elsewhere = bank.folder / "issuer.key", bank.lab.folder / "elsewhere.key"
    key.rename(elsewhere)
    key.symlink_to(elsewhere)
    folder = bank.lab.folder / "behind-links"
    try:
        assert backup(bank, folder)[0] == 0
        assert not (folder / "issuer.key").is_symlink()
        assert (folder / "issuer.key").read_bytes() == elsewhere.read_bytes()
    finally:
        key.unlink()
        elsewhere.rename(key)


def test_bank_that_could_not_serve(bank):
    key, away = bank.folder / "server-p256.key", bank.lab.folder / "away.key"
    key.rename(away)
    try:
        code, said = backup(bank, bank.lab.folder / "no-server")
        assert code != 0 and "server-p256.key" in said["detail"]
    finally:
        away.rename(key)


def test_killed_in_the_middle(bank):
    """It is a whole bank or none; and the bank itself has noticed nothing."""
    whole = 0
    chance = random.Random(4)
    for n in range(30):
        folder = bank.lab.folder / f"killed{n}"
        copying = subprocess.Popen([bank.lab.program("cardwired"), "--dir", bank.folder, "backup", folder],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=bank.lab.env)
        time.sleep(chance.uniform(0, 0.06))
        copying.kill()
        copying.wait()
        code, said = audit(bank, folder)
        if (folder / "bank.db").exists():
            assert code == 0, said
            whole += 1
        else:
            assert code != 0 and "there is no bank" in said["detail"]
    assert audit(bank, bank.folder)[0] == 0
    print(f"{whole} of 30 were whole")


def no_room():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))


def test_no_room(bank):
    """A file may not grow: what is there is no bank, and the sentence says why."""
    folder = bank.lab.folder / "no-room"
    code, said = backup(bank, folder, preexec_fn=no_room)
    assert code == 1 and str(folder) in said["detail"]
    assert not (folder / "bank.db").exists() and not (folder / "bank.db.part").exists()
    assert audit(bank, bank.folder)[0] == 0


def test_books_that_are_not_in_order(bank):
    """The copy is made all the same, and what is wrong with it is said."""
    folder = bank.lab.folder / "wrong"
    assert backup(bank, bank.lab.folder / "right")[0] == 0
    done = subprocess.run(["python3", "-c", "import sqlite3,sys; d=sqlite3.connect(sys.argv[1]);"
                           "d.execute('UPDATE account SET balance=balance+1 WHERE id=1'); d.commit()",
                           bank.lab.folder / "right" / "bank.db"], check=False)
    assert done.returncode == 0
    done = bank.lab.run("cardwired", "--dir", bank.lab.folder / "right", "backup", folder, "--json")
    assert done.returncode == 1 and "holds" in json_lines(done.stdout)[-1]["detail"]
    assert (folder / "bank.db").exists()
