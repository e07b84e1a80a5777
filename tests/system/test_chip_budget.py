"""What the firmware needs of its chip (bench/chip, in QEMU): 128 KB of flash, 32 KB of RAM. Counted, not timed."""

import os
import pathlib
import struct
import subprocess
import types

import pytest

from cardwire_lab import ROOT, Ca, json_lines
from chip_lab import BOARDS, ChipCard, ChipReader, chip, stats
from foreign import PROFILES, s_server
from rawcard import PIN, personalise, tlv

BENCH = pathlib.Path(os.environ.get("CARDWIRE_PROGRAMS") or ROOT / "build" / "bin").parent / "bench"
FLASH, RAM = 131072, 32768
TICK = {"an385": 40, "an505": 50}  # instructions, of 1 ns each (--icount 0)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=BOARDS)
def uses(lab, request):
    board = request.param
    device = lab.folder / f"line-{board}"
    process = chip(lab, lab.subfolder(f"budget-{board}"), device, "--icount", "0", board=board)
    done = subprocess.run([str(BENCH / "chip"), f"t1:{device}"], capture_output=True, text=True, check=False,
                          timeout=600)
    process.stop()
    rows = json_lines(done.stdout)
    print(done.stdout, done.stderr)
    assert len(rows) == 3 * 2 * 2, done.stderr  # each profile and key, full and resumed
    for row in rows:
        row["instructions"] = row["ticks"] * TICK[board]
    if os.environ.get("CARDWIRE_BUDGET"):  # ./test prints it
        first = ", ".join(f"{r['profile']} {r['key']} {r['instructions'] / 1e6:.0f}" for r in rows
                          if r["login"] == "full")
        with open(os.environ["CARDWIRE_BUDGET"], "a", encoding="ascii") as f:
            f.write(f"firmware {board}: flash {rows[0]['flash']} of {FLASH}, RAM {max(r['ram'] for r in rows)} of {RAM}; "
                    f"million instructions of a first login: {first}\n")
    return rows


def test_flash(uses):
    assert all(0 < u["flash"] <= FLASH for u in uses)


def test_ram(uses):
    """Static, deepest heap and deepest stack together."""
    assert all(0 < u["ram"] <= RAM for u in uses)


def test_instructions(uses):
    """RSA and P-256 are what a login costs; a resumed one without ECDHE has neither."""
    cost = {(u["profile"], u["key"], u["login"]): u["instructions"] for u in uses}
    assert all(v > 100_000 for v in cost.values())
    for profile in ("ecdhe", "rsa"):
        assert cost[profile, "p256", "resumed"] < cost[profile, "p256", "full"] / 20


# --- the largest that a card holds, and that a server may send ----------------------------------------

NAME = "server.cardwire.test"
HEAP = 0x8A  # of INFO


@pytest.fixture(scope="module", params=BOARDS)
def full(lab, request):
    """A chip with two keys and the two largest roots: RSA-2048, nearly 1,000 bytes, both of one name, as a CA has them
    while it changes its key."""
    cards = Ca(lab.subfolder("cards"), "Card Root")
    roots = [Ca(lab.subfolder("root"), f"/O={'o' * 60}/CN=Root {'x' * 45}", kind="rsa") for _ in range(2)]
    assert all(950 < len(r.der(r.cert)) <= 1000 for r in roots)
    with ChipReader(lab, request.param) as reader:
        card = ChipCard(reader)
        card.at_most = 0
        personalise(card, cards, [r.cert for r in roots], {NAME: 7}, ("p256", "rsa"))
        yield types.SimpleNamespace(lab=lab, card=card, reader=reader, cards=cards, roots=roots)
        if os.environ.get("CARDWIRE_BUDGET"):
            with open(os.environ["CARDWIRE_BUDGET"], "a", encoding="ascii") as f:
                f.write(f"firmware {request.param}, two large roots: RAM {card.at_most} of {RAM}\n")


def login(full, authority, profile, kind, key):
    """One handshake: the card's reason and the RAM that the chip took."""
    profile = PROFILES[profile]
    usage = profile.usage if profile.name == "rsa" else "digitalSignature"
    cert, server_key = authority.issue(NAME, kind, usage)
    server = s_server(full.lab, profile, cert, server_key, full.cards.cert)
    try:
        full.card.reset()
        full.card.open(PIN, server.port, NAME, profile.name, key)
        reason = full.card.reason()
        now = stats(full.reader.transceive)
        heap, pool = struct.unpack(">II", tlv(full.card.info(0))[HEAP])
        ram = now.static - pool + heap + now.stack
        full.card.at_most = max(full.card.at_most, ram)
        return reason, ram
    finally:
        server.stop()


def chain(authority, *kinds):
    for kind in kinds:
        authority = authority.intermediate(kind=kind)
    return authority


@pytest.mark.parametrize("key", ["p256", "rsa"])
@pytest.mark.parametrize("profile, leaf", [("tls13", "ec"), ("tls13", "rsa"), ("ecdhe", "ec"), ("rsa", "rsa")])
@pytest.mark.parametrize("above", [(), ("rsa",), ("ec", "ec")], ids=lambda above: "-".join(("root", *above)))
def test_two_large_roots(full, above, profile, leaf, key):
    for root in full.roots:
        reason, ram = login(full, chain(root, *above), profile, leaf, key)
        assert reason == "none"
        assert ram <= RAM


def test_third_root_of_that_name(full):
    subject = full.roots[0].openssl("x509", "-in", full.roots[0].cert, "-noout", "-subject", "-nameopt", "compat")
    third = Ca(full.lab.subfolder("root"), subject.strip().removeprefix("subject="), kind="rsa")
    for profile, leaf in [("tls13", "ec"), ("rsa", "rsa")]:
        assert login(full, third, profile, leaf, "p256")[0] == "untrusted"


@pytest.mark.parametrize("profile, leaf", [("tls13", "rsa"), ("ecdhe", "ec"), ("rsa", "rsa")])
def test_what_does_not_fit_is_called_by_its_name(full, profile, leaf):
    """Three intermediates of RSA-2048: not distrust, and the next line finds everything as it was."""
    reason, ram = login(full, chain(full.roots[1], "rsa", "rsa", "rsa"), profile, leaf, "p256")
    assert reason == "memory"
    assert ram <= RAM
    assert login(full, full.roots[0], profile, leaf, "p256")[0] == "none"
