"""The server's certificates are renewed by themselves: when it starts, and while it runs, without a line being dropped;
cards log in as before."""

import signal
import subprocess
import time

import pytest

from cardwire_lab import Ca, Lab, LabError, wait_for
from small_bank import logs_in, small_bank

PIN = "135790"
DAY = 86400
FILES = {"tls13": "server-p256", "ecdhe": "server-p256", "rsa": "server-rsa2048"}
USAGE = {"server-p256": "digitalSignature", "server-rsa2048": "keyEncipherment"}


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.folder, it.reader = lab.folder / "bank", f"inproc:{it.card}"
        it.root = Ca(lab.subfolder("root"), cert=it.folder / "server-root.pem", key=it.folder / "server-root.key")
        yield it


def old(bank, stem, days):
    """The certificate as it would be `days` before its end, of 90."""
    cert, _ = bank.root.issue("bank.cardwire.test", key=bank.folder / f"{stem}.key", usage=USAGE[stem],
                              start=-(90 - days) * DAY, end=days * DAY)
    (bank.folder / f"{stem}.pem").write_text(cert.read_text())


def days_left(bank, stem):
    said = subprocess.run(["openssl", "x509", "-in", bank.folder / f"{stem}.pem", "-noout", "-enddate", "-dateopt",
                           "iso_8601"], capture_output=True, text=True, check=True).stdout
    end = time.mktime(time.strptime(said.strip(), "notAfter=%Y-%m-%d %H:%M:%SZ")) - time.timezone
    return round((end - time.time()) / DAY)


def hang_up(bank, word):
    """SIGHUP, and what the server then says."""
    before = bank.server.said().count(word)
    bank.server.send_signal(signal.SIGHUP)
    wait_for(f"the server saying '{word}'", lambda: bank.server.said().count(word) > before, bank.server)


def test_nothing_is_due(bank):
    before = [(bank.folder / f"{stem}.pem").read_bytes() for stem in USAGE]
    hang_up(bank, "reload by=SIGHUP")
    logs_in(bank, bank.reader, "tls13")
    assert [(bank.folder / f"{stem}.pem").read_bytes() for stem in USAGE] == before


@pytest.mark.parametrize("profile", FILES)
def test_renewed_while_a_line_is_up(bank, profile):
    stem = FILES[profile]
    old(bank, stem, 20)
    out, said = bank.lab.folder / f"out-{profile}", bank.server.said()
    with open(out, "wb") as stdout:
        line = bank.lab.start("cardwire", [
            bank.lab.program("cardwire"), "--reader", bank.reader, "--server", f"127.0.0.1:{bank.port}", "--pin-file",
            bank.pin, "--profile", profile, "connect"], stdin=subprocess.PIPE, stdout=stdout)
    line.stdin.write(b"GET /v1/session HTTP/1.1\r\nHost: b\r\n")  # the rest comes when it is renewed
    line.stdin.flush()
    wait_for("the line", lambda: profile in bank.server.said()[len(said):], line)
    hang_up(bank, "renewed certificates=1")
    line.stdin.write(b"\r\n")
    line.stdin.flush()
    wait_for("the answer over the line that was up", lambda: b"not-logged-in" in out.read_bytes(), line)
    line.stdin.close()
    line.wait(30)
    assert days_left(bank, stem) == 90
    logs_in(bank, bank.reader, profile)


@pytest.mark.parametrize("days", [20, -3])
def test_renewed_at_the_start(bank, days):
    """Also when they have ended: the server was off."""
    for stem in USAGE:
        old(bank, stem, days)
    port_file = bank.lab.folder / f"port{days}"
    server = bank.lab.start("cardwired", [bank.lab.program("cardwired"), "--dir", bank.folder, "serve", "--listen",
                                          "127.0.0.1:0", "--port-file", port_file])
    wait_for("the bank naming its port", lambda: port_file.exists() and port_file.read_text().strip(), server)
    server.stop()
    assert [days_left(bank, stem) for stem in USAGE] == [90, 90]
    hang_up(bank, "reload by=SIGHUP")
    logs_in(bank, bank.reader, "rsa")


def test_files_that_do_not_fit(bank):
    """A certificate without its key, as between the two moves of an operator: every profile is served as before."""
    pem = bank.folder / "server-p256.pem"
    good = pem.read_text()
    cert, _ = bank.root.issue("bank.cardwire.test")  # of another key
    pem.write_text(cert.read_text())
    try:
        hang_up(bank, "is not the key of server-p256.pem")
        for profile in FILES:
            logs_in(bank, bank.reader, profile)
    finally:
        pem.write_text(good)
    hang_up(bank, "reload by=SIGHUP")
    logs_in(bank, bank.reader, "tls13")


def test_root_is_kept_elsewhere(bank):
    """The running server says so and goes on; one that starts with certificates that have ended cannot."""
    key = bank.folder / "server-root.key"
    for stem in USAGE:
        old(bank, stem, 20)
    key.rename(bank.folder / "away")
    try:
        hang_up(bank, "not-renewed")
        logs_in(bank, bank.reader, "ecdhe")
        for stem in USAGE:
            bank.root.key = bank.folder / "away"
            old(bank, stem, -1)
        port_file = bank.lab.folder / "port-none"
        with pytest.raises(LabError, match="(?s)not-renewed.*has expired"):
            server = bank.lab.start("cardwired", [bank.lab.program("cardwired"), "--dir", bank.folder, "serve", "--listen",
                                                  "127.0.0.1:0", "--port-file", port_file])
            wait_for("the bank naming its port", port_file.exists, server)
    finally:
        (bank.folder / "away").rename(key)
        bank.root.key = key
    hang_up(bank, "renewed certificates=2")
    logs_in(bank, bank.reader, "tls13")
