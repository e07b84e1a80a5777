"""What the programs say to bad input: one sentence that names the thing, a non-zero exit, no trace of the
inside."""

import json
import re
import socket
import sqlite3
import subprocess
import types

import pytest

from cardwire_lab import Lab, free_ports, json_lines, wait_for

PIN = "135790"


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        folder = lab.folder / "bank"
        assert lab.run("cardwired", "init", folder).returncode == 0
        assert lab.run("cardwired", "--dir", folder, "customer", "add", "--name", "Ada").returncode == 0
        pin = lab.file("pin", PIN + "\n")
        card = f"inproc:{lab.folder}/card"
        done = lab.issue(folder, 1, card, "--pin-file", pin)
        assert done.returncode == 0, done.stderr
        yield types.SimpleNamespace(lab=lab, folder=folder, card=card, pin=pin)


def sentence(done, *parts):
    """The one sentence; asserts that it is one and names the parts."""
    assert done.returncode not in (0, None) and done.returncode > 0, done
    said = done.stderr.strip()
    assert said and len(said.splitlines()) <= 2, said
    assert not re.search(r"AddressSanitizer|runtime error|Traceback|Assertion|\.c:\d+", said)
    for part in parts:
        assert str(part) in said, (part, said)
    return said


NOWHERE = {"PCSCLITE_CSOCK_NAME": "/nonexistent/pcscd.sock"}


@pytest.mark.parametrize("args, parts", [
    ([], []),
    (["dance"], ["dance"]),
    (["--reader"], []),
    (["--no-such-option", "login"], ["no-such-option"]),
    (["--reader", "floppy:1", "--server", "127.0.0.1:1", "login"], ["floppy"]),
    (["--reader", "inproc:", "--server", "127.0.0.1:1", "login"], []),
    (["--profile", "ssl3", "--server", "127.0.0.1:1", "login"], ["ssl3"]),
    (["--key", "dsa", "--server", "127.0.0.1:1", "login"], ["dsa"]),
    (["--server", "nocolon", "login"], ["nocolon"]),
    (["--server", "127.0.0.1:99999", "login"], ["99999"]),
    (["--server", "127.0.0.1:1", "--pin-file", "/nonexistent/pin", "login"], ["/nonexistent/pin"]),
    (["login"], ["--server"]),
    (["--server", "127.0.0.1:1", "pay", "--to", "X", "--amount", "1,5", "--currency", "EUR",
      "--reference", "x"], ["1,5"]),
    (["--server", "127.0.0.1:1", "pay"], ["--"]),
    (["--server", "127.0.0.1:1", "receipt", "--order", "zz", "--out", "x"], []),
])
def test_cardwire_called_wrongly(bank, args, parts):
    if "--reader" not in args:
        args = ["--reader", bank.card, *args]
    if "--pin-file" not in args:
        args = ["--pin-file", bank.pin, *args]
    sentence(bank.lab.run("cardwire", *args, env=dict(bank.lab.env, **NOWHERE)), *parts)


ISSUE = ["--dir", "BANK", "card", "issue", "--customer", "1", "--reader", "BLANK"]


@pytest.mark.parametrize("args, parts", [
    ([], []),
    (["dance"], ["dance"]),
    (["serve"], ["--dir"]),
    (["--dir", "/nonexistent/bank", "serve"], ["/nonexistent/bank"]),
    (["--dir", "/nonexistent/bank", "report"], ["/nonexistent/bank"]),
    (["init", "/proc/bank"], ["/proc/bank"]),
    (["--dir", "BANK", "init", "BANK"], ["--dir"]),
    (["init", "BANK"], ["BANK"]),
    (["--dir", "BANK", "customer", "add"], ["--name"]),
    (["--dir", "BANK", "account", "open", "--customer", "999"], ["999"]),
    (["--dir", "BANK", "account", "open", "--customer", "1", "--deposit", "-5"], ["-5"]),
    (["--dir", "BANK", "account", "open", "--customer", "1", "--currency", "XQZ"], ["XQZ"]),
    (["--dir", "BANK", "card", "block", "nothex"], ["nothex"]),
    (["--dir", "BANK", "card", "block", "0011223344556677"], ["serial"]),
    (["--dir", "BANK", "card", "issue", "--customer", "1", "--reader", "floppy:", "--pin-file", "PIN"],
     ["floppy"]),
    (["--dir", "BANK", "card", "issue", "--customer", "1", "--reader", "CARD", "--pin-file", "PIN"], []),
    (["--dir", "BANK", "serve", "--listen", "nonsense"], ["nonsense"]),
    ([*ISSUE, "--limit", "EUR"], ["--limit"]),
    ([*ISSUE, "--limit", "EUR:1.00:0.00"], ["--limit"]),
    ([*ISSUE, *["--limit", "EUR:1.00:2.00"] * 5], ["--limit", "4"]),
    ([*ISSUE, *["--payee", "ZZ00000000000000"] * 17], ["--payee", "16"]),
    ([*ISSUE, "--payee", "ZZ00000000000000"], ["ZZ00000000000000"]),
    ([*ISSUE, "--payees", "some"], ["--payees", "listed"]),
    ([*ISSUE, "--contactless", "yes"], ["--contactless", "orders"]),
    ([*ISSUE, "--sessions", "x"], ["--sessions", "ram"]),
    ([*ISSUE, "--pin-rules", "x"], ["--pin-rules", "no-repeat"]),
    ([*ISSUE, "--pin-min", "13"], ["--pin-min"]),
    ([*ISSUE, "--pin-min", "8", "--pin-max", "6"], ["4 to 12 digits"]),
    ([*ISSUE, "--pin-tries", "16"], ["--pin-tries"]),
    ([*ISSUE, "--initial-key", "/nonexistent/key"], ["/nonexistent/key"]),
    ([*ISSUE, "--root", "a", "--root", "b"], ["--root"]),
    ([*ISSUE, "--lock"], ["--lock"]),
    (["--dir", "BANK", "card", "lock", "--reader", "BLANK"], ["serial"]),
    (["--dir", "BANK", "card", "reset-pin"], ["--reader"]),
    (["--dir", "BANK", "card", "update", "--card", "nothex", "--lock"], ["nothex"]),
    (["--dir", "BANK", "card", "updates", "--card", "0011223344556677"], ["serial"]),
    (["--dir", "BANK", "payee", "add", "--card", "0011223344556677", "--account", "x"], ["--confirmed-by"]),
    (["--dir", "BANK", "payee", "list", "--card", "0011223344556677"], ["serial"]),
    (["--dir", "BANK", "root", "switch"], ["root roll"]),
])
def test_cardwired_called_wrongly(bank, args, parts):
    words = {"BANK": bank.folder, "PIN": bank.pin, "CARD": bank.card,
             "BLANK": f"inproc:{bank.lab.folder}/blank"}
    done = bank.lab.run("cardwired", *[words.get(a, a) for a in args],
                        env=dict(bank.lab.env, **NOWHERE))
    sentence(done, *[words.get(p, p) for p in parts])


@pytest.mark.parametrize("args", [[], ["--state", "/tmp"], ["--vpcd", "127.0.0.1:1"],
                                  ["--state", "/proc/x", "--vpcd", "127.0.0.1:1"],
                                  ["--state", "STATE", "--vpcd", "nowhere"],
                                  ["--state", "STATE", "--vpcd", "127.0.0.1:FREE"]])
def test_cardwire_card_called_wrongly(bank, args):
    words = {"STATE": str(bank.lab.folder / "another-card"), "127.0.0.1:FREE":
             f"127.0.0.1:{free_ports()}"}
    sentence(bank.lab.run("cardwire-card", *[words.get(a, a) for a in args]))


def test_no_daemon(bank):
    done = bank.lab.run("cardwire", "--reader", "pcsc", "--server", "127.0.0.1:1", "--pin-file",
                        bank.pin, "login", env=dict(bank.lab.env, **NOWHERE))
    said = sentence(done)
    assert "pcscd" in said or "PC/SC" in said
    assert done.returncode == 6


def test_errors_are_json_with_json(bank):
    done = bank.lab.run("cardwire", "--json", "--reader", "pcsc", "--server", "127.0.0.1:1",
                        "--pin-file", bank.pin, "login", env=dict(bank.lab.env, **NOWHERE))
    said = json.loads(done.stdout)
    assert done.returncode == 6 and said["ok"] is False and said["detail"]


def test_nobody_listens_there(bank):
    port = free_ports()
    done = bank.lab.run("cardwire", "--reader", bank.card, "--server", f"127.0.0.1:{port}",
                        "--pin-file", bank.pin, "login")
    sentence(done, port)
    assert done.returncode == 7


def test_port_is_taken(bank):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        sentence(bank.lab.run("cardwired", "--dir", bank.folder, "serve", "--listen",
                              f"127.0.0.1:{port}"), port)


def test_database_is_locked(bank):
    lock = sqlite3.connect(bank.folder / "bank.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    try:
        said = sentence(bank.lab.run("cardwired", "--dir", bank.folder, "customer", "add", "--name",
                                     "Ben"), "bank.db")
        assert "lock" in said or "busy" in said or "use" in said
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def test_database_is_newer(bank):
    db = sqlite3.connect(bank.folder / "bank.db", isolation_level=None)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute(f"PRAGMA user_version = {version + 1}")
    try:
        for args in (["serve", "--listen", "127.0.0.1:0"], ["report"], ["customer", "list"]):
            said = sentence(bank.lab.run("cardwired", "--dir", bank.folder, *args), "bank.db")
            assert "newer" in said
    finally:
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
    assert bank.lab.run("cardwired", "--dir", bank.folder, "report").returncode == 0


def test_database_is_none(bank):
    folder = bank.lab.folder / "broken"
    subprocess.run(["cp", "-r", str(bank.folder), str(folder)], check=True)
    for leftover in folder.glob("bank.db-*"):
        leftover.unlink()
    (folder / "bank.db").write_bytes(b"this is no database, whatever its name says" * 100)
    sentence(bank.lab.run("cardwired", "--dir", folder, "report"), "bank.db")


@pytest.mark.parametrize("name", ["server-p256.key", "server-p256.pem", "card-root.pem",
                                  "server-rsa2048.key"])
def test_bank_without_one_of_its_files(bank, name):
    (bank.folder / name).rename(bank.folder / "hidden")
    try:
        sentence(bank.lab.run("cardwired", "--dir", bank.folder, "serve", "--listen", "127.0.0.1:0"),
                 name)
    finally:
        (bank.folder / "hidden").rename(bank.folder / name)


def test_pin_file_that_others_can_read(bank):
    path = bank.lab.file("open-pin", PIN + "\n")
    path.chmod(0o644)
    sentence(bank.lab.run("cardwire", "--reader", bank.card, "--server", "127.0.0.1:1", "--pin-file",
                          path, "login"), path)


def test_card_memory_that_is_damaged(bank):
    folder = bank.lab.folder / "damaged"
    folder.mkdir()
    for path in (bank.lab.folder / "card").iterdir():
        (folder / path.name).write_bytes(b"\x5a" * path.stat().st_size)
    sentence(bank.lab.run("cardwire", "--reader", f"inproc:{folder}", "--server", "127.0.0.1:1",
                          "--pin-file", bank.pin, "login"))


def test_unknown_reader_through_a_daemon(bank):
    """A daemon that is there but has no such reader."""
    from cardwire_lab import LabError, Pcscd
    try:
        pcscd = Pcscd(bank.lab)
    except LabError as e:
        pytest.skip(f"no daemon here: {e}")
    env = dict(bank.lab.env, **pcscd.env)
    for reader in ("pcsc:No Such Reader", "pcsc:Virtual PCD 00 00", "pcsc:Virtual"):
        done = bank.lab.run("cardwire", "--reader", reader, "--server", "127.0.0.1:1", "--pin-file",
                            bank.pin, "login", env=env)
        sentence(done)
        assert done.returncode == 6
    said = json_lines(bank.lab.run("cardwire", "--json", "readers", env=env).stdout)[-1]
    assert not any(r["card"] for r in said["readers"])


def test_pin_is_never_taken_from_the_command_line(bank):
    """getopt takes --pin for --pin-file: what follows is the name of a file, never a PIN."""
    sentence(bank.lab.run("cardwire", "--reader", bank.card, "--pin", PIN, "--server", "127.0.0.1:1",
                          "login"), "file")


def test_stopped_bank_lets_go_of_its_port(bank):
    port_file = bank.lab.folder / "port"
    ports = []
    for _ in range(2):
        port_file.unlink(missing_ok=True)
        listen = f"127.0.0.1:{ports[0] if ports else 0}"
        process = bank.lab.start("cardwired", [
            bank.lab.program("cardwired"), "--dir", bank.folder, "serve", "--listen", listen,
            "--port-file", port_file])
        ports.append(wait_for("the bank naming its port", lambda: port_file.exists()
                              and port_file.read_text().strip(), process))
        process.terminate()
        assert process.wait(30) == 0
    assert ports[0] == ports[1]
