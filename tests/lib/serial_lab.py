"""Cards at the end of a serial line: cardwire-card --t1, and a hand that says bytes to it."""

import os
import select
import time
import tty

from cardwire_lab import wait_for


def serial_card(lab, folder, device, *options):
    """cardwire-card with its memory in `folder` and its line at `device`; stop() ends it."""
    card = lab.start("cardwire-card", [lab.program("cardwire-card"), "--state", folder, "--t1", device, *options])
    wait_for("the card's line", lambda: os.path.islink(device), card)
    return card


class Wire:
    """The line in our hand: opening it is power."""

    def __init__(self, device):
        self.fd = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self.fd)  # and forgets what the last one has not taken

    def say(self, data):
        os.write(self.fd, data)

    def hear(self, count, seconds=5.0):
        """At most `count` bytes, or what came until then."""
        got, end = b"", time.monotonic() + seconds
        while len(got) < count and select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
            try:
                got += os.read(self.fd, count - len(got))
            except OSError:
                break
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
