"""Cards at a pseudo terminal: cardwire-card --t1 and --tcl, and a hand that says bytes to it."""

import os
import time

from cardwire_lab import readable, wait_for


def serial_card(lab, folder, device, *options, kind="t1"):
    """cardwire-card with its memory in `folder` and its line, or its field (tcl), at `device`; stop() ends it."""
    card = lab.start("cardwire-card", [lab.program("cardwire-card"), "--state", folder, f"--{kind}", device, *options])
    wait_for("the card's line", lambda: os.path.exists(device), card)
    return card


class Wire:
    """The line in our hand: opening it is power."""

    def __init__(self, device):
        self.device, self.fd = device, -1
        self.fresh = True  # nothing was said yet
        self.openings = 0
        self.open()

    def open(self):
        """Again, when it was the line of the reader before (card/ports/linux/pty.h)."""
        self.close()
        self.openings += 1
        while self.fd < 0:
            try:
                self.fd = os.open(self.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            except OSError:
                if not os.path.islink(self.device):
                    raise

    def say(self, data):
        self.fresh = False
        os.write(self.fd, data)

    def hear(self, count, seconds=5.0):
        """At most `count` bytes, or what came until then."""
        got, end = b"", time.monotonic() + seconds
        while len(got) < count and readable(self.fd, end - time.monotonic()):
            try:
                more = os.read(self.fd, count - len(got))
            except OSError:
                more = b""
            got += more
            if not more and not self.fresh:
                break
            if not more:
                self.open()
                got = b""
        return got

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def block(pcb, inf=b"", nad=0):
    """A block of T=1 with an LRC (ISO/IEC 7816-3:2006 §11.3)."""
    data = bytes([nad, pcb, len(inf)]) + inf
    check = 0
    for byte in data:
        check ^= byte
    return data + bytes([check])


RATS = bytes([0xE0, 0x80])  # FSDI 8: frames of 256 bytes; CID 0
END, ESC = 0xC0, 0xDB
ESCAPED = {END: 0xDC, ESC: 0xDD}


def crc_a(data):
    """ISO/IEC 14443-3 annex B, as it goes over the air."""
    crc = 0x6363
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc.to_bytes(2, "little")


def slip(data):
    """A frame as RFC 1055 has it."""
    inside = b"".join(bytes([ESC, ESCAPED[b]]) if b in ESCAPED else bytes([b]) for b in data)
    return bytes([END]) + inside + bytes([END])


def unslip(line):
    return line.replace(bytes([ESC, 0xDC]), bytes([END])).replace(bytes([ESC, 0xDD]), bytes([ESC]))


def frame(data):
    """A frame of ISO/IEC 14443-4 on the line."""
    return slip(data + crc_a(data))


class Air(Wire):
    """The field in our hand: opening it switches it on. Frames are given and heard without CRC_A."""

    def answer(self, seconds=5.0):
        """The next frame, whose CRC must be right; b"" when there is none."""
        line = b""
        while byte := self.hear(1, seconds):
            if byte[0] != END:
                line += byte
            elif line:
                data = unslip(line)
                assert crc_a(data[:-2]) == data[-2:], data
                return data[:-2]
        return b""

    def send(self, data):
        self.say(frame(data))

    def activate(self, seconds=30):
        """RATS; the ATS. Again, when it was the field of the reader before."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.send(RATS)
                if ats := self.answer():
                    return ats
            except OSError:
                pass
            self.open()
        raise TimeoutError(f"no ATS at {self.device}")
