"""Certificates between the server's and the root, and certificates that a laxer client would take: what the
card makes of each, with its own reason. The terminal is tests/lib/rawcard.py, so that every refusal is the
card's own."""

import pytest

from foreign import PROFILES, SERVERS
from rawcard import ERROR, OPEN, PIN, assert_no_session

YEAR = 365 * 86400


def take(world, profile, cert, key, kind="openssl", extra=None):
    """One line to a server with this certificate: the card's reason, "none" if it is open."""
    options = {"extra": extra} if extra else {}
    server = SERVERS[kind](world.lab, PROFILES[profile], cert, key, world.cards.cert, **options)
    card = world.card
    try:
        state = card.open(PIN, server.port, world.name, profile)
        reason = card.reason()
        assert bool(state & OPEN) == (reason == "none")
        if reason != "none":
            assert state & ERROR
            assert_no_session(card)
        return reason
    finally:
        card.hang_up()
        server.stop()


def leaf(world, authority, profile, **options):
    profile = PROFILES[profile]
    return authority.issue(options.pop("name", world.name), profile.kind,
                           options.pop("usage", profile.usage), **options)


# --- intermediates ----------------------------------------------------------------------------------

def chain_of(authority, count):
    for _ in range(count):
        authority = authority.intermediate()
    return authority


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("kind", SERVERS)
def test_good_chain_is_taken(world, kind, profile):
    cert, key = leaf(world, chain_of(world.servers, 1), profile)
    assert cert.read_text().count("BEGIN CERTIFICATE") == 2
    assert take(world, profile, cert, key, kind) == "none"


@pytest.mark.parametrize("profile", PROFILES)
def test_longest_chain(world, profile):
    """Three intermediates are taken, four are one too many (MBEDTLS_X509_MAX_INTERMEDIATE_CA)."""
    three = chain_of(world.servers, 3)
    assert take(world, profile, *leaf(world, three, profile)) == "none"
    assert take(world, profile, *leaf(world, chain_of(three, 1), profile)) == "untrusted"


INTERMEDIATES = {
    "good, serverAuth": ("none", {"extended": "serverAuth,clientAuth"}),
    "expired": ("expired", {"start": -YEAR, "end": -3600}),
    "no authority": ("untrusted", {"authority": False}),
    "no keyCertSign": ("untrusted", {"usage": "digitalSignature"}),
    "clientAuth": ("no-server-auth", {"extended": "clientAuth"}),
    "any usage": ("no-server-auth", {"extended": "anyExtendedKeyUsage"}),
    "name constraints": ("untrusted", {"extra": ["nameConstraints = permitted;DNS:cardwire.test"]}),
    "critical name constraints": (
        "malformed-certificate", {"extra": ["nameConstraints = critical,permitted;DNS:cardwire.test"]}),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", INTERMEDIATES)
def test_intermediate(world, profile, case):
    reason, options = INTERMEDIATES[case]
    authority = world.servers.intermediate(**options)
    assert take(world, profile, *leaf(world, authority, profile)) == reason


@pytest.mark.parametrize("profile", PROFILES)
def test_path_longer_than_an_authority_permits(world, profile):
    authority = world.servers.intermediate(authority="CA:TRUE,pathlen:0")
    assert take(world, profile, *leaf(world, authority, profile)) == "none"
    assert take(world, profile, *leaf(world, authority.intermediate(), profile)) == "untrusted"


@pytest.mark.parametrize("profile", PROFILES)
def test_leaf_of_a_leaf(world, profile):
    """Whoever has a server's certificate must not be able to issue others with its key."""
    cert, key = world.servers.issue("neighbour.cardwire.test")
    neighbour = type(world.servers)(world.lab.subfolder("neighbour"), cert=cert, key=key)
    neighbour.above = cert.read_text()
    assert take(world, profile, *leaf(world, neighbour, profile)) == "untrusted"


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("fragment", [None, 512], ids=["one-record", "small-records"])
def test_chain_too_large(world, profile, fragment):
    """More than a record of the card holds, in one record or in many."""
    bulk = ["1.2.3.4.5 = DER:04" + "82" + "0800" + "5A" * 2048]
    authority = world.servers.intermediate(extra=bulk)
    cert, key = leaf(world, authority.intermediate(extra=bulk), profile)
    extra = ["-max_send_frag", str(fragment)] if fragment else None
    assert take(world, profile, cert, key, extra=extra) == "oversize"


# --- the leaf ---------------------------------------------------------------------------------------

NAME = "server.cardwire.test"
LEAVES = {
    "another case": ("none", {"san": "DNS:SERVER.Cardwire.Test"}),
    "second name": ("none", {"san": f"DNS:first.cardwire.test,DNS:{NAME}"}),
    "any and serverAuth": ("none", {"extended": "anyExtendedKeyUsage,serverAuth"}),
    "common name only": ("wrong-name", {"san": ""}),
    "common name beside another": ("wrong-name", {"san": "DNS:other.cardwire.test"}),
    "wildcard": ("wrong-name", {"san": "DNS:*.cardwire.test"}),
    "longer": ("wrong-name", {"san": f"DNS:{NAME}.evil.test"}),
    "shorter": ("wrong-name", {"san": f"DNS:{NAME[:-1]}"}),
    "final dot": ("wrong-name", {"san": f"DNS:{NAME}."}),
    "URI": ("wrong-name", {"san": f"URI:{NAME}"}),
    "mail": ("wrong-name", {"san": f"email:{NAME}"}),
    "any usage": ("no-server-auth", {"extended": "anyExtendedKeyUsage"}),
    "no extended usage": ("no-server-auth", {"extended": ""}),
    "no usage": ("key-usage", {"usage": ""}),
    "signs certificates": ("ca-as-leaf", {"usage": "{},keyCertSign"}),
    "signs CRLs": ("ca-as-leaf", {"usage": "{},cRLSign"}),
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("case", LEAVES)
def test_leaf(world, profile, case):
    reason, options = LEAVES[case]
    options = dict(options)
    if "usage" in options:
        options["usage"] = options["usage"].format(PROFILES[profile].usage)
    assert take(world, profile, *leaf(world, world.servers, profile, **options)) == reason


@pytest.mark.parametrize("profile", PROFILES)
def test_name_cut_by_a_zero(world, profile):
    """A C string would end where the certificate's name goes on."""
    name = (NAME + "\0.evil.test").encode()
    value = bytes([0x30, len(name) + 2, 0x82, len(name)]) + name
    cert, key = leaf(world, world.servers, profile, san="DER:" + value.hex().upper())
    assert take(world, profile, cert, key) == "wrong-name"
