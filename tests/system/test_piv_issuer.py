"""Managing the PIV application with OpenSC's piv-tool, with the administration key in each of its algorithms;
and the card on a contactless reader. Only what piv-tool 0.23 can do itself: with OpenSSL 3 it writes down no
key that a card has made, and it gives up before it answers a challenge."""

import pytest

from cardwire_lab import Ca, Lab
from piv_lab import ADMIN, ALGORITHM, ID, PIV_PIN, Desk, piv_card, piv_desk
from rawcard import LINE_AIR, PIV_AIR, policy


@pytest.fixture(scope="module", params=list(ADMIN))
def desk(request):
    with Lab() as lab:
        piv_card(lab, lab.folder / "card", Ca(lab.folder / "cards"), Ca(lab.folder / "servers"), request.param)
        it = Desk(lab, lab.folder / "card")
        it.admin_name, it.ca = request.param, Ca(lab.folder / "holders", "Holders")
        yield it


def piv_tool(desk, *args, key=None, **options):
    path = desk.path("admin.key")
    path.write_text(":".join(f"{b:02X}" for b in key or ADMIN[desk.admin_name]) + "\n")
    return desk.run("piv-tool", "--admin", f"M:9B:{ALGORITHM[desk.admin_name]:02X}", *args,
                    env={"PIV_EXT_AUTH_KEY": str(path)}, **options)


def test_administration(desk):
    certificate = desk.ca.issue("ada", extended="clientAuth")[0]
    piv_tool(desk, "--cert", "9A", "--in", certificate, code="any")  # the exit code is how much was written
    assert certificate.read_text() in desk.run("pkcs15-tool", "--read-certificate", ID["9a"])


def test_wrong_key(desk):
    key = bytes([ADMIN[desk.admin_name][0] ^ 0x10]) + ADMIN[desk.admin_name][1:]
    said = piv_tool(desk, "--cert", "9E", "--in", desk.ca.cert, key=key, code=None)
    assert "admin_mode failed" in said
    desk.run("pkcs15-tool", "--read-certificate", ID["9e"], code=None)


def test_compressed_certificate(desk):
    """As some issuers write them, to save room: the card keeps what it gets, OpenSC unpacks it."""
    certificate = desk.ca.issue("ben", extended="clientAuth")[0]
    desk.run("sh", "-c", 'openssl x509 -in "$0" -outform DER | gzip -9 >"$1"', certificate,
             desk.path("gz"))
    piv_tool(desk, "--compresscert", "9C", "--in", desk.path("gz"), code="any")
    assert certificate.read_text() in desk.run("pkcs15-tool", "--read-certificate", ID["9c"])


# --- without contact --------------------------------------------------------------------------------------

@pytest.fixture(scope="module", params=[LINE_AIR, LINE_AIR | PIV_AIR], ids=["refused", "permitted"])
def air(request):
    """A card with keys, moved from one reader to the other."""
    with Lab() as lab:
        desk = piv_desk(lab, "p256", terms=policy(request.param))
        desk.card.stop()
        desk.pcscd.process.stop()
        it = Desk(lab, desk.folder, options=["--contactless"])
        it.permitted, it.certificates = bool(request.param & PIV_AIR), desk.certificates
        yield it


def test_contactless_reads_what_is_free(air):
    assert "Personal Identity Verification Card" in air.run("opensc-tool", "--name")
    for slot, certificate in air.certificates.items():
        assert certificate.read_text() in air.run("pkcs15-tool", "--read-certificate", ID[slot])


def test_contactless_uses_9e_without_pin(air):
    air.yubico("-a", "test-signature", "-s", "9e", "-i", air.certificates["9e"])


def test_contactless_pin_is_the_issuers_decision(air):
    """The PIN would travel in clear."""
    code = 0 if air.permitted else 1
    air.yubico("-P", PIV_PIN, "-a", "verify-pin", code=code)
    air.yubico("-P", PIV_PIN, "-a", "verify-pin", "-a", "test-signature", "-s", "9a", "-i",
               air.certificates["9a"], code=code)


def test_contactless_is_not_administered(air):
    said = air.admin("-a", "set-ccc", code=1)
    assert "Failed authentication" in said
