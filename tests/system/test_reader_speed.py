"""The delayed-ACK trap: vpcd writes length and payload apart and has no TCP_NODELAY, so that an APDU takes
45 ms unless the card sets TCP_QUICKACK around every receive. Held against a bare round trip over loopback
in the same run, not against a clock; bench/apdu gives numbers."""

import socket
import statistics
import threading
import time

from cardwire_lab import Lab
from rawcard import RawCard


def loopback_round_trips(count):
    """Milliseconds for an echo of 10 bytes between two threads, TCP on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def echo():
            peer, _ = server.accept()
            with peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while data := peer.recv(64):
                    peer.sendall(data)
        threading.Thread(target=echo, daemon=True).start()
        with socket.create_connection(server.getsockname()) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(count):
                began = time.perf_counter()
                s.sendall(b"0123456789")
                s.recv(64)
                yield (time.perf_counter() - began) * 1000


def split_apdu_round_trips(card, count):
    """Milliseconds for one APDU, sent as vpcd sends it: length, then payload, Nagle on."""
    card.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    apdu = bytes.fromhex("00A4040005F043574C01")
    for _ in range(count):
        began = time.perf_counter()
        card.wire.sendall(len(apdu).to_bytes(2, "big"))
        card.wire.sendall(apdu)
        card._receive()
        yield (time.perf_counter() - began) * 1000


def test_no_delayed_ack_in_the_card():
    with Lab() as lab, RawCard(lab, lab.folder / "card") as card:
        bare = statistics.median(loopback_round_trips(300))
        apdu = statistics.median(split_apdu_round_trips(card, 300))
        # The trap costs at least 40 ms (the kernel's delayed ACK); without it an APDU is a few bare round
        # trips and a little work.
        assert apdu < max(40 * bare, 20), (bare, apdu)
