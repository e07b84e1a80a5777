"""The PIV application with software that nobody here wrote and that knows nothing of Cardwire: OpenSC's
tools, GnuTLS's p11tool, NSS and yubico-piv-tool, through a real PC/SC daemon. Each test takes what the card
did to a third party: OpenSSL checks the signatures."""

import re
import shutil

import pytest

from cardwire_lab import Lab
from piv_lab import ADMIN, DESKS, ID, OPENSC, PIV_PIN, PIV_PUK, piv_desk


@pytest.fixture(scope="module", params=DESKS)
def desk(request):
    """A card with four keys, made and certified through yubico-piv-tool; the card a program, or firmware."""
    with Lab() as lab:
        yield piv_desk(lab, **request.param)


def pem(text):
    return re.search("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.S).group(0).split()


def verify(desk, slot, data, signature, *options):
    desk.run("openssl", "dgst", "-sha256", *options, "-verify", desk.path(f"{slot}.pub"), "-signature",
             signature, data)


@pytest.fixture()
def text(desk):
    path = desk.path("text")
    path.write_bytes(b"what is signed\n" * 20)
    return path


# --- OpenSC -------------------------------------------------------------------------------------------

def test_opensc_knows_it(desk):
    assert "Personal Identity Verification Card" in desk.run("opensc-tool", "--name")
    assert desk.run("opensc-tool", "--serial").strip()


def test_pkcs15_tool(desk):
    said = desk.run("pkcs15-tool", "--dump")
    for what in ("PIV AUTH key", "SIGN key", "KEY MAN key", "CARD AUTH key", "PIN [PIN]", "PIN [PIV PUK]",
                 "Card Holder Unique Identifier", "Discovery Object", "Key History Object"):
        assert what in said
    for slot, certificate in desk.certificates.items():
        assert pem(desk.run("pkcs15-tool", "--read-certificate", ID[slot])) == pem(certificate.read_text())


def test_pkcs15_tool_pins(desk):
    desk.run("pkcs15-tool", "--verify-pin", "--pin", PIV_PIN)
    desk.run("pkcs15-tool", "--verify-pin", "--pin", "000000", code=None)
    desk.run("pkcs15-tool", "--verify-pin", "--pin", PIV_PIN)
    desk.run("pkcs15-tool", "--change-pin", "--auth-id", "01", "--pin", PIV_PIN, "--new-pin", "16180339")
    desk.run("pkcs15-tool", "--verify-pin", "--pin", PIV_PIN, code=None)
    desk.run("pkcs15-tool", "--unblock-pin", "--auth-id", "01", "--puk", PIV_PUK, "--new-pin", PIV_PIN)
    desk.run("pkcs15-tool", "--verify-pin", "--pin", PIV_PIN)


def test_pkcs11_tool_finds_no_errors(desk):
    said = desk.pkcs11("--test")
    assert "No errors" in said.splitlines()[-1]
    # It did something: at least the RSA keys, among them 9C, whose PIN it gave again each time.
    assert said.count("RSA-X-509: OK") >= (6 if desk.mix["9a"] == "RSA2048" else 3)
    assert "ERR" not in said


@pytest.mark.parametrize("slot", ["9a", "9c", "9e"])
def test_pkcs11_signatures(desk, slot, text):
    signature = desk.path("signature")
    if desk.mix[slot] == "ECCP256":
        desk.pkcs11("--sign", "--id", ID[slot], "-m", "ECDSA-SHA256", "--signature-format", "openssl", "-i",
                    text, "-o", signature)
        verify(desk, slot, text, signature)
        return
    desk.pkcs11("--sign", "--id", ID[slot], "-m", "SHA256-RSA-PKCS", "-i", text, "-o", signature)
    verify(desk, slot, text, signature)
    desk.pkcs11("--sign", "--id", ID[slot], "-m", "SHA256-RSA-PKCS-PSS", "-i", text, "-o", signature)
    verify(desk, slot, text, signature, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")


def test_no_signature_without_the_pin(desk, text):
    desk.pkcs11("--sign", "--id", ID["9a"], "-m", "ECDSA" if desk.mix["9a"] == "ECCP256" else "RSA-PKCS", "-i",
                text, pin=None, code=None)


def test_key_management(desk):
    if desk.mix["9d"] == "RSA2048":
        desk.run("openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", desk.path("9d.pub"), "-in",
                 "/dev/stdin", "-out", desk.path("sealed"), input="a secret", stdin=None)
        said = desk.pkcs11("--decrypt", "--id", ID["9d"], "-m", "RSA-PKCS", "-i", desk.path("sealed"))
        assert "a secret" in said
        return
    desk.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", desk.path("other.key"))
    desk.run("openssl", "pkey", "-in", desk.path("other.key"), "-pubout", "-outform", "DER", "-out",
             desk.path("other.der"))
    desk.pkcs11("--derive", "--id", ID["9d"], "-m", "ECDH1-DERIVE", "-i", desk.path("other.der"), "-o",
                desk.path("ours"))
    desk.run("openssl", "pkeyutl", "-derive", "-inkey", desk.path("other.key"), "-peerkey",
             desk.path("9d.pub"), "-out", desk.path("theirs"))
    assert len(desk.path("ours").read_bytes()) == 32
    assert desk.path("ours").read_bytes() == desk.path("theirs").read_bytes()


# --- GnuTLS, NSS ----------------------------------------------------------------------------------------

def test_p11tool(desk):
    pin = {"GNUTLS_PIN": PIV_PIN}
    said = desk.run("p11tool", "--provider", OPENSC, "--list-all-certs", "pkcs11:", env=pin)
    for slot in desk.mix:
        assert f"id=%{ID[slot]};" in said
    keys = desk.run("p11tool", "--provider", OPENSC, "--login", "--list-privkeys", "pkcs11:", env=pin)
    assert keys.count("Type: Private key") == 4
    for slot in ("9a", "9e"):
        # By the number alone: OpenSC names the two halves of a pair apart.
        url = f"pkcs11:id=%{ID[slot]};type=private"
        said = desk.run("p11tool", "--provider", OPENSC, "--login", "--test-sign", url, env=pin)
        assert "Verifying against private key parameters... ok" in said
        assert "Verifying against public key in the token... ok" in said


def test_nss(desk):
    folder = desk.path("nss")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pin = desk.path("nss.pin")
    pin.write_text(PIV_PIN + "\n")
    base = f"sql:{folder}"
    desk.run("certutil", "-N", "-d", base, "--empty-password")
    desk.run("modutil", "-dbdir", base, "-add", "card", "-libfile", OPENSC, "-force")
    said = desk.run("certutil", "-L", "-d", base, "-h", "all", "-f", pin)
    for name in ("PIV Authentication", "Digital Signature", "Key Management", "Card Authentication"):
        assert re.search(rf":Certificate for {name}\s", said), said
    keys = desk.run("certutil", "-K", "-d", base, "-h", "all", "-f", pin)
    assert len(re.findall(r"^<\s*\d+> (?:rsa|ec) ", keys, re.M)) >= 3, keys


# --- yubico-piv-tool --------------------------------------------------------------------------------------

def test_yubico_status(desk):
    desk.run("opensc-tool", "--reset")  # a PIN that is given hides how many tries are left
    said = desk.yubico("-a", "status")
    for slot, algorithm in desk.mix.items():
        assert re.search(rf"Slot {slot}:\s+Algorithm:\s+{algorithm}\s+Subject DN:\s+CN=Ada {slot}\s", said)
    assert re.search(r"PIN tries left:\s+3", said)
    assert re.search(r"CHUID:\s+3019d4e7", said)
    # It is no YubiKey and does not say that it is one.
    assert not re.search(r"(Version|Serial Number):\s+\d", said)


def test_yubico_verify_pin(desk):
    assert "Successfully verified PIN." in desk.yubico("-a", "verify-pin", "-P", PIV_PIN)
    said = desk.yubico("-a", "verify-pin", "-P", "000000", code=1)
    assert "2 tries left" in said
    desk.yubico("-a", "verify-pin", "-P", PIV_PIN)


@pytest.mark.parametrize("slot", ["9a", "9c", "9e"])
def test_yubico_test_signature(desk, slot):
    said = desk.yubico("-P", PIV_PIN, "-a", "verify-pin", "-a", "test-signature", "-s", slot, "-i",
                       desk.certificates[slot])
    assert re.search("Successful (RSA|ECDSA) verification.", said)
    # Without the PIN, only the card authentication key signs.
    desk.yubico("-a", "test-signature", "-s", slot, "-i", desk.certificates[slot],
                code=0 if slot == "9e" else 1)


def test_yubico_9c_wants_the_pin_each_time(desk):
    said = desk.yubico("-P", PIV_PIN, "-s", "9c", "-i", desk.certificates["9c"], "-a", "verify-pin", "-a",
                       "test-signature", "-a", "test-signature", code=1)
    assert len(re.findall("Successful (?:RSA|ECDSA) verification", said)) == 1


def test_yubico_test_decipher(desk):
    said = desk.yubico("-P", PIV_PIN, "-a", "verify-pin", "-a", "test-decipher", "-s", "9d", "-i",
                       desk.certificates["9d"])
    assert "Successfully performed" in said


def test_yubico_read_certificate(desk):
    for slot, certificate in desk.certificates.items():
        assert pem(desk.yubico("-a", "read-certificate", "-s", slot)) == pem(certificate.read_text())


def test_yubico_changes_numbers(desk):
    desk.yubico("-a", "change-pin", "-P", PIV_PIN, "-N", "16180339")
    desk.yubico("-a", "verify-pin", "-P", PIV_PIN, code=1)
    desk.yubico("-a", "change-pin", "-P", "16180339", "-N", PIV_PIN)
    desk.yubico("-a", "change-puk", "-P", PIV_PUK, "-N", "14142135")
    desk.yubico("-a", "unblock-pin", "-P", PIV_PUK, "-N", PIV_PIN, code=1)
    desk.yubico("-a", "unblock-pin", "-P", "14142135", "-N", PIV_PIN)
    desk.yubico("-a", "change-puk", "-P", "14142135", "-N", PIV_PUK)
    desk.yubico("-a", "verify-pin", "-P", PIV_PIN)


def test_yubico_management_key(desk):
    new = "fedcba98765432100123456789abcdeffedcba9876543210"
    desk.admin("-a", "set-mgm-key", "-n", new)
    desk.admin("-a", "set-ccc", code=1)
    desk.yubico(f"--key={new}", "-a", "set-mgm-key", "-n", ADMIN["3des"].hex())
    desk.admin("-a", "set-ccc", "-a", "set-chuid")
    assert desk.run("opensc-tool", "--serial").strip()


def test_yubico_new_key_takes_the_certificate_away(desk):
    """Whoever asks the card then gets no certificate that does not fit its key."""
    desk.admin("-a", "generate", "-s", "9e", "-A", "ECCP256", "-o", desk.path("new.pub"))
    try:
        desk.yubico("-a", "read-certificate", "-s", "9e", code=1)
        desk.yubico("-a", "test-signature", "-s", "9e", "-i", desk.certificates["9e"], code=1)
    finally:
        desk.certificates["9e"] = desk.generate("9e", desk.mix["9e"], desk.ca, "Ada 9e")
    desk.admin("-a", "delete-certificate", "-s", "9e")
    desk.yubico("-a", "read-certificate", "-s", "9e", code=1)
    desk.admin("-a", "import-certificate", "-s", "9e", "-i", desk.certificates["9e"])


def test_what_is_not_there(desk):
    """No key comes in from outside, and a blocked card is not given back by whoever blocks it."""
    desk.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", desk.path("own.key"))
    desk.admin("-a", "import-key", "-s", "9a", "-i", desk.path("own.key"), code=1)
    desk.yubico("-a", "reset", code=1)
    desk.admin("-P", PIV_PIN, "-a", "verify-pin", "-a", "pin-retries", "--pin-retries=9", "--puk-retries=9",
               code=1)
    desk.admin("-a", "generate", "-s", "82", "-A", "ECCP256", code=1)
    desk.admin("-a", "generate", "-s", "9a", "-A", "RSA1024", code=1)
    desk.admin("-a", "generate", "-s", "9a", "-A", "ECCP384", code=1)
    # The keys are those of before.
    desk.yubico("-P", PIV_PIN, "-a", "verify-pin", "-a", "test-signature", "-s", "9a", "-i",
                desk.certificates["9a"])
