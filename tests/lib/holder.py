"""Customers with cards, each card in a raw terminal that the test drives by hand (rawcard.py), and their
bank: for tests that send over a good card's line what no honest terminal would."""

import base64
import contextlib
import json
import os
import re
import struct
import time
import types

from cardwire_lab import Lab, json_lines, wait_for
from rawcard import OPEN, RawCard, put, tlv

NAME = "bank.cardwire.test"
PIN = "135790"


class Holder:
    """A customer with a card, and the raw terminal it sits in."""

    def __init__(self, world, name, kind):
        self.world = world
        lab = world.lab
        self.customer = world.admin("customer", "add", "--name", name)["id"]
        self.name = name
        self.account = world.admin("account", "open", "--customer", self.customer, "--deposit",
                                   "100.00")["account"]
        folder = lab.folder / f"card-{name}"
        # The card's floor of time is an hour ago, so that it signs an order that the bank finds expired.
        hour_ago = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
        done = lab.issue(world.folder, self.customer, f"inproc:{folder}", "--key", kind, "--pin-file",
                         world.pin, "--time", hour_ago)
        assert done.returncode == 0, done.stderr
        self.serial = json_lines(done.stdout)[-1]["serial"]
        self.card = RawCard(lab, folder)

    def balance(self):
        return next(a["balance"] for a in self.world.admin(
            "account", "list", "--customer", self.customer)["accounts"])

    # --- one line ---

    def open(self, port=None, profile="tls13"):
        self.card.hang_up()
        return self.card.open(PIN, port or self.world.port, NAME, profile)

    def http(self, method, path, body=None):
        """(status, JSON) over the open line."""
        answer = self.ask(method, path, body)
        return answer.status, json.loads(answer.body)

    def ask(self, method, path, body=None):
        """What the bank answers: .status, .headers (names in small letters), .type, .body. A body of bytes
        goes out as it is."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {NAME}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        return self.send(head.encode() + b"\r\n" + data)

    def send(self, request):
        """The same for bytes that need be no HTTP."""
        while request:
            assert self.card.write(request[:200]) == 0x9000
            request = request[200:]
        answer = b""
        while True:
            part = self.card.read()
            answer += part
            end = answer.find(b"\r\n\r\n")
            if end >= 0:
                length = re.search(rb"content-length: *(\d+)", answer[:end], re.I)
                if len(answer) >= end + 4 + int(length.group(1) if length else 0):
                    break
            if not part:
                raise ConnectionError(f"the line ended: {self.card.reason()}")
        headers = {name.strip().lower(): value.strip() for name, _, value in (
            line.partition(":") for line in answer[:end].decode().split("\r\n")[1:])}
        return types.SimpleNamespace(status=int(answer.split()[1]), headers=headers,
                                     type=headers.get("content-type", ""), body=answer[end + 4:])

    def log_in(self, **options):
        assert self.open(**options) & OPEN
        status, said = self.http("POST", "/v1/session", {"key_agreement": "succeeded"})
        assert status == 200 and said["card"]["serial"] == self.serial

    def sign(self, to, amount, **changes):
        """An order that the card signed in this line: {"order", "signature"} as the API takes it."""
        fields = dict(payer=self.account, payee=to.account, name=to.name, amount=amount,
                      currency="EUR", reference="test", id=os.urandom(16),
                      expiry=int(time.time()) + 600) | changes
        assert self.card.verify(PIN, 0x82) == 0x9000
        data = (put(0x80, fields["payer"].encode()) + put(0x81, fields["payee"].encode())
                + put(0x82, fields["name"].encode()) + put(0x83, struct.pack(">Q", fields["amount"]))
                + put(0x84, fields["currency"].encode())
                + (put(0x85, fields["reference"].encode()) if fields["reference"] else b"")
                + put(0x86, fields["id"]) + put(0x87, struct.pack(">Q", fields["expiry"])))
        answer, sw = self.card.command(0x80, 0x18, 0, 0, data, le=256)
        assert sw == 0x9000, f"SIGN ORDER: {sw:04X}"
        found = tlv(answer)
        return {"order": base64.b64encode(found[0x53]).decode(),
                "signature": base64.b64encode(found[0x9E]).decode()}

    def pay(self, order):
        return self.http("POST", "/v1/payments", order)


@contextlib.contextmanager
def bank_of_two(*serve, bens="p256"):
    """Serves: .ada, .ben (Holder), .lab, .folder, .admin(*args) -> JSON of cardwired, .port, .process.
    serve: more options of `cardwired serve`; bens: the key of Ben's card."""
    with Lab() as lab:
        it = types.SimpleNamespace(lab=lab, folder=lab.folder / "bank", pin=lab.file("pin", PIN + "\n"))

        def admin(*args):
            done = lab.run("cardwired", "--dir", it.folder, *args, "--json")
            assert done.returncode == 0, done.stderr
            return json_lines(done.stdout)[-1]
        it.admin = admin
        assert lab.run("cardwired", "init", it.folder).returncode == 0
        it.ada, it.ben = Holder(it, "Ada", "p256"), Holder(it, "Ben", bens)
        port_file = lab.folder / "port"
        it.process = lab.start("cardwired", [
            lab.program("cardwired"), "--dir", it.folder, "serve", "--listen", "127.0.0.1:0",
            "--port-file", port_file, *serve])
        it.port = int(wait_for("the bank naming its port", lambda: port_file.exists()
                               and port_file.read_text().strip(), it.process))
        yield it
        assert it.process.poll() is None, it.process.tail()  # nothing here may stop the bank
        assert lab.run("cardwired", "--dir", it.folder, "report").returncode == 0


def problem(answer):
    status, said = answer
    return status, said.get("type", "").removeprefix("urn:cardwire:problem:")
