"""A bank that is played: it has the bank's own server key, and answers as the test wants."""

import contextlib
import json
import socket
import ssl
import threading
import time

from cardwire_lab import trust_in_cards

PAYER, PAYEE = "AAAAAAAA01", "BBBBBBBB02"


class FakeBank:
    """Has the bank's own key, and answers as the test wants. answer(method, path, body) gives
    (status, type, bytes), or None to end the connection; default() gives what a bank would say."""

    def __init__(self, folder, answer):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "server-p256.pem", folder / "server-p256.key")
        self.context.load_verify_locations(trust_in_cards(folder))
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        self.answer = answer
        self.posted = 0
        self.open = True
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open = False
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join(10)

    def _run(self):
        while self.open:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), client:
                client.settimeout(30)
                with self.context.wrap_socket(client, server_side=True) as line:
                    self._serve(line)

    def _serve(self, line):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                part = line.recv(4096)
                if not part:
                    return
                data += part
            head, _, body = data.partition(b"\r\n\r\n")
            length = next((int(h.split(b":")[1]) for h in head.split(b"\r\n")
                           if h.lower().startswith(b"content-length:")), 0)
            while len(body) < length:
                body += line.recv(4096)
            method, path = head.decode().split()[:2]
            self.posted += (method, path) == ("POST", "/v1/payments")
            reply = self.answer(method, path, body[:length])
            if reply is None:
                return
            status, kind, text = reply
            reply = (f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n"
                     f"Content-Length: {len(text)}\r\n\r\n".encode() + text)
            for at in range(0, len(reply), 4096):  # the card takes no longer records
                line.sendall(reply[at:at + 4096])
            data = body[length:]


def as_json(value, status=200, kind="application/json"):
    return status, kind, json.dumps(value).encode()


def problem(status, name, detail="No."):
    return as_json({"type": f"urn:cardwire:problem:{name}", "title": "t", "status": status,
                    "detail": detail}, status, "application/problem+json")


def honest(method, path, _body):
    if path == "/v1/session":
        return as_json({"customer": {"id": 1, "name": "Ada"}, "card": {"serial": "00"},
                        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    if path == "/v1/card":
        return as_json({"serial": "00", "status": "active", "sequence": 0, "pending": 0})
    if path == "/v1/accounts":
        return as_json({"accounts": [{"id": PAYER, "currency": "EUR", "balance": "9.00",
                                      "available": "9.00"}]})
    if path.startswith("/v1/payees/"):
        return as_json({"account": PAYEE, "name": "Ben", "currency": "EUR"})
    raise AssertionError((method, path))
