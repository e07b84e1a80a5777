"""A card that the bank itself has made a PIV card (`cardwired card issue --piv`, `card piv`), with OpenSC and ssh:
nobody here has touched it since. What it signs, and what it is certified for, OpenSSL says."""

import re
import types

import pytest

from cardwire_lab import ROOT, Lab, json_lines
from piv_lab import ID, OPENSC, Desk, bank_key
from small_bank import small_bank

PIN = "135790"
NAMES = {"9a": "PIV Authentication", "9c": "Digital Signature", "9d": "Key Management", "9e": "Card Authentication"}


def numbers(path):
    """{"PIV PIN": ..., "PIV PUK": ...} of a mailer."""
    return dict(line.rsplit(" ", 1) for line in path.read_text().splitlines()[1:])


@pytest.fixture(scope="module", params=["p256", "rsa"])
def card(request):
    with Lab() as lab:
        it = small_bank(lab, PIN, options=["--piv", "--piv-key", request.param])
        it.folder, it.kind = lab.folder / "bank", request.param
        it.mailer = it.folder / "mailers" / f"{it.serial}-piv.txt"
        it.numbers = numbers(it.mailer)
        it.desk = Desk(lab, it.card)
        it.certificates = {slot: it.desk.take_certificate(slot) for slot in ID}
        yield it


def test_pkcs11_tool_lists_it(card):
    said = card.desk.pkcs11("--list-objects", pin=card.numbers["PIV PIN"])
    for slot, name in NAMES.items():
        assert re.search(rf"Certificate Object; type = X.509 cert\n\s+label:\s+Certificate for {name}\n"
                         rf"\s+subject:\s+DN: CN={card.serial}\n(?:.*\n)*?\s+ID:\s+{ID[slot]}\n", said), said
    kind = "EC" if card.kind == "p256" else "RSA"
    assert len(re.findall(rf"Private Key Object; {kind}", said)) == 4


def test_pkcs15_tool_lists_it(card):
    said = card.desk.run("pkcs15-tool", "--list-certificates")
    assert len(re.findall(r"^X.509 Certificate \[Certificate for ", said, re.M)) == 4


def test_pkcs11_tool_finds_no_errors(card):
    assert "No errors" in card.desk.pkcs11("--test", pin=card.numbers["PIV PIN"]).splitlines()[-1]


def test_ssh_keygen_lists_it(card):
    found = card.desk.run("ssh-keygen", "-D", OPENSC)
    for slot in ("9a", "9c", "9e"):
        line = card.desk.run("ssh-keygen", "-i", "-m", "PKCS8", "-f", card.desk.path(f"{slot}.pub"))
        assert line.split()[1] in found


@pytest.mark.parametrize("slot", ["9a", "9c", "9e"])
def test_it_signs_what_its_certificate_says(card, slot):
    text, signature = card.desk.path("text"), card.desk.path("signature")
    text.write_bytes(b"what is signed\n" * 20)
    how = (["ECDSA-SHA256", "--signature-format", "openssl"] if card.kind == "p256" else ["SHA256-RSA-PKCS"])
    card.desk.pkcs11("--sign", "--id", ID[slot], "-m", *how, "-i", text, "-o", signature,
                     pin=card.numbers["PIV PIN"])
    card.desk.run("openssl", "dgst", "-sha256", "-verify", card.desk.path(f"{slot}.pub"), "-signature", signature,
                  text)


def test_what_the_docs_say(card):
    """The block in docs/piv.md, as it stands, for a card as it is issued when nothing else is said."""
    block, = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "piv.md").read_text(encoding="utf-8"), re.M | re.S)
    if card.kind == "rsa":
        block = block.replace("ECDSA-SHA256 --signature-format openssl", "SHA256-RSA-PKCS")
    here = card.desk.lab.subfolder("docs")
    (here / "mybank").symlink_to(card.folder)
    (here / "README.md").write_text("what is signed\n")
    said = card.desk.run("bash", "-c", "set -e -o pipefail\n" + block, cwd=here)
    assert "No errors" in said and "Verified OK" in said and "stdin: OK" in said
    assert len(re.findall(r"^(?:ecdsa|ssh-rsa)\S* ", said, re.M)) >= 3


@pytest.mark.parametrize("slot", list(ID))
def test_certificates(card, slot):
    pem, piv_root = card.certificates[slot], card.folder / "piv-root.pem"
    card.desk.run("openssl", "verify", "-x509_strict", "-CAfile", piv_root, pem)
    # Not by the root that receipts are checked against.
    card.desk.run("openssl", "verify", "-CAfile", card.folder / "card-root.pem", pem, code=None)
    said = card.desk.run("openssl", "x509", "-in", pem, "-noout", "-text")
    agree = "Key Agreement" if card.kind == "p256" else "Key Encipherment"
    usage, extended = {"9a": ("Digital Signature", "TLS Web Client Authentication"),
                       "9c": ("Digital Signature, Non Repudiation", "E-mail Protection"),
                       "9d": (agree, "E-mail Protection"),
                       "9e": ("Digital Signature", "2.16.840.1.101.3.6.8")}[slot]
    assert re.search(rf"Key Usage: critical\n\s+{usage}\n", said), said
    assert re.search(rf"Extended Key Usage:(?: critical| )\n\s+{extended}\n", said), said
    assert "Policies" not in said


def test_chuid(card):
    """A CHUID with an end, and a GUID that two cards do not share, which OpenSC takes for the serial number."""
    end = card.desk.run("openssl", "x509", "-in", card.certificates["9a"], "-noout", "-enddate", "-dateopt",
                        "iso_8601")
    date = re.search(r"=(\d+)-(\d+)-(\d+) ", end)
    chuid = card.desk.run("opensc-tool", "--send-apdu", "00:A4:04:00:05:A0:00:00:03:08:00", "--send-apdu",
                          "00:CB:3F:FF:05:5C:03:5F:C1:02:00")
    shown = re.sub(r"\s", "", "".join(re.findall(r"^((?:[0-9A-F]{2} )+)", chuid.rsplit("Received", 1)[1], re.M)))
    assert "3508" + "".join(date.groups()).encode().hex() in shown
    assert f"3410{card.serial[:12]}8000800000000000{card.serial[12:]}".upper() in shown


def test_mailer(card):
    """PIV's numbers are in a file of their own, and the other's lines begin as they always did."""
    assert set(card.numbers) == {"PIV PIN", "PIV PUK"}
    assert re.fullmatch(r"\d{6}", card.numbers["PIV PIN"]) and re.fullmatch(r"\d{8}", card.numbers["PIV PUK"])
    assert card.mailer.stat().st_mode & 0o777 == 0o600
    card.desk.run("pkcs15-tool", "--unblock-pin", "--auth-id", "01", "--puk", card.numbers["PIV PUK"], "--new-pin",
                  card.numbers["PIV PIN"])


def test_administration_key(card):
    """What docs/scp03.md says that it is, worked out by somebody else, and nothing else."""
    key = bank_key(card.folder, card.serial, b"PIV")
    path = card.desk.path("admin.key")
    for given, code in ((bytes([key[0] ^ 1]) + key[1:], None), (key, "any")):
        path.write_text(":".join(f"{b:02X}" for b in given) + "\n")
        # The certificate that is there already; the exit code is how much was written.
        said = card.desk.run("piv-tool", "--admin", "M:9B:08", "--cert", "9E", "--in", card.certificates["9e"],
                             code=code, env={"PIV_EXT_AUTH_KEY": str(path)})
        assert ("admin_mode failed" in said) == (code is None), said


# --- the commands -----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = types.SimpleNamespace(lab=lab, folder=lab.folder / "bank", reader=f"inproc:{lab.folder / 'card'}")
        it.run = lambda *args: lab.run("cardwired", "--dir", it.folder, *args)
        assert lab.run("cardwired", "init", it.folder).returncode == 0
        assert it.run("customer", "add", "--name", "Ada").returncode == 0
        yield it


def test_later(bank):
    done = bank.lab.issue(bank.folder, 1, bank.reader)
    said = json_lines(done.stdout)[-1]
    assert (said["piv"], said["piv_mailer"]) == (False, None)
    done = bank.run("card", "piv", "--reader", bank.reader, "--json")
    assert done.returncode == 0, done.stderr
    given = json_lines(done.stdout)[-1]
    assert given["serial"] == said["serial"] and given["status"] == "active"
    assert given["mailer"].endswith(f"{said['serial']}-piv.txt")
    done = bank.run("card", "piv", "--reader", bank.reader)
    assert done.returncode == 4 and "already" in done.stderr


def test_bad_command_lines(bank):
    other = f"inproc:{bank.lab.folder / 'other'}"
    issue = ("card", "issue", "--customer", "1", "--reader", other)
    for args in ([*issue, "--piv-key", "rsa"], [*issue, "--piv", "--piv-key", "dsa"],
                 ["card", "piv", "--reader", other, "--piv-key", "rsa4096"],
                 ["card", "piv", "--reader", other, "--piv"]):
        assert bank.run(*args).returncode == 2, args
    # A card that this bank never issued.
    assert bank.run("card", "piv", "--reader", other).returncode == 3
