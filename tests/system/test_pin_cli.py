"""cardwire pin: the PIN that came by post, a new one, tries, the PUK. On a card that was issued by hand, with
no bank in sight: this is between the holder and the card. Numbers are typed on a terminal, or come in files."""

import pytest

from cardwire_lab import ApduTap, Ca, Pcscd, json_lines
from rawcard import LOCKED, OWN, PERSONALISED, PUK, TERMINATED, Issuer, RawCard, personalise, policy
from typist import Typist

PIN, POST, NEW = "83159270461", "50505", "6027491"
RULES = policy(pin=(5, 12, 3, 3))  # 5 to 12 digits, neither one digit throughout nor counting


@pytest.fixture(scope="module")
def issued(lab):
    """A folder with an issued card, to be copied."""
    folder = lab.folder / "issued"
    ca = Ca(lab.folder / "card-ca", "Card Root")
    with RawCard(lab, folder) as card:
        personalise(card, ca, [ca.cert], {"bank.cardwire.test": 7}, pin=PIN, terms=RULES)
    return folder


class Card:
    def __init__(self, lab, folder):
        self.lab, self.folder = lab, folder
        self.files = 0

    def __call__(self, *args, code=0):
        """cardwire --json on this card."""
        done = self.lab.run("cardwire", "--json", "--reader", f"inproc:{self.folder}", *args,
                            start_new_session=True)  # no terminal to ask on
        print(done.stdout, done.stderr)
        assert done.returncode == code, done.stdout + done.stderr
        return json_lines(done.stdout)[-1]

    def typed(self, *args, answers):
        return Typist([self.lab.program("cardwire"), "--reader", f"inproc:{self.folder}", *args], answers,
                      env=self.lab.env)

    def file(self, digits):
        self.files += 1
        return self.lab.file(f"{self.folder.name}-{self.files}", digits + "\n")

    def change(self, old, new, **options):
        return self("pin", "change", "--pin-file", self.file(old), "--new-pin-file", self.file(new), **options)

    def unblock(self, puk, new, **options):
        return self("pin", "unblock", "--puk-file", self.file(puk), "--new-pin-file", self.file(new), **options)

    def tries(self):
        said = self("pin", "status")
        return said["pin_tries_left"], said["puk_tries_left"]

    def issuer(self, do):
        """The issuer's channel, once."""
        with RawCard(self.lab, self.folder) as card:
            card.select()
            do(Issuer(card, OWN))


@pytest.fixture
def card(lab, issued, tmp_path_factory):
    folder = lab.subfolder("card")
    for file in issued.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
        (folder / file.name).chmod(0o600)
    return Card(lab, folder)


@pytest.fixture
def posted(card):
    """The same, with a PIN that came by post."""
    card.issuer(lambda issuer: issuer.put_pin(0, POST, flags=1))
    return card


def test_status(card):
    said = card("pin", "status")
    assert said == {"ok": True, "pin_tries_left": 3, "pin_tries_max": 3, "puk_tries_left": 3,
                    "puk_tries_max": 3, "transport": False}


def test_pin_by_post_opens_nothing(posted):
    assert posted("pin", "status")["transport"] is True
    # No server is reached, and no PIN asked for: there is no terminal here, and no --pin-file.
    said = posted("--server", "127.0.0.1:1", "login", code=5)
    assert said["reason"] == "transport-pin"
    assert "cardwire pin change" in said["detail"]
    said = posted("--pin-file", posted.file(POST), "card", "payees", code=5)
    assert said["reason"] == "transport-pin"
    assert posted.tries() == (3, 3)


def test_change_typed(posted):
    done = posted.typed("pin", "change", answers=[("PIN that came by post: ", POST), ("New PIN: ", NEW),
                                                  ("New PIN, again: ", NEW)])
    print(done.shown)
    assert done.code == 0 and not done.unasked
    assert "The PIN was changed" in done.shown
    assert "5 to 12 digits, not one digit throughout, not counting up or down" in done.shown
    for digits in (POST, NEW):
        assert digits not in done.shown  # no echo
    assert posted("pin", "status")["transport"] is False
    assert posted("--pin-file", posted.file(NEW), "card", "payees")["payees"] == []
    assert posted("--pin-file", posted.file(POST), "card", "payees", code=5)["error"] == "wrong-pin"


def test_change_from_files(card):
    assert card.change(PIN, NEW) == {"ok": True, "pin": "changed"}
    assert card("--pin-file", card.file(NEW), "card", "payees")["ok"]


def test_one_pipe_for_both(card):
    """A pipe gives a line for each number."""
    done = card.lab.run("cardwire", "--json", "--reader", f"inproc:{card.folder}", "pin", "change", "--pin-file",
                        "/dev/stdin", "--new-pin-file", "/dev/stdin", input=f"{PIN}\n{NEW}\n")
    assert done.returncode == 0, done.stdout
    assert card("--pin-file", card.file(NEW), "card", "payees")["ok"]


@pytest.mark.parametrize("new, why", [("1234", "5 to 12 digits"), ("77777", "not one digit throughout"),
                                      ("456789", "not counting"), ("98765", "not counting"),
                                      ("12345678901234", "no PIN"), ("12a45", "no PIN")])
def test_new_pin_that_breaks_a_rule_costs_no_try(card, new, why):
    for old in (PIN, "00000"):  # with a wrong old one as well: the card was not asked
        said = card.change(old, new, code=5)
        assert why in said["detail"]
        assert new not in said["detail"]
        assert card.tries() == (3, 3)


def test_new_pin_that_is_the_old_one(posted):
    """What came by post was seen by others: it must not stay."""
    assert "is the old one" in posted.change(POST, POST, code=5)["detail"]
    assert posted("pin", "status")["transport"] is True


def test_two_that_differ(card):
    done = card.typed("pin", "change", answers=[("Present PIN: ", PIN), ("New PIN: ", NEW),
                                                ("New PIN, again: ", NEW[:-1] + "9")])
    assert done.code == 5
    assert "differ" in done.shown and NEW not in done.shown
    assert card.tries() == (3, 3)
    assert card("--pin-file", card.file(PIN), "card", "payees")["ok"]


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_given_up(card, key):
    done = card.typed("pin", "change", answers=[("Present PIN: ", PIN), ("New PIN: ", "604" + key)])
    assert done.code == 5 and "no PIN was given" in done.shown
    assert card.tries() == (3, 3)


def test_no_terminal(card):
    """Without one the option is named that would help."""
    assert "--new-pin-file" in card("pin", "change", "--pin-file", card.file(PIN), code=5)["detail"]
    assert "--pin-file" in card("pin", "change", code=5)["detail"]
    assert "--puk-file" in card("pin", "unblock", code=5)["detail"]
    assert card.tries() == (3, 3)


def test_wrong_then_blocked_then_unblocked(card):
    assert "2 more tries" in card.change("00000", NEW, code=5)["detail"]
    assert card.tries() == (2, 3)
    assert "1 more try" in card.change("00000", NEW, code=5)["detail"]
    said = card.change("00000", NEW, code=5)
    assert "cardwire pin unblock" in said["detail"] and said["error"] == "wrong-pin"
    assert card.tries() == (0, 3)
    # From here on nobody is asked for a PIN in vain.
    for command in (["pin", "change"], ["--server", "127.0.0.1:1", "login"], ["card", "payees"]):
        said = card(*command, code=5)
        assert said["error"] == "blocked" and "cardwire pin unblock" in said["detail"]
    assert "the PUK is wrong; 2 more tries" in card.unblock("00000000", NEW, code=5)["detail"]
    assert card.tries() == (0, 2)
    done = card.typed("pin", "unblock", answers=[("PUK: ", PUK), ("New PIN: ", NEW), ("New PIN, again: ", NEW)])
    assert done.code == 0, done.shown
    assert "unblocked" in done.shown and PUK not in done.shown and NEW not in done.shown
    assert card.tries() == (3, 3)
    assert card("--pin-file", card.file(NEW), "card", "payees")["ok"]


def test_unblock_ends_a_pin_by_post(posted):
    assert posted.unblock(PUK, NEW) == {"ok": True, "pin": "unblocked"}
    assert posted("pin", "status")["transport"] is False
    assert posted("--pin-file", posted.file(NEW), "card", "payees")["ok"]


def test_puk_blocked(card):
    for left in ("2 more tries", "1 more try", "the last try; your bank"):
        assert left in card.unblock("00000000", NEW, code=5)["detail"]
    assert card.tries() == (3, 0)
    assert "your bank" in card("pin", "unblock", code=5)["detail"]
    # The PIN still works; without it as well, nothing does.
    assert card("--pin-file", card.file(PIN), "card", "payees")["ok"]
    for _ in range(3):
        card.change("00000", NEW, code=5)
    said = card("--server", "127.0.0.1:1", "login", code=5)
    assert "PIN and PUK" in said["detail"] and "your bank" in said["detail"]


@pytest.mark.parametrize("life, name, why", [(LOCKED, "locked", "has locked this card"),
                                             (TERMINATED, "terminated", "for ever")])
def test_card_that_its_bank_took_back(card, life, name, why):
    card.issuer(lambda issuer: issuer.life(life))
    for command in (["pin", "change"], ["pin", "unblock"], ["card", "payees"],
                    ["--server", "127.0.0.1:1", "login"]):
        said = card(*command, code=6)
        assert said["reason"] == name and why in said["detail"]
    said = card("card")
    assert said["life"] == name
    assert (said["policy"] is None) == (life == TERMINATED)
    assert card("pin", "status")["pin_tries_left"] == (3 if life == LOCKED else 0)


def test_card_in_the_post(lab):
    ca = Ca(lab.folder / "post-ca", "Card Root")
    with RawCard(lab, lab.folder / "posted") as raw:
        personalise(raw, ca, [ca.cert], {"bank.cardwire.test": 7}, life=PERSONALISED)
    said = Card(lab, lab.folder / "posted")("pin", "change", code=6)
    assert said["reason"] == "personalised" and "activate" in said["detail"]


def test_what_the_card_permits_is_shown(card):
    terms = policy(flags=1 | 8 | 16, pin=(5, 8, 1, 4), limits=[("EUR", 50000, 100000, 2500, 10000),
                                                               ("JPY", 9000, 20000, 0, 0)])
    card.issuer(lambda issuer: issuer.put(0x0600, terms))
    said = card("card")
    assert said["keyset"] == 1 and said["sequence"] == 0 and said["life"] == "active"
    assert said["policy"] == {
        "contactless": "line", "payees": "listed", "sessions": "ram",
        "pin": {"min": 5, "max": 8, "rules": ["no-repeat"], "tries": 4},
        "limits": [{"currency": "EUR", "order": "500.00", "day": "1000.00", "small": "25.00",
                    "small_total": "100.00"},
                   {"currency": "JPY", "order": "9000", "day": "20000", "small": "0", "small_total": "0"}]}
    shown = card.lab.run("cardwire", "--reader", f"inproc:{card.folder}", "card").stdout
    assert "EUR 500.00 an order, 1000.00 a day; up to 25.00 without PIN, together 100.00" in shown
    assert "5 to 8 digits, not one digit throughout\n" in shown
    assert "listed" in shown and "kept while there is power" in shown


def test_payees_are_shown_to_the_holder_alone(card):
    ben = b"\x30\x1d\x81\x16DE02500105170137075030\x82\x03Ben"
    card.issuer(lambda issuer: issuer.put(0x0900, ben))
    said = card("--pin-file", card.file(PIN), "card", "payees")
    assert said["payees"] == [{"account": "DE02500105170137075030", "name": "Ben"}]
    assert card("--pin-file", card.file("00000"), "card", "payees", code=5)["error"] == "wrong-pin"


def test_over_the_air_no_pin_goes_out_in_vain(lab, card):
    """A contactless card whose policy permits no PIN there: the terminal gives none."""
    card.issuer(lambda issuer: issuer.put(0x0600, policy(flags=0)))
    pcscd = Pcscd(lab)
    tap = ApduTap(pcscd.port)
    pcscd.insert(lab, [card.folder], port=tap.port, options=["--contactless"])
    for command in (["--pin-file", card.file(PIN), "--server", "127.0.0.1:1", "login"],
                    ["pin", "change", "--pin-file", card.file(PIN), "--new-pin-file", card.file(NEW)],
                    ["pin", "unblock", "--puk-file", card.file(PUK), "--new-pin-file", card.file(NEW)]):
        done = lab.run("cardwire", "--json", "--reader", pcscd.reader(0), *command,
                       env=dict(lab.env, **pcscd.env))
        assert done.returncode == 6 and "contacts" in done.stdout, done.stdout
    sent = b"".join(data for to_card, data in tap.apdus if to_card)
    assert len(sent) > 10
    for digits in (PIN, PUK, NEW):
        assert digits.encode() not in sent
    tap.close()
