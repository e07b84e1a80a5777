"""A reader for T=1 (ISO/IEC 7816-3:2006 §11) on a serial line, written from the standard and from nothing in
this project: a second implementation that the card's end must agree with. It waits long, because a slow machine
is no error, and it can be told to damage what it sends."""

import time

from serial_lab import Wire

BLOCK_TRIES = 3   # rule 7.4.2: twice more after the first
RESYNC_TRIES = 3  # rule 6.4

I_SEQUENCE, I_MORE = 0x40, 0x20
R_SEQUENCE, R_EDC, R_OTHER = 0x10, 1, 2
S_RESYNCH, S_IFS, S_ABORT, S_WTX, S_RESPONSE = 0xC0, 0xC1, 0xC2, 0xC3, 0x20


class Silent(Exception):
    """The card said nothing."""


class Broken(Exception):
    """The rules of the standard are at their end: the card must be reset."""


def lrc(data):
    value = 0
    for byte in data:
        value ^= byte
    return value


def block(pcb, information=b"", nad=0):
    head = bytes([nad, pcb, len(information)]) + information
    return head + bytes([lrc(head)])


def atr_length(atr):
    """Bytes that the answer to reset has as far as it is known; §8.2."""
    if len(atr) < 2:
        return 2
    at, y, tck = 2, atr[1] >> 4, False
    while True:
        at += bin(y).count("1")
        if not y & 8:
            break
        if at > len(atr):
            return at
        tck = tck or atr[at - 1] & 15 != 0
        y = atr[at - 1] >> 4
    return at + (atr[1] & 15) + tck


class T1Reader:
    """The card on the serial line `device`, which has power while the device is open.

    damage(block) -> bytes is asked for each block that goes out, and says what goes out instead."""

    used = False

    def __init__(self, device, patience=60.0):
        self.device, self.patience = device, patience
        self.damage = lambda data: data
        self.wire = None
        self.log = []  # (to_card, bytes) of whole blocks
        self.open()

    # --- the line ---

    def open(self):
        """A line that was closed a moment ago may still be there, with what was on it, until the card's side sees
        that: then it hangs up, and power is switched on once more."""
        for again in (True, True, False):
            try:
                self.open_silently()
                assert self.ask(S_IFS, b"\xfe") == b"\xfe"
                break
            except OSError:
                self.close()
                if not again:
                    raise
        self.card_max = 254

    def open_silently(self):
        """As far as the answer to reset."""
        self.wire = Wire(self.device)
        self.pending = b""
        self.atr = b""
        while len(self.atr) < atr_length(self.atr):
            before = self.wire.openings
            byte = self.take(1)
            self.atr = (self.atr if self.wire.openings == before else b"") + byte
        self.mine = self.theirs = 0  # sequence numbers of the next I-block from here, and from the card
        self.card_max = 32
        self.waits = 0

    def close(self):
        if self.wire:
            self.wire.close()
            self.wire = None

    def reset(self):
        """There is no line for RST: off and on."""
        self.close()
        self.open()

    def put(self, data):
        self.wire.say(data)

    def take(self, count, patience=None):
        deadline = time.monotonic() + (self.patience if patience is None else patience)
        while len(self.pending) < count:
            left = deadline - time.monotonic()
            came = self.wire.hear(count - len(self.pending), left)
            self.pending += came
            if not came:
                raise Silent(f"{len(self.pending)} of {count} bytes came")
        data, self.pending = self.pending[:count], self.pending[count:]
        return data

    # --- blocks ---

    def send(self, pcb, information=b""):
        data = block(pcb, information)
        self.log.append((True, data))
        self.put(self.damage(data))

    def receive(self, patience=None):
        """(PCB, information); None for a block that is wrong."""
        head = self.take(3, patience)
        rest = self.take(head[2] + 1, patience)
        self.log.append((False, head + rest))
        pcb, information = head[1], rest[:-1]
        if lrc(head + rest) or head[0] or head[2] == 0xFF:
            return None
        if pcb & 0x80 and not pcb & 0x40 and (information or pcb & 0x2C):
            return None
        return pcb, information

    def ask(self, request, information=b""):
        """An S-block, and the information of its response."""
        for _ in range(BLOCK_TRIES):
            self.send(request, information)
            try:
                got = self.receive()
            except Silent:
                continue
            if got and got[0] == request | S_RESPONSE:
                return got[1]
        raise Broken(f"no response to S-block {request:02X}")

    def resynch(self):
        for _ in range(RESYNC_TRIES):
            self.pending = b""
            self.send(S_RESYNCH)
            try:
                while True:  # what is on its way may be anything
                    if self.receive() == (S_RESYNCH | S_RESPONSE, b""):
                        self.mine = self.theirs = 0
                        return
            except Silent:
                pass
        raise Broken("no response to S(RESYNCH)")

    def turn(self, pcb, information=b""):
        """Sends a block; returns the card's I- or R-block that answers it, after all that comes between."""
        self.send(pcb, information)
        last = (pcb, information)
        for _ in range(BLOCK_TRIES):
            reason = R_OTHER
            try:
                got = self.receive()
                while got and got[0] & 0xC0 == 0xC0:
                    got = self.card_asks(*got)
                reason = R_EDC
                if got and self.fits(last[0], got[0]):
                    return got
                if got and got[0] & 0x80:  # the card asks for it again
                    self.send(*last)
                    continue
            except Silent:
                pass
            self.send(0x80 | self.theirs << 4 | reason)
        raise Broken("three tries")

    def card_asks(self, pcb, information):
        """The card's S-block; what comes after it."""
        if pcb == S_WTX:
            self.waits += 1
        elif pcb not in (S_IFS, S_ABORT):
            return None
        elif pcb == S_IFS:
            self.card_max = information[0]
        self.send(pcb | S_RESPONSE, information)
        return self.receive()

    def fits(self, sent, got):
        """Does the card's I- or R-block answer what was sent?"""
        if not got & 0x80:
            return bool(got & I_SEQUENCE) == bool(self.theirs) and not (not sent & 0x80 and sent & I_MORE)
        return not sent & 0x80 and bool(sent & I_MORE) and bool(got & R_SEQUENCE) == bool(1 - self.mine)

    # --- commands ---

    def transceive(self, command):
        try:
            return self.exchange(command)
        except Broken:
            self.resynch()
            raise

    def exchange(self, command):
        for at in range(0, max(1, len(command)), self.card_max):
            part = command[at:at + self.card_max]
            more = at + self.card_max < len(command)
            got = self.turn(self.mine << 6 | (I_MORE if more else 0), part)
            self.mine ^= 1
        answer = b""
        while True:
            pcb, information = got
            answer += information
            self.theirs ^= 1
            if not pcb & I_MORE:
                return answer
            got = self.turn(0x80 | self.theirs << 4)

    # --- what tests/replay wants of a reader ---

    def power(self, contactless=None):
        if contactless is not None:
            raise NotImplementedError("T=1 is a contact interface")
        self.reset()
