"""Runs a server that cannot be told to listen on loopback only in a network of its own, and lets
connections in through one port of the real loopback.

    alone.py PORT COMMAND...        PORT is the same inside and outside

The listening socket is made first and stays in the network it was made in; everything after unshare(2) is
in the new one, which has nothing but its own loopback."""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import threading

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def leave():
    """Into a network of our own; a user without rights takes a user namespace besides."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
        sys.exit(f"alone.py: no network namespace: {os.strerror(ctypes.get_errno())}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(s, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))


def carry(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for s, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        try:
            s.shutdown(how)
        except OSError:
            pass


def main():
    port, command = int(sys.argv[1]), sys.argv[2:]
    outside = socket.create_server(("127.0.0.1", port), backlog=64)
    leave()
    server = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command])
    signal.signal(signal.SIGTERM, lambda *_: (server.terminate(), os._exit(0)))

    def watch():
        os._exit(server.wait() or 1)
    threading.Thread(target=watch, daemon=True).start()
    while True:
        client, _ = outside.accept()
        inside = None
        for _ in range(600):  # the server is still starting
            try:
                inside = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                threading.Event().wait(0.05)
        if inside is None:
            client.close()
            continue
        for s in (client, inside):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=carry, args=(client, inside), daemon=True).start()
        threading.Thread(target=carry, args=(inside, client), daemon=True).start()


main()
