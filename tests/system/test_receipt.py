"""Receipts of real cards, fetched over their line: cardwire receipt verify and stock openssl take them, off line, and
nothing else for them. What is changed inside the proof is in tests/unit/test_bank_receipt.c."""

import pathlib
import shutil
import subprocess

import pytest

from cardwire_lab import Lab, json_lines
from small_bank import small_bank

PIN = "135790"
KEPT = pathlib.Path(__file__).resolve().parent.parent / "receipts"


def make(lab, kind):
    it = small_bank(lab, PIN, kind=kind)
    it.folder, it.reader, it.root = lab.folder / "bank", f"inproc:{it.card}", lab.folder / "bank" / "card-root.pem"
    it.receipt = lab.folder / "receipt.p7"
    code, it.paid = it.cardwire(it.reader, "pay", "--to", it.payee, "--amount", "12.34", "--currency", "EUR",
                                "--reference", "Lunch", "--yes", "--receipt", it.receipt)
    assert code == 0, it.paid
    it.order = it.paid["payment"]["order"]
    return it


@pytest.fixture(scope="module", params=["p256", "rsa2048"])
def bank(request):
    with Lab() as lab:
        yield make(lab, request.param)


def verify(lab, receipt, root, *args):
    """(exit code, what it said in JSON)"""
    done = lab.run("cardwire", "receipt", "verify", receipt, "--root", root, "--json", *args)
    return done.returncode, json_lines(done.stdout)[-1]


def openssl(receipt, root, *args):
    return subprocess.run(["openssl", "cms", "-verify", "-inform", "DER", "-in", receipt, "-CAfile", root, *args],
                          capture_output=True, text=True, check=False, timeout=60)


def test_what_it_says(bank):
    code, said = verify(bank.lab, bank.receipt, bank.root)
    payment = bank.paid["payment"]
    assert code == 0, said
    for name in ("order", "amount", "currency", "payer", "payee", "payee_name", "reference"):
        assert said[name] == payment[name]
    assert said["entry"] == payment["id"] and said["booked"] == payment["time"]
    assert said["card"] == bank.serial and said["counter"] == 1 and said["bank"] == "Cardwire Bank"
    # The head is one that an audit of the books takes: they still are what the receipt was given for.
    audit = bank.admin("audit", "--head", said["head"])
    assert audit["heads"] >= 1
    done = bank.lab.run("cardwire", "receipt", "verify", bank.receipt, "--root", bank.root)
    assert done.returncode == 0
    assert "Paid       12.34 EUR to Ben, account " in done.stdout
    assert f"as entry {payment['id']} of the journal of Cardwire Bank" in done.stdout


def test_stock_openssl_takes_it(bank):
    done = openssl(bank.receipt, bank.root)
    assert done.returncode == 0, done.stderr
    assert "Pay: 12.34 EUR\n" in done.stdout and f"Order: {bank.order}\n" in done.stdout
    # And shows the head as a person reads it.
    shown = subprocess.run(["openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", bank.receipt, "-noout"],
                           capture_output=True, text=True, check=False, timeout=60)
    assert "CARDWIRE HEAD 1" in shown.stdout and "Bank: Cardwire Bank" in shown.stdout, shown.stdout


def test_fetched_again(bank):
    """A head that is there is used again: the same receipt, to the byte."""
    again = bank.lab.folder / "again.p7"
    code, said = bank.cardwire(bank.reader, "receipt", "--order", bank.order, "--out", again)
    assert code == 0 and said["bytes"] == len(again.read_bytes())
    assert again.read_bytes() == bank.receipt.read_bytes()


def test_changed_bytes(bank):
    """Some of them: through the whole program each is a process."""
    good, changed = bank.receipt.read_bytes(), bank.lab.folder / "changed.p7"
    for at in range(0, len(good), len(good) // 40):
        changed.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
        code, said = verify(bank.lab, changed, bank.root)
        assert code == 1 and not said["ok"], at
    for other in (b"", good[:-1], good + b"\0", good + good, b"\0" * 20000):
        changed.write_bytes(other)
        assert verify(bank.lab, changed, bank.root)[0] == 1
    assert verify(bank.lab, bank.receipt, bank.root)[0] == 0


def test_roots(bank):
    """The bank's other roots, another bank's, and what is none."""
    code, said = verify(bank.lab, bank.receipt, bank.folder / "server-root.pem")
    assert code == 1 and said["error"] == "crypto" and "not by this root" in said["detail"]
    code, said = verify(bank.lab, bank.receipt, bank.folder / "journal.pem")
    assert code == 1 and said["error"] == "crypto"
    assert bank.lab.run("cardwired", "init", bank.lab.folder / "other").returncode == 0
    code, said = verify(bank.lab, bank.receipt, bank.lab.folder / "other" / "card-root.pem")
    assert code == 1 and "not by this root" in said["detail"]
    code, said = verify(bank.lab, bank.receipt, bank.receipt)
    assert code == 1 and "card-root.pem" in said["detail"]
    code, said = verify(bank.lab, bank.receipt, bank.lab.folder / "nothing")
    assert code == 1 and said["error"] == "not-found"


def test_copy_of_the_bank_gives_it_as_well(bank):
    """A backup has the key of the journal, and the heads."""
    copy = bank.lab.subfolder("copy") / "bank"
    said = bank.admin("backup", copy)
    assert said["heads"] >= 1
    assert (copy / "journal.key").read_bytes() == (bank.folder / "journal.key").read_bytes()
    assert (copy / "journal.key").stat().st_mode & 0o777 == 0o600
    # A key that is another one's is found before it is needed.
    shutil.copy(bank.folder / "card-update.key", bank.folder / "journal.key.other")
    kept = (bank.folder / "journal.key").read_bytes()
    try:
        (bank.folder / "journal.key").write_bytes((bank.folder / "card-update.key").read_bytes())
        done = bank.lab.run("cardwired", "--dir", bank.folder, "backup", bank.lab.subfolder("bad") / "bank")
        assert done.returncode == 1 and "journal.key is not the key of journal.pem" in done.stderr
    finally:
        (bank.folder / "journal.key").write_bytes(kept)
        (bank.folder / "journal.key.other").unlink()


@pytest.mark.parametrize("args", [["receipt", "verify"], ["receipt", "verify", "x"],
                                  ["receipt", "verify", "x", "y", "--root", "z"], ["receipt", "check", "x"],
                                  ["receipt", "--order", "0" * 32, "--out", "x"]])
def test_called_wrongly(bank, args):
    assert bank.lab.run("cardwire", *args).returncode == 2


@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_kept_receipts(kind):
    """Given out long ago, as far as a new cardwire or a new OpenSSL goes: they are proof for good."""
    receipt, root = KEPT / f"{kind}.p7", KEPT / f"{kind}.pem"
    with Lab() as lab:
        code, said = verify(lab, receipt, root)
    assert code == 0, said
    assert (said["amount"], said["payee_name"], said["entry"], said["head"][:2]) == ("12.34", "Ben", 4, "6:")
    assert openssl(receipt, root, "-no_check_time").returncode == 0


@pytest.mark.parametrize("name", ["", "A\nEntry: 7", "A\u202eB", "B" * 49])
def test_name_that_no_head_can_have(name):
    """Refused when the bank is made, and not when the first receipt is asked for."""
    with Lab() as lab:
        done = lab.run("cardwired", "init", lab.folder / "bank", "--name", name)
        assert done.returncode != 0 and "the bank's name" in done.stderr and not (lab.folder / "bank").exists()
