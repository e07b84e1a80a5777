"""Certificates of cards after they were issued: renewed, replaced with their card, revoked; and what the stock
`openssl crl` and `openssl verify` make of the bank's list."""

import base64
import json
import re
import sqlite3
import subprocess
import types

import pytest

from cardwire_lab import ROOT, Lab, json_lines, wait_for
from small_bank import serve_bank, small_bank

PIN = "135790"
TLS, ORDER = 1, 3  # slots of P-256, also the last byte of the certificate's object


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.folder, it.count = lab.folder / "bank", 0
        yield it
        assert it.server.poll() is None, it.server.tail()
        assert it.admin("report")["sound"]
        assert it.admin("audit")["certificates"] >= 2


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def try_admin(bank, *args):
    done = bank.lab.run("cardwired", "--dir", bank.folder, *args, "--json")
    return done.returncode, json_lines(done.stdout)[-1]


def reader_of(bank):
    bank.count += 1
    return f"inproc:{bank.lab.folder / f'card-{bank.count}'}"


def issue(bank, *options, terms=()):
    reader = reader_of(bank)
    done = bank.lab.issue(bank.folder, 1, reader, "--pin-file", bank.pin, *options, terms=terms)
    assert done.returncode == 0, done.stdout
    return types.SimpleNamespace(reader=reader, **json_lines(done.stdout)[-1])


def certificates(bank, card, replaced="IS NULL"):
    """{slot: PEM file} as the books have them."""
    with sqlite3.connect(f"file:{bank.folder / 'bank.db'}?mode=ro", uri=True) as db:
        rows = db.execute(f"SELECT slot, der FROM certificate WHERE card = ? AND replaced {replaced} AND kind <> 'piv'",
                          (bytes.fromhex(card.serial),)).fetchall()
    db.close()
    found = {}
    for slot, der in rows:
        bank.count += 1
        path = bank.lab.folder / f"certificate-{bank.count}.pem"
        path.write_text("-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der).decode() + "-----END CERTIFICATE-----\n")
        found[slot] = path
    return found


def logs_in(bank, card, *options):
    code, said = bank.cardwire(card.reader, "--full", *options, "login")
    return code == 0


def pays(bank, card):
    code, said = bank.cardwire(card.reader, "pay", "--to", bank.payee, "--amount", "0.01", "--currency", "EUR", "--yes")
    assert code == 0, said
    return said["payment"]["order"]


def crl(bank, name="crl.pem", *options):
    path = bank.lab.folder / name
    code, said = try_admin(bank, "crl", path, *options)
    assert code == 0, said
    return path, said


def is_good(bank, cert, path):
    """As whoever has the root, the CA's certificate and the list, and no bank."""
    code, said = openssl("verify", "-crl_check", "-CAfile", bank.folder / "card-root.pem", "-untrusted",
                         bank.folder / "card-issuer.pem", "-CRLfile", path, cert)
    assert code == 0 or "certificate revoked" in said, said
    return code == 0


def dates(path):
    return openssl("x509", "-in", path, "-noout", "-dates", "-serial")[1]


# ---- renewed ----

@pytest.mark.parametrize("key, count", [("p256", 2), ("both", 4)])
def test_renewed(bank, key, count):
    """New certificates for the same keys; what was paid with those before can be checked on."""
    card = issue(bank, "--days", "30", "--key", key, terms=("--payees", "any"))
    order = pays(bank, card)
    before = certificates(bank, card)
    code, said = try_admin(bank, "card", "renew", card.serial, "--reader", card.reader, "--days", "400")
    assert code == 0 and said["certificates"] == count, said
    now, old = certificates(bank, card), certificates(bank, card, "IS NOT NULL")
    assert set(now) == set(before) == set(old)
    for slot in now:
        assert openssl("x509", "-in", now[slot], "-noout", "-pubkey") == openssl("x509", "-in", before[slot], "-noout",
                                                                                 "-pubkey")
        assert dates(now[slot]) != dates(before[slot]) == dates(old[slot])
        assert openssl("x509", "-in", now[slot], "-noout", "-checkend", 399 * 86400)[0] == 0
        assert openssl("x509", "-in", now[slot], "-noout", "-checkend", 401 * 86400)[0] == 1
    for profile in ("tls13", "ecdhe", "rsa"):
        assert logs_in(bank, card, "--profile", profile)
    pays(bank, card)
    receipt = bank.lab.folder / "renewed.p7"
    code, said = bank.cardwire(card.reader, "receipt", "--order", order, "--out", receipt)
    assert code == 0, said
    code, said = openssl("cms", "-verify", "-inform", "DER", "-in", receipt, "-CAfile", bank.folder / "card-root.pem",
                         "-out", bank.lab.folder / "renewed.txt")
    assert code == 0, said
    assert bank.admin("audit")["ok"]
    # again, as after a cut
    assert try_admin(bank, "card", "renew", card.serial, "--reader", card.reader)[0] == 0
    assert logs_in(bank, card)


def test_not_renewed(bank):
    card, other = issue(bank), issue(bank)
    code, said = try_admin(bank, "card", "renew", other.serial, "--reader", card.reader)
    assert code == 4 and "another one" in said["detail"], said
    code, said = try_admin(bank, "card", "renew", card.serial, "--reader", reader_of(bank))
    assert code == 3, said
    bank.admin("card", "block", card.serial)
    code, said = try_admin(bank, "card", "renew", card.serial, "--reader", card.reader)
    assert code == 4 and "is blocked" in said["detail"], said
    bank.admin("card", "unblock", card.serial)
    bank.admin("card", "lock", "--reader", card.reader)
    code, said = try_admin(bank, "card", "renew", card.serial, "--reader", card.reader)
    assert code == 4 and "is locked" in said["detail"], said
    code, said = try_admin(bank, "card", "renew", other.serial, "--reader", other.reader, "--days", "9000")
    assert code == 4 and "ends before" in said["detail"], said
    assert try_admin(bank, "card", "renew", "12", "--reader", card.reader)[0] == 2
    assert logs_in(bank, other)


# ---- replaced ----

def test_replaced(bank):
    """Customer, payees, limits and kinds of keys are the old card's; the old card is no more."""
    old = issue(bank, "--key", "both", "--payee", bank.payee, terms=("--limit", "EUR:2.00:3.00"))
    pays(bank, old)
    reader = reader_of(bank)
    code, said = try_admin(bank, "card", "replace", old.serial, "--reader", reader, "--pin-file", bank.pin)
    assert code == 0 and said["replaces"] == old.serial and said["customer"] == 1 and len(said["keys"]) == 4, said
    card = types.SimpleNamespace(reader=reader, **said)
    cards = {c["serial"]: c["status"] for c in bank.admin("card", "list")["cards"]}
    assert (cards[old.serial], cards[card.serial]) == ("terminated", "active")
    assert not logs_in(bank, old)
    pays(bank, card)
    code, said = bank.cardwire(reader, "pay", "--to", bank.payee, "--amount", "2.01", "--currency", "EUR", "--yes")
    assert code == 3, said
    listed = bank.admin("payee", "list", "--card", card.serial)["payees"]
    assert [(p["account"], p["confirmed_by"]) for p in listed] == [
        (bank.payee, f"was on the list of the card {old.serial}")]
    path, _ = crl(bank)
    assert not is_good(bank, certificates(bank, old)[TLS], path) and is_good(bank, certificates(bank, card)[TLS], path)
    code, said = try_admin(bank, "card", "replace", old.serial, "--reader", reader, "--pin-file", bank.pin)
    assert code == 4 and "not blank" in said["detail"], said


def test_lost_card_is_replaced(bank):
    """Blocked when it was lost, revoked when it was found in the wrong hands, replaced by mail."""
    old = issue(bank)
    bank.admin("card", "block", old.serial)
    bank.admin("card", "revoke", old.serial, "--reason", "key-compromise")
    reader = reader_of(bank)
    code, said = try_admin(bank, "card", "replace", old.serial, "--reader", reader, "--pin-file", bank.pin,
                           "--no-activate")
    assert code == 0 and said["status"] == "personalised" and len(said["keys"]) == 2, said
    bank.admin("card", "activate", "--reader", reader)
    assert logs_in(bank, types.SimpleNamespace(reader=reader))
    assert "Key Compromise" in crl_text(bank, old)


def test_not_replaced(bank):
    code, said = try_admin(bank, "card", "replace", "0011223344556677", "--reader", reader_of(bank))
    assert code == 3, said
    card = issue(bank)
    for options in (("--payees", "any"), ("--customer", "2"), ("--payee", bank.payee)):
        code, said = try_admin(bank, "card", "replace", card.serial, "--reader", reader_of(bank), *options)
        assert code == 2 and "takes no" in said["detail"], said
    assert logs_in(bank, card)


# ---- revoked, and the list ----

def crl_text(bank, card):
    """What the list says of the card's line certificate; nothing: not on it."""
    path, _ = crl(bank)
    _, number = openssl("x509", "-in", certificates(bank, card)[TLS], "-noout", "-serial")
    _, text = openssl("crl", "-in", path, "-noout", "-text")
    found = re.search(rf"Serial Number: {number.strip().split('=')[1]}\n(.*?)(?=    Serial Number|    Signature Algorithm)",
                      text, re.S)
    return found.group(1) if found else ""


@pytest.mark.parametrize("reason, words", [("unspecified", None), ("key-compromise", "Key Compromise"),
                                           ("affiliation-changed", "Affiliation Changed"), ("superseded", "Superseded"),
                                           ("cessation", "Cessation Of Operation"),
                                           ("withdrawn", "Privilege Withdrawn")])
def test_revoked(bank, reason, words):
    card = issue(bank)
    assert crl_text(bank, card) == ""
    said = bank.admin("card", "revoke", card.serial, "--reason", reason)
    assert said["status"] == "terminated"
    text = crl_text(bank, card)
    assert "Revocation Date" in text and (words in text if words else "Reason" not in text), text
    assert not logs_in(bank, card)
    wait_for("the alert", lambda: "certificate revoked" in bank.server.said(), bank.server)
    for command in (("revoke", card.serial, "--reason", "superseded"), ("block", card.serial),
                    ("unblock", card.serial)):
        assert try_admin(bank, "card", *command)[0] == 4
    assert text == crl_text(bank, card)
    # the card itself, when it comes back
    said = bank.admin("card", "terminate", "--reader", card.reader)
    assert said["life"] == "terminated" and said["proved"]
    assert text == crl_text(bank, card)


def test_bad_reasons(bank):
    card = issue(bank)
    assert try_admin(bank, "card", "revoke", card.serial)[0] == 2
    code, said = try_admin(bank, "card", "revoke", card.serial, "--reason", "hold")
    assert code == 2 and "key-compromise" in said["detail"]
    assert try_admin(bank, "card", "revoke", "0011223344556677", "--reason", "superseded")[0] == 3
    assert logs_in(bank, card)


def test_block_is_a_hold(bank):
    card = issue(bank)
    bank.admin("card", "block", card.serial)
    assert "Certificate Hold" in crl_text(bank, card)
    bank.admin("card", "unblock", card.serial)
    assert crl_text(bank, card) == "" and logs_in(bank, card)


def test_crl_with_openssl(bank):
    """Signature, times and number; PEM and DER; a changed byte is noticed."""
    card, good = issue(bank), issue(bank)
    bank.admin("card", "revoke", card.serial, "--reason", "superseded")
    path, said = crl(bank, "one.pem", "--valid-days", "3")
    der, after = crl(bank, "one.der", "--der")
    assert after["number"] == said["number"] + 1 and after["certificates"] == said["certificates"] >= 2
    for file, form in ((path, "PEM"), (der, "DER")):
        code, text = openssl("crl", "-in", file, "-inform", form, "-noout", "-verify", "-CAfile",
                             bank.folder / "card-issuer.pem")
        assert code == 0 and "verify OK" in text, text
        code, text = openssl("crl", "-in", file, "-inform", form, "-noout", "-verify", "-CAfile",
                             bank.folder / "server-root.pem")
        assert "verify OK" not in text
    _, text = openssl("crl", "-in", path, "-noout", "-crlnumber", "-issuer", "-lastupdate", "-nextupdate", "-dateopt",
                      "iso_8601")
    assert f"crlNumber=0x{said['number']:X}" in text or f"crlNumber={said['number']:02X}" in text, text
    assert "Cardwire Bank Card CA" in text
    for name, key in (("lastUpdate", "this_update"), ("nextUpdate", "next_update")):
        assert f"{name}={said[key].replace('T', ' ')}" in text, text
    assert not is_good(bank, certificates(bank, card)[TLS], path)
    assert not is_good(bank, certificates(bank, card)[ORDER], path)
    assert is_good(bank, certificates(bank, good)[TLS], path)
    data = bytearray(der.read_bytes())
    data[-1] ^= 1
    der.write_bytes(data)
    assert "verify OK" not in openssl("crl", "-in", der, "-inform", "DER", "-noout", "-verify", "-CAfile",
                                      bank.folder / "card-issuer.pem")[1]


def test_crl_of_piv(bank):
    card = issue(bank, "--piv")
    bank.admin("card", "revoke", card.serial, "--reason", "superseded")
    path, said = crl(bank, "piv.pem", "--piv")
    assert said["certificates"] == 4
    code, text = openssl("crl", "-in", path, "-noout", "-verify", "-CAfile", bank.folder / "piv-root.pem")
    assert code == 0 and "verify OK" in text, text


def test_crl_without_its_key(bank):
    key = bank.folder / "card-issuer.key"
    key.rename(bank.folder / "away")
    try:
        code, said = try_admin(bank, "crl", bank.lab.folder / "none.pem")
        assert code == 3 and "card-issuer.key" in said["detail"], said
        assert not (bank.lab.folder / "none.pem").exists()
    finally:
        (bank.folder / "away").rename(key)
    code, said = try_admin(bank, "crl", "/nonexistent/crl.pem")
    assert code == 1 and "/nonexistent" in said["detail"]


# ---- in an open session ----

class Line:
    """A line of the card, through which the test speaks HTTP itself."""

    def __init__(self, bank, card):
        self.out = bank.lab.folder / f"line-{card.serial}"
        with open(self.out, "wb") as stdout:
            self.process = bank.lab.start("cardwire", [
                bank.lab.program("cardwire"), "--reader", card.reader, "--server", f"127.0.0.1:{bank.port}", "--pin-file",
                bank.pin, "connect"], stdin=subprocess.PIPE, stdout=stdout)
        self.seen = 0
        assert self.ask("POST", "/v1/session", {"key_agreement": "succeeded"})[0] == 200

    def ask(self, method, path, body=None):
        """(status, body)"""
        data = json.dumps(body).encode() if body is not None else b""
        self.process.stdin.write(f"{method} {path} HTTP/1.1\r\nHost: b\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        self.process.stdin.flush()
        whole = wait_for("the answer", self.answer, self.process)
        self.seen += len(whole)
        head, _, rest = whole.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(rest)

    def answer(self):
        data = self.out.read_bytes()[self.seen:]
        head, end, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return data if end and length and len(rest) == int(length.group(1)) else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)


def routes():
    """(method, path) of all that docs/api.md names."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(GET|POST) (/v1/[^ `?]+)", text, re.M)
    assert len(found) >= 14
    return found


@pytest.mark.parametrize("command", [("block",), ("revoke", "--reason", "key-compromise")])
def test_takes_effect_in_an_open_session(bank, command):
    """Whatever the next request is: each route, also what there is not, is refused; unblocked, it goes on."""
    card = issue(bank)
    with Line(bank, card) as line:
        assert line.ask("GET", "/v1/accounts")[0] == 200
        bank.admin("card", command[0], card.serial, *command[1:])
        for method, path in [*routes(), ("GET", "/v1/nothing")]:
            path = path.replace("ORDER", "11" * 16).replace("/ID", f"/{bank.payer}")
            status, body = line.ask(method, path, {} if method == "POST" else None)
            if (method, path) == ("POST", "/v1/payments"):
                # The card is looked at when the order is booked (ledger_booking.c); what is no order comes not so far.
                assert (status, body["type"]) == (400, "urn:cardwire:problem:malformed")
                continue
            assert (status, body["type"]) == (403, "urn:cardwire:problem:card-blocked"), (method, path, body)
        if command[0] == "block":
            bank.admin("card", "unblock", card.serial)
            assert line.ask("GET", "/v1/accounts")[0] == 200


# ---- a bank that an older cardwired made ----

def test_bank_of_before():
    """Its root permits no CA below it and signs cards itself: issuance, receipts, audit, renewal, CRL and OCSP go on by it."""
    with Lab() as lab:
        folder, pin, ocsp_file = lab.folder / "bank", lab.file("pin", PIN + "\n"), lab.folder / "ocsp"
        assert lab.run("cardwired", "init", folder).returncode == 0
        with sqlite3.connect(folder / "bank.db") as db:
            db.execute("DELETE FROM setting WHERE name = 'card-issuer'")
        db.close()
        for name in ("card-issuer.key", "card-issuer.pem", "card-root.pem", "journal.key", "journal.pem"):
            (folder / name).unlink()
        code, said = openssl("req", "-x509", "-new", "-key", folder / "card-root.key", "-subj", "/CN=Cardwire Bank Card Root",
                             "-days", "7000", "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext",
                             "keyUsage=critical,keyCertSign,cRLSign", "-out", folder / "card-root.pem")
        assert code == 0, said
        it = types.SimpleNamespace(lab=lab, folder=folder, pin=pin, count=0)

        def admin(*args):
            code, said = try_admin(it, *args)
            assert code == 0, said
            return said

        def cardwire(reader, *args):
            done = lab.run("cardwire", "--json", "--reader", reader, "--server", f"127.0.0.1:{port}", "--pin-file", pin, *args)
            return done.returncode, json_lines(done.stdout)[-1]
        it.admin, it.cardwire = admin, cardwire
        for name in ("Ada", "Ben"):
            it.payee = it.admin("account", "open", "--customer", it.admin("customer", "add", "--name", name)["id"],
                                "--deposit", "10.00")["account"]
        it.server, port, _ = serve_bank(lab, folder, "--ocsp", "127.0.0.1:0", "--ocsp-port-file", ocsp_file)
        card, other = issue(it, terms=("--payees", "any")), issue(it)
        assert it.admin("card", "renew", card.serial, "--reader", card.reader)["certificates"] == 2
        order, receipt, root = pays(it, card), lab.folder / "receipt.p7", folder / "card-root.pem"
        assert it.cardwire(card.reader, "receipt", "--order", order, "--out", receipt)[0] == 0
        code, said = openssl("cms", "-verify", "-inform", "DER", "-in", receipt, "-CAfile", root, "-out", lab.folder / "text")
        assert code == 0, said
        it.admin("card", "revoke", other.serial, "--reason", "superseded")
        assert it.admin("audit")["certificates"] == 6
        path, said = crl(it)
        assert said["certificates"] == 2
        for who, word in ((card, "good"), (other, "revoked")):
            cert = certificates(it, who)[TLS]
            code, said = openssl("verify", "-crl_check", "-CAfile", root, "-CRLfile", path, cert)
            assert (code == 0) == (word == "good"), said
            code, said = openssl("ocsp", "-issuer", root, "-cert", cert, "-url", f"http://127.0.0.1:{ocsp_file.read_text().strip()}/",
                                 "-CAfile", root)
            assert "verify OK" in said and f"{cert}: {word}" in said, said
        assert not (folder / "card-issuer.key").exists()
