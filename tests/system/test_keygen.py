"""A card that makes an RSA key does not hold the reader: it is asked again and again, and answers others in
between; the bank's program says how far it is."""

import os
import pty
import re
import subprocess

import pytest

from cardwire_lab import Ca, Lab, Pcscd
from rawcard import INITIAL, Issuer, RawCard, tlv

SLICE, WORKING = 1, 1
TLS_RSA, ORDER_RSA = 2, 4
LINE = re.compile(r"cardwired: the card makes its key (tls|order)-rsa2048: (\d+) %")


def poll(card, slot):
    """One slice, through the issuer's channel, which what others ask in between has ended: (state,
    thousandths)."""
    answer, sw = Issuer(card, INITIAL).command(0, 0x47, SLICE, slot)
    assert sw == 0x9000, f"{sw:04X}"
    assert len(answer) == 3
    return answer[0], int.from_bytes(answer[1:], "big")


def test_others_are_answered_while_a_key_is_made(lab):
    ca = Ca(lab.folder / "ca")
    with RawCard(lab, lab.folder / "polled") as card:
        card.select()
        serial = tlv(card.info(0))[0x81]
        state, far, polls, answered = WORKING, 0, 0, 0
        while state == WORKING:
            state, now = poll(card, TLS_RSA)
            assert far <= now <= 1000
            far, polls = now, polls + 1
            if state == WORKING:  # in the middle of it
                said = tlv(card.info(0))
                assert said[0x81] == serial and said[0x85] == bytes(2)
                assert card.command(0, 0xCA, 1, TLS_RSA, le=256) == (b"", 0x6A88)
                answered += polls <= 100
        assert far == 1000
        assert answered >= 12, "a key of two primes takes six rounds each, in a slice each"
        assert tlv(card.info(0))[0x85] == bytes([1 << (TLS_RSA - 1), 0])
        request, sw = Issuer(card, INITIAL).command(0x80, 0x1E, 0, TLS_RSA)
        assert sw == 0x9000
        ca.sign(request)  # openssl verifies what the new key signed


def test_select_and_reset_drop_it(lab):
    with RawCard(lab, lab.folder / "dropped") as card:
        for drop in (card.select, card.reset):
            card.select()
            far = 0
            while far < 490:
                state, far = poll(card, ORDER_RSA)
                assert state == WORKING
            drop()
            card.select()
            # From the beginning: one slice does not come to the second prime.
            assert poll(card, ORDER_RSA)[1] < 490
        assert tlv(card.info(0))[0x85] == bytes(2)


@pytest.fixture(scope="module")
def bank():
    """A bank, and a private PC/SC daemon with two blank cards."""
    with Lab() as it:
        folder = it.folder / "bank"
        assert it.run("cardwired", "init", folder).returncode == 0
        assert it.run("cardwired", "--dir", folder, "customer", "add", "--name", "Ada").returncode == 0
        pcscd = Pcscd(it)
        pcscd.insert(it, [it.folder / "log", it.folder / "tty"])

        def command(slot):
            return [it.program("cardwired"), "--dir", folder, "card", "issue", "--customer", "1",
                    "--reader", pcscd.reader(slot), "--key", "rsa2048"]
        yield command, dict(it.env, **pcscd.env)


def test_progress_in_a_log(bank):
    command, env = bank
    done = subprocess.run(command(0), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *lines, pin = done.stderr.splitlines()
    assert "PIN and PUK are in" in pin
    assert lines.pop(0).startswith("cardwired: warning: without --initial-key")
    assert 1 <= len(lines) <= 6, lines  # three for a key are the most
    assert all(LINE.fullmatch(line) for line in lines), lines


def test_progress_on_a_terminal(bank):
    command, env = bank
    master, slave = pty.openpty()
    done = subprocess.Popen(command(1), env=env, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:
        pass  # the other side of the terminal is closed
    os.close(master)
    assert done.wait() == 0, shown
    text = shown.decode().replace("\r\n", "\n").rstrip("\n").split("\n")
    # the bank's keys, two keys of the card, what is written, the activation, the PIN
    assert len(text) == 7, text
    assert text.pop(0) == "cardwired: the card takes the bank's keys"
    assert text.pop(0).startswith("cardwired: warning: without --initial-key")
    for line, key in zip(text, ("tls", "order")):
        first, *over = line.split("\r")  # each written over the one before
        assert first == f"cardwired: the card makes its key {key}-rsa2048"
        assert all(LINE.fullmatch(o) for o in over), over
        far = [int(LINE.fullmatch(o)[2]) for o in over]
        assert far == sorted(set(far)) and far[-1] == 100 and len(far) >= 4, far
    assert "\r" not in "".join(text[2:])
