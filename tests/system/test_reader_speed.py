"""The delayed-ACK trap: vpcd writes length and payload apart and has no TCP_NODELAY, so that an APDU takes
45 ms unless the card sets TCP_QUICKACK around every receive. The whole way through pcscd and vpcd, by
bench/apdu, held against a bare round trip over loopback in the same run, not against a clock."""

import json
import os
import pathlib
import socket
import statistics
import subprocess
import threading
import time

from cardwire_lab import ROOT, Lab, Pcscd

BENCH = pathlib.Path(os.environ.get("CARDWIRE_PROGRAMS") or ROOT / "build" / "bin").parent / "bench"
TRAP_MS = 40.0  # the shortest delay of Linux (TCP_DELACK_MIN)


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


def test_no_delayed_ack_on_the_way_to_the_card():
    with Lab() as lab:
        pcscd = Pcscd(lab)
        pcscd.insert(lab, [lab.folder / "card"])
        bare = statistics.median(loopback_round_trips(300))
        done = subprocess.run([str(BENCH / "apdu"), "--reader", pcscd.reader(0), "--count", "300",
                               "--json"], capture_output=True, text=True, timeout=120, check=False,
                              env=dict(lab.env, **pcscd.env))
    assert done.returncode == 0, done.stderr
    apdu = json.loads(done.stdout)["median_us"] / 1000
    # An APDU is some bare round trips and a little work; on a loaded machine both grow. Never as much as the
    # trap costs at least.
    assert apdu < min(max(100 * bare, TRAP_MS / 2), TRAP_MS), (bare, apdu)
