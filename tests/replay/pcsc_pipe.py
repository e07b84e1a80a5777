#!/usr/bin/python3
"""pcsc_pipe.py NAME - the protocol of apdu_pipe.c in front of a PC/SC reader, by pyscard: software that
nobody here wrote, on the way that such software goes. NAME is the name of the reader, or a part of it;
empty for the first one with a card in it. Waits for a card. Besides "reset" there is "power"."""

import re
import sys
import time

from smartcard import scard

PATIENCE = 60.0  # seconds until a card that must come is called missing
PROTOCOLS = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1


def fail(sentence):
    sys.exit(f"pcsc_pipe: {sentence}")


def must(answer, what):
    if answer[0] != scard.SCARD_S_SUCCESS:
        fail(f"{what}: {scard.SCardGetErrorMessage(answer[0])}")
    return answer[1:]


def find(context, name):
    """The reader meant, with a card in it, or None."""
    rc, names = scard.SCardListReaders(context, [])
    if rc != scard.SCARD_S_SUCCESS:
        return None
    rc, states = scard.SCardGetStatusChange(
        context, 0, [(n, scard.SCARD_STATE_UNAWARE) for n in names if name in n])
    return next((s[0] for s in states if s[1] & scard.SCARD_STATE_PRESENT), None)


def connect(context, name):
    """A card may be noticed before it can be used."""
    deadline = time.monotonic() + PATIENCE
    while True:
        reader = find(context, name)
        if reader:
            rc, card, protocol = scard.SCardConnect(context, reader, scard.SCARD_SHARE_EXCLUSIVE, PROTOCOLS)
            if rc == scard.SCARD_S_SUCCESS:
                return card, protocol
        if time.monotonic() > deadline:
            fail(f"no card in a reader named {name or 'anything'}")
        time.sleep(0.01)


class Card:
    def __init__(self, name):
        (self.context,) = must(scard.SCardEstablishContext(scard.SCARD_SCOPE_USER), "no PC/SC daemon")
        self.card, self.protocol = connect(self.context, name)

    def atr(self):
        return must(scard.SCardStatus(self.card), "status")[3]

    def again(self, how):
        (self.protocol,) = must(scard.SCardReconnect(self.card, scard.SCARD_SHARE_EXCLUSIVE, PROTOCOLS, how),
                                "reset")

    def transceive(self, command):
        pci = scard.SCARD_PCI_T1 if self.protocol == scard.SCARD_PROTOCOL_T1 else scard.SCARD_PCI_T0
        return must(scard.SCardTransmit(self.card, pci, command), "no answer")[0]

    def close(self):
        scard.SCardDisconnect(self.card, scard.SCARD_RESET_CARD)
        scard.SCardReleaseContext(self.context)


def main():
    if len(sys.argv) != 2:
        sys.exit("Usage: pcsc_pipe.py NAME")
    card = Card(sys.argv[1])

    def put(answer):
        print(bytes(answer).hex().upper(), flush=True)
    put(card.atr())
    for line in map(str.strip, sys.stdin):
        if line == "reset":
            card.again(scard.SCARD_RESET_CARD)
            put(b"")
        elif line == "power":
            card.again(scard.SCARD_UNPOWER_CARD)
            put(b"")
        elif re.fullmatch(r"(?:[0-9A-F]{2})+", line):
            put(card.transceive(list(bytes.fromhex(line))))
        else:
            fail("a line that is neither a command nor \"reset\" nor \"power\"")
    card.close()


main()
