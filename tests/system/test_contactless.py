"""A card on a contactless reader (ISO/IEC 14443): it logs in, and signs no order, because the order's PIN would
go over the air in clear."""

import pytest

from cardwire_lab import Lab, Pcscd, json_lines
from rawcard import OPEN, ORDER, RawCard
from small_bank import NAME, small_bank

PIN = "135790"
ATR = "3b8180018080"  # PC/SC part 3 §3.1.3.2.3: contactless, no historical bytes that tell more


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.pcscd = Pcscd(lab)
        it.cards = it.pcscd.insert(lab, [it.card], options=["--contactless"])
        yield it


def cardwire(bank, *args):
    return bank.cardwire(bank.pcscd.reader(0), *args, env=dict(bank.lab.env, **bank.pcscd.env))


def test_reader_says_that_it_is_contactless(bank):
    done = bank.lab.run("cardwire", "--json", "readers", env=dict(bank.lab.env, **bank.pcscd.env))
    readers = json_lines(done.stdout)[-1]["readers"]
    print(readers)
    assert [r["atr"].lower() for r in readers if r["card"]] == [ATR]


@pytest.mark.parametrize("profile", ["tls13", "ecdhe", "rsa"])
def test_login_without_contact(bank, profile):
    code, said = cardwire(bank, "--profile", profile, "login")
    assert code == 0, said
    assert said["session"]["card"]["serial"] == bank.serial


def test_no_order_without_contact(bank):
    before = bank.admin("report")
    code, said = cardwire(bank, "pay", "--to", bank.payee, "--amount", "1.00", "--currency", "EUR",
                          "--yes")
    print(code, said)
    assert code != 0 and said["ok"] is False
    assert "contactless" in said["detail"]
    assert bank.admin("report")["payments"] == before["payments"]
    # No try of the PIN was spent on it, and the line is there as before.
    assert cardwire(bank, "login")[0] == 0


def test_card_itself_refuses(bank):
    """Whatever the terminal says: the order's PIN is not taken, and an order not even looked at (without a PIN
    it would be 6982)."""
    bank.pcscd.process.stop()
    for process in bank.cards:
        process.stop()
    with RawCard(bank.lab, bank.card, "--contactless") as card:
        assert card.atr.hex() == ATR
        assert card.open(PIN, int(bank.port), NAME) & OPEN
        assert card.verify(PIN, 0x82) == 0x6985
        assert card.command(0x80, 0x18, 0, 0, ORDER, le=256) == (b"", 0x6985)
        assert card.session()[0x90][0] & OPEN  # the line has nothing against it
