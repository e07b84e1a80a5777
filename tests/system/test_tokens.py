"""The bank's signing keys apart: the root's key away from the bank, and keys in a PKCS#11 token (SoftHSM2)."""

import os
import pathlib
import subprocess

import pytest

from cardwire_lab import Lab, json_lines
from small_bank import small_bank

PIN = "135790"
TOKEN_PIN = "271828"
DRIVER = next(pathlib.Path("/usr/lib").glob("**/softhsm/libsofthsm2.so"), None)
KEYS = ("card-root", "card-issuer", "server-root")


class Token:
    """A token of SoftHSM2 in the lab's folder, with a P-256 key of each name."""

    def __init__(self, lab, label, keys=KEYS, kind="EC:prime256v1"):
        self.lab, self.label = lab, label
        folder = lab.folder / f"hsm-{label}"
        (folder / "tokens").mkdir(parents=True)
        (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
        self.env = dict(lab.env, SOFTHSM2_CONF=str(folder / "conf"))
        self.pin = lab.file(f"pin-{label}", TOKEN_PIN + "\n")
        self.pin.chmod(0o600)
        self.tool("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", TOKEN_PIN, "--so-pin", "314159")
        for n, name in enumerate(keys):
            self.make(name, n + 1, kind)

    def tool(self, *command):
        subprocess.run(command, env=self.env, capture_output=True, check=True, timeout=60, stdin=subprocess.DEVNULL)

    def make(self, name, number, kind="EC:prime256v1"):
        self.tool("pkcs11-tool", "--module", DRIVER, "--token-label", self.label, "--login", "--pin", TOKEN_PIN,
                  "--keypairgen", "--key-type", kind, "--label", name, "--id", f"{number:02x}")

    def uri(self, name, token=None, driver=DRIVER, pin=None):
        return (f"pkcs11:token={token or self.label};object={name}?module-path={driver}"
                f"&pin-source=file:{pin or self.pin}")

    def options(self, names=KEYS):
        return [word for name in names for word in ("--signing-key", f"{name}={self.uri(name)}")]


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def lab():
    with Lab() as it:
        yield it


@pytest.fixture(scope="module")
def token(lab):
    assert DRIVER, "softhsm2 is not installed; scripts/setup test installs it"
    return Token(lab, "bank")


@pytest.fixture(scope="module")
def bank(lab, token):
    """Made, served and administered with all three keys in the token."""
    return small_bank(lab, PIN, init=token.options(), environment=token.env)


def says(lab, token, *args, **options):
    done = lab.run("cardwired", *args, "--json", env=token.env, **options)
    return done.returncode, json_lines(done.stdout)[-1]


def test_bank_with_keys_in_a_token(bank, lab, token):
    folder = lab.folder / "bank"
    for name in KEYS:
        assert (folder / f"{name}.key").read_text() == token.uri(name) + "\n"
        assert (folder / f"{name}.key").stat().st_mode & 0o777 == 0o600
    for root, cert in (("card-root", "card-issuer"), ("server-root", "server-p256"), ("server-root", "server-rsa2048")):
        code, said = openssl("verify", "-x509_strict", "-CAfile", folder / f"{root}.pem", folder / f"{cert}.pem")
        assert code == 0, said
    code, said = bank.cardwire(f"inproc:{bank.card}", "pay", "--to", bank.payee, "--amount", "1.00", "--currency", "EUR",
                               "--yes")
    assert code == 0, said
    code, said = says(lab, token, "--dir", folder, "root", "roll")
    assert code == 0, said
    token.make("server-root-3", 9)
    code, said = says(lab, token, "--dir", folder, "root", "switch", "--force")
    assert code == 0, said
    code, said = says(lab, token, "--dir", folder, "root", "roll", "--signing-key",
                      f"server-root={token.uri('server-root-3')}")
    assert code == 0 and said["generation"] == 3, said
    code, said = openssl("verify", "-CAfile", folder / "server-root-3.pem", folder / "server-p256-3.pem")
    assert code == 0, said


def test_backup_says_where_the_keys_are(bank, lab, token):
    copy = lab.folder / "copy"
    code, said = says(lab, token, "--dir", lab.folder / "bank", "backup", copy)
    assert code == 0, said
    assert (copy / "card-issuer.key").read_text() == token.uri("card-issuer") + "\n"
    assert (copy / "card-issuer.pem").exists()


def test_without_the_token(bank, lab, token):
    """Lines go on and open without it; only what signs certificates wants it, and says so."""
    away = token.env["SOFTHSM2_CONF"] + ".away"
    os.rename(token.env["SOFTHSM2_CONF"], away)
    empty = lab.subfolder("hsm-empty")
    (empty / "conf").write_text(f"directories.tokendir = {empty}\n")
    os.symlink(empty / "conf", token.env["SOFTHSM2_CONF"])
    try:
        code, said = bank.cardwire(f"inproc:{bank.card}", "--full", "login")
        assert code == 0, said
        done = lab.issue(lab.folder / "bank", 1, f"inproc:{lab.folder / 'late'}", "--pin-file", bank.pin, env=token.env)
        said = json_lines(done.stdout)[-1]
        assert done.returncode == 3, said
        assert "no token as pkcs11:token=bank;object=card-issuer names it" in said["detail"], said
        assert "plugged in" in said["detail"]
    finally:
        os.unlink(token.env["SOFTHSM2_CONF"])
        os.rename(away, token.env["SOFTHSM2_CONF"])
    done = lab.issue(lab.folder / "bank", 1, f"inproc:{lab.folder / 'late'}", "--pin-file", bank.pin, env=token.env)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def others(lab):
    """What is wrong in one way each: {name: (uri, exit code, words)}"""
    t = Token(lab, "odd", ["twice", "good", "twice"])
    t.make("rsa", 7, "rsa:2048")
    t.make("one", 8)
    t.make("other", 8)  # the id of another key
    wrong = lab.file("pin-wrong", "000000\n")
    seen = lab.file("pin-seen", TOKEN_PIN + "\n")
    wrong.chmod(0o600)
    seen.chmod(0o644)
    plain = f"pkcs11:token=odd;object=good?module-path={DRIVER}"
    cases = {
        "no such token": (t.uri("good", token="absent"), 3, "no token as pkcs11:token=absent"),
        "no such key": (t.uri("absent"), 3, "the token 'odd' holds no private key as"),
        "wrong PIN": (t.uri("good", pin=wrong), 1, "does not take the PIN"),
        "no PIN": (plain, 1, "pin-source=file:FILE"),
        "PIN that others read": (t.uri("good", pin=seen), 1, "open to others than its owner"),
        "PIN that is not there": (t.uri("good", pin="/nonexistent"), 3, "/nonexistent"),
        "no such driver": (t.uri("good", driver="/nonexistent.so"), 3, "driver /nonexistent.so cannot be loaded"),
        "no driver": ("pkcs11:token=odd;object=good", 1, "module-path="),
        "no key named": (f"pkcs11:token=odd?module-path={DRIVER}", 1, "names no key"),
        "no URI": ("card-root.key", 1, "begins with pkcs11:"),
        "not well-formed": (f"pkcs11:object=%ZZ?module-path={DRIVER}", 1, "is no URI of a key"),
        "an attribute that nobody knows": (f"pkcs11:object=good;colour=red?module-path={DRIVER}", 1, "not known here"),
        "RSA": (t.uri("rsa"), 1, "P-256"),
        "two keys of one name": (t.uri("twice"), 2, "several keys"),
    }
    return t, cases


@pytest.mark.parametrize("case", ["no such token", "no such key", "wrong PIN", "no PIN", "PIN that others read",
                                  "PIN that is not there", "no such driver", "no driver", "no key named", "no URI",
                                  "not well-formed", "an attribute that nobody knows", "RSA", "two keys of one name"])
def test_token_that_does_not_serve(lab, others, case):
    """A sentence that says what is wrong, no bank, and never the PIN."""
    token, cases = others
    uri, code, words = cases[case]
    folder = lab.folder / f"bank-{case.replace(' ', '-')}"
    got, said = says(lab, token, "init", folder, "--signing-key", f"card-root={uri}")
    assert (got, words in said["detail"]) == (code, True), said
    assert TOKEN_PIN not in said["detail"] and "000000" not in said["detail"]
    assert not (folder / "bank.db").exists()


def test_halves_that_do_not_fit(lab, others):
    """Two pairs of one id: the token gives one public half for both, so that one of them does not fit."""
    token, _ = others
    answers = {}
    for name in ("one", "other"):
        folder = lab.folder / f"bank-{name}"
        answers[name] = says(lab, token, "init", folder, "--signing-key", f"card-root={token.uri(name)}")
        assert (folder / "bank.db").exists() == (answers[name][0] == 0)
    assert sorted(code for code, _ in answers.values()) == [0, 1], answers
    assert any("an id of its own" in said.get("detail", "") for _, said in answers.values()), answers


def test_pin_in_the_uri_is_shown_to_nobody(lab, others):
    token, _ = others
    uri = f"pkcs11:token=odd;object=absent?module-path={DRIVER}&pin-value={TOKEN_PIN}"
    code, said = says(lab, token, "init", lab.folder / "bank-shown", "--signing-key", f"card-root={uri}")
    assert code == 3 and TOKEN_PIN not in said["detail"], said
    uri = uri.replace("absent", "good")
    code, said = says(lab, token, "init", lab.folder / "bank-hidden", "--signing-key", f"card-root={uri}")
    assert code == 0, said


@pytest.mark.parametrize("options", [("--signing-key", "piv-root=pkcs11:object=a"), ("--signing-key", "card-root"),
                                     ("--signing-key", "card-root=a", "--signing-key", "card-root=b")])
def test_options_that_are_wrong(lab, options):
    done = lab.run("cardwired", "init", lab.folder / "never", *options)
    assert done.returncode == 2 and "--signing-key" in done.stderr
    assert not (lab.folder / "never").exists()


def test_root_is_taken_away():
    """After init nothing wants the key of the cards' root: not issuance, nor lines, payments, receipts, audit."""
    with Lab() as lab:
        bank = small_bank(lab, PIN)
        folder = lab.folder / "bank"
        (folder / "card-root.key").rename(lab.folder / "safe.key")
        second = lab.folder / "card2"
        done = lab.issue(folder, 1, f"inproc:{second}", "--pin-file", bank.pin)
        assert done.returncode == 0, done.stdout
        for reader in (f"inproc:{bank.card}", f"inproc:{second}"):
            code, said = bank.cardwire(reader, "pay", "--to", bank.payee, "--amount", "1.00", "--currency", "EUR", "--yes")
            assert code == 0, said
        receipt = lab.folder / "receipt.p7"
        code, said = bank.cardwire(f"inproc:{second}", "receipt", "--order", said["payment"]["order"], "--out", receipt)
        assert code == 0, said
        code, said = openssl("cms", "-verify", "-inform", "DER", "-in", receipt, "-CAfile", folder / "card-root.pem", "-out",
                             lab.folder / "order.txt")
        assert code == 0, said
        assert bank.admin("audit")["payments"] == 2
        # an audit does not take another CA for the bank's
        good = (folder / "card-issuer.pem").read_text()
        (folder / "card-issuer.pem").write_text((folder / "server-root.pem").read_text())
        done = lab.run("cardwired", "--dir", folder, "audit")
        assert done.returncode == 1 and "card-issuer.pem is no certificate of a CA" in done.stderr
        (folder / "card-issuer.pem").write_text(good)
