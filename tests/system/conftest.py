"""What the system tests share: a lab, and a world of authorities with a card that trusts one of them."""

import types

import pytest

from cardwire_lab import Ca, Lab
from foreign import PROFILES
from rawcard import RawCard, personalise

NAME = "server.cardwire.test"


@pytest.fixture(scope="module")
def lab():
    with Lab() as it:
        yield it


@pytest.fixture(scope="module")
def world(lab):
    """Server and card authorities, one card with a key of each kind that knows NAME, and a certificate
    for an honest server in each profile."""
    servers = Ca(lab.folder / "server-ca", "Server Root")
    strangers = Ca(lab.folder / "strange-ca", "Strange Root")
    cards = Ca(lab.folder / "card-ca", "Card Root")
    with RawCard(lab, lab.folder / "card") as card:
        serial = personalise(card, cards, [servers.cert], {NAME: 7}, ("p256", "rsa"))
        card.reset()
        yield types.SimpleNamespace(
            lab=lab, servers=servers, strangers=strangers, cards=cards, card=card, serial=serial,
            name=NAME,
            honest={p.name: servers.issue(NAME, p.kind, p.usage) for p in PROFILES.values()})
