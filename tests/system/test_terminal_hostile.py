"""The terminal against a bank that lies, falls silent or means harm, a net that cuts, and a card that is
torn out: after an order was sent every failure names it and says what is known, and nothing that a
stranger wrote reaches the screen as it is."""

import base64
import contextlib
import json
import socket
import sqlite3
import threading
import types

import pytest

from cardwire_lab import Lab, Pcscd, json_lines, wait_for
from fakebank import PAYEE, PAYER, FakeBank, as_json, honest, problem

PIN = "135790"
EVIL = "\x1b]0;TITLE\x07\x1b[2J\x9b31m\u202eType your PIN:\u2028\ue000\x7f"


@pytest.fixture(scope="module")
def place():
    """A bank's folder, a card of Ada's, an account for each of two."""
    with Lab() as lab:
        folder = lab.folder / "bank"

        def do(*args):
            done = lab.run("cardwired", *args)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()
        do("init", folder)
        do("--dir", folder, "customer", "add", "--name", "Ada Example")
        do("--dir", folder, "customer", "add", "--name", "Ben Example")
        do("--dir", folder, "account", "open", "--customer", 1, "--deposit", "1000.00")
        ben = do("--dir", folder, "account", "open", "--customer", 2)
        pin = lab.file("pin", PIN + "\n")
        assert lab.issue(folder, 1, f"inproc:{lab.folder}/card", "--pin-file", pin).returncode == 0
        yield types.SimpleNamespace(lab=lab, folder=folder, pin=pin, ben=ben,
                                    reader=f"inproc:{lab.folder}/card")


def cardwire(place, port, *args, reader=None, env=None):
    return place.lab.run("cardwire", "--reader", reader or place.reader, "--server", f"127.0.0.1:{port}",
                         "--pin-file", place.pin, *args, env=env or place.lab.env)


def order_of(body):
    """The fields of the order in a POST, as a bank would answer them."""
    text = base64.b64decode(json.loads(body)["order"]).decode()
    line = dict(row.split(": ", 1) for row in text.splitlines() if ": " in row)
    amount, currency = line["Pay"].split()
    return text, {"id": 1, "order": line["Order"], "status": "booked", "time": "2026-11-24T10:00:00Z",
                  "payer": line["From"], "payee": line["To"], "payee_name": line["Name"],
                  "amount": amount, "currency": currency, "reference": line["Reference"]}


def pay(place, port, *more, to=PAYEE, **options):
    return cardwire(place, port, "--json", "pay", "--to", to, "--amount", "1.00", "--currency", "EUR",
                    "--reference", "Tea", "--yes", *more, **options)


def failed(done, booked, *, sent=True):
    """The one JSON object of a failed payment; its sentence names the order as well."""
    assert done.returncode not in (0, None) and done.returncode > 0, done
    said = json_lines(done.stdout)
    assert len(said) == 1 and said[0]["ok"] is False, done
    if sent:
        assert len(said[0]["order"]) == 32 and said[0]["order"] in said[0]["detail"], said
        assert said[0]["booked"] == booked, said
    else:
        assert "order" not in said[0] and "booked" not in said[0], said
    return said[0]


# What the bank answers to the POST, what is then known of the order, and the exit code.
ANSWERS = {
    "503, and not booked": (problem(503, "store"), "no", 4),
    "503, and not known": (problem(503, "outcome-unknown"), "unknown", 4),
    "503 of a proxy": ((503, "text/html", b"<h1>busy</h1>"), "unknown", 4),
    "400 of a proxy": ((400, "text/html", b"<h1>what?</h1>"), "unknown", 4),
    "500 that claims a refusal": (problem(500, "funds"), "unknown", 4),
    "unknown problem": (problem(422, "mood"), "unknown", 4),
    "garbage": ((200, "application/json", b"\xff\xfe{{{"), "unknown", 4),
    "no payment": (as_json({"fine": True}, 201), "unknown", 4),
    "funds": (problem(422, "funds"), "no", 4),
    "malformed, and a number never used before": (problem(400, "malformed"), "no", 4),
    "too often, and a number never used before": (problem(429, "rate-limit"), "no", 4),
    "conflict": (problem(409, "order-conflict"), "before", 4),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_known_after_the_answer(place, name):
    answer, booked, code = ANSWERS[name]

    def bank(method, path, body):
        return answer if path == "/v1/payments" else honest(method, path, body)
    with FakeBank(place.folder, bank) as fake:
        done = pay(place, fake.port)
        failed(done, booked)
        assert done.returncode == code and fake.posted == 1


def test_nothing_is_claimed_of_an_order_never_sent(place):
    with FakeBank(place.folder, lambda m, p, b: problem(404, "not-found")
                  if p.startswith("/v1/payees/") else honest(m, p, b)) as fake:
        failed(pay(place, fake.port), None, sent=False)
        assert fake.posted == 0


def test_a_number_used_before_makes_a_refusal_less_certain(place):
    """Before it looks the number up the bank knows nothing of earlier copies."""
    with FakeBank(place.folder, lambda m, p, b: problem(400, "malformed") if p == "/v1/payments"
                  else honest(m, p, b)) as fake:
        assert failed(pay(place, fake.port, "--order-id", "ab" * 16), "unknown")["order"] == "ab" * 16


LIES = {
    "order": "0" * 32, "status": "pending", "amount": "2.00", "currency": "USD", "payer": PAYEE,
    "payee": "CCCCCCCC03", "payee_name": "Mallory", "reference": "Coffee", "id": "1",
}


@pytest.mark.parametrize("field", [None, *LIES])
@pytest.mark.parametrize("absent", [False, True])
def test_the_reply_must_be_about_the_order(place, field, absent):
    def bank(method, path, body):
        if path != "/v1/payments":
            return honest(method, path, body)
        _, payment = order_of(body)
        if field and absent:
            del payment[field]
        elif field:
            payment[field] = LIES[field]
        return as_json({"payment": payment, "balance": "8.00", "replayed": False}, 201)
    with FakeBank(place.folder, bank) as fake:
        done = pay(place, fake.port)
    if field is None:
        assert done.returncode == 0, done
        assert json_lines(done.stdout)[0]["payment"]["amount"] == "1.00"
    else:
        failed(done, "unknown")
        assert done.returncode == 4


@pytest.mark.parametrize("kind, text_of", [
    ("another text", lambda text: text.replace("1.00", "9.00")),
    ("cut", lambda text: text[:-1]),
    ("nothing", lambda text: ""),
])
def test_the_receipt_must_hold_what_the_card_signed(place, tmp_path, kind, text_of):
    signed = []

    def bank(method, path, body):
        if path == "/v1/payments":
            text, payment = order_of(body)
            signed.append(text)
            return as_json({"payment": payment, "balance": "8.00", "replayed": False}, 201)
        if path.endswith("/receipt"):
            text = text_of(signed[0]).encode()
            return 200, "application/cms", b"\x30\x82\x04\x82" + len(text).to_bytes(2, "big") + text
        return honest(method, path, body)
    with FakeBank(place.folder, bank) as fake:
        said = failed(pay(place, fake.port, "--receipt", tmp_path / "r.p7"), "yes")
        assert "receipt" in said["detail"] and not (tmp_path / "r.p7").exists(), kind
        signed[0] = signed[0].replace("Order: ", "Order: 00", 1)
        done = cardwire(place, fake.port, "receipt", "--order", said["order"], "--out", tmp_path / "r.p7")
        assert done.returncode == 4 and not (tmp_path / "r.p7").exists() and "Receipt in" not in done.stdout


def test_receipt_refused_or_not_written(place, tmp_path):
    def bank(method, path, body):
        if path == "/v1/payments":
            return as_json({"payment": order_of(body)[1], "balance": "8.00", "replayed": False}, 201)
        if path.endswith("/receipt"):
            return problem(503, "store")
        return honest(method, path, body)
    with FakeBank(place.folder, bank) as fake:
        failed(pay(place, fake.port, "--receipt", tmp_path / "r.p7"), "yes")


def test_card_torn_out_after_the_order(place):
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab())
        pcscd = Pcscd(lab)
        card = pcscd.insert(lab, [place.lab.folder / "card"])[0]
        env = dict(lab.env, **pcscd.env)

        def bank(method, path, body):
            if path == "/v1/payments":
                card.stop()
                return as_json({"payment": order_of(body)[1], "balance": "8.00", "replayed": False}, 201)
            return honest(method, path, body)
        try:
            with FakeBank(place.folder, bank) as fake:
                done = pay(place, fake.port, reader=pcscd.reader(0), env=env)
                said = failed(done, "unknown")
                assert done.returncode == 6 and said["error"] == "gone" and fake.posted == 1
        finally:
            card.stop()


@pytest.mark.slow  # the terminal bears thirty seconds of silence
def test_bank_falls_silent_after_the_order(place):
    over = threading.Event()

    def bank(method, path, body):
        if path == "/v1/payments":
            fake.server.shutdown(socket.SHUT_RDWR)
            fake.server.close()
            over.wait(100)
            return None
        return honest(method, path, body)
    with FakeBank(place.folder, bank) as fake:
        done = pay(place, fake.port)
        over.set()
    failed(done, "unknown")
    assert done.returncode == 7 and "does not answer" in done.stderr


class Cut:
    """A net that breaks as soon as the bank has booked something, and with `away` stays broken."""

    def __init__(self, bank_port, booked, away):
        self.bank_port, self.booked, self.away, self.done = bank_port, booked, away, False
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                bank = socket.create_connection(("127.0.0.1", self.bank_port))
                before = self.booked()
                up = threading.Thread(target=self._up, args=(client, bank), daemon=True)
                up.start()
                with contextlib.suppress(OSError):
                    while data := bank.recv(65536):
                        if not self.done and self.booked() > before:
                            self.done = True
                            break
                        client.sendall(data)
                if self.done and self.away:
                    self.server.close()
                for s in (client, bank):
                    with contextlib.suppress(OSError):
                        s.shutdown(socket.SHUT_RDWR)
                up.join()
                client.close()
                bank.close()

    @staticmethod
    def _up(client, bank):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                bank.sendall(data)


@pytest.fixture
def bank(place):
    port_file = place.lab.folder / "port"
    port_file.unlink(missing_ok=True)
    process = place.lab.start("cardwired", [
        place.lab.program("cardwired"), "--dir", place.folder, "serve", "--listen", "127.0.0.1:0",
        "--port-file", port_file])
    wait_for("the bank's port", lambda: port_file.exists() and port_file.read_text().strip(), process)
    yield int(port_file.read_text())
    process.stop()


def payments(place):
    with contextlib.closing(sqlite3.connect(place.folder / "bank.db", timeout=10)) as db:
        return db.execute("select count(*) from payment").fetchone()[0]


def test_answer_lost_and_the_net_stays_away(place, bank, tmp_path):
    before = payments(place)
    cut = Cut(bank, lambda: payments(place), away=True)
    done = pay(place, cut.port, to=place.ben)
    said = failed(done, "unknown")
    assert done.returncode == 7 and cut.done and payments(place) == before + 1
    order = said["order"]
    # Both ways out that the sentence names work, and nothing is booked twice.
    assert f"receipt --order {order}" in said["detail"] and f"--order-id {order}" in said["detail"]
    done = cardwire(place, bank, "receipt", "--order", order, "--out", tmp_path / "r.p7")
    assert done.returncode == 0 and (tmp_path / "r.p7").stat().st_size > 0, done
    assert failed(pay(place, bank, "--order-id", order, to=place.ben), "before")["order"] == order
    assert payments(place) == before + 1


def test_answer_lost_and_asked_for_again(place, bank):
    before = payments(place)
    cut = Cut(bank, lambda: payments(place), away=False)
    done = pay(place, cut.port, to=place.ben)
    assert done.returncode == 0 and cut.done, done
    assert json_lines(done.stdout)[0]["replayed"] is True and payments(place) == before + 1


def test_order_that_never_arrived(place, bank, tmp_path):
    """The bank refuses the resent order, because it is bound to a line that is gone. Its first copy may
    still be on its way: that is not known, and its number is what to pay with again."""
    before = payments(place)
    saved = tmp_path / "saved"
    with FakeBank(place.folder, lambda m, p, b: None if p == "/v1/payments" else honest(m, p, b)) as fake:
        said = failed(pay(place, fake.port, "--save", saved, to=place.ben), "unknown")
        assert fake.posted == 2
    order = said["order"]
    done = cardwire(place, bank, "--json", "pay", "--resend", saved)
    assert failed(done, "unknown")["reason"] == "order-other-line"
    done = cardwire(place, bank, "--json", "receipt", "--order", order, "--out", tmp_path / "r.p7")
    assert json_lines(done.stdout)[0]["reason"] == "not-found"
    done = pay(place, bank, "--order-id", order, "--receipt", tmp_path / "r.p7", to=place.ben)
    assert done.returncode == 0, done
    assert json_lines(done.stdout)[0]["payment"]["order"] == order and payments(place) == before + 1


def test_saved_file_that_is_no_order(place, tmp_path):
    saved = tmp_path / "saved"
    saved.write_text(json.dumps({"order": "SGVsbG8=", "signature": "SGVsbG8="}))
    done = cardwire(place, 1, "pay", "--resend", saved)
    assert done.returncode == 1 and "holds no signed order" in done.stderr


def harmless(text):
    """Nothing in it commands a terminal or hides what it says (proto/text.h)."""
    for c in text:
        assert c == "\n" or (c >= " " and not 0x7F <= ord(c) <= 0x9F), repr(text)
        assert ord(c) not in (0x202E, 0x2028) and not 0xE000 <= ord(c) <= 0xF8FF, repr(text)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_hostile_text_never_reaches_the_screen(place, options):
    def bank(method, path, _body):
        if path == "/v1/session":
            return as_json({"customer": {"id": 1, "name": EVIL, EVIL: EVIL}, "card": {"serial": EVIL},
                            EVIL: {"x": [EVIL]}})
        if path == "/v1/accounts":
            return as_json({"accounts": [{"id": PAYER, "currency": "EUR", "balance": EVIL,
                                          "available": "1" + EVIL, EVIL: 1}]})
        if path.endswith("/transactions?limit=20"):
            return as_json({"account": EVIL, "currency": EVIL, "balance": EVIL, "transactions": [
                {"id": 1, "time": EVIL, "amount": EVIL, "balance": EVIL, "reference": EVIL,
                 "counterparty": {"account": EVIL, "name": EVIL}, "order": EVIL}]})
        if "/statement." in path:
            if not path.endswith("json"):
                return 200, "text/csv", f"entry\r\n{EVIL}\r\n".encode()
            return as_json({"account": EVIL, "currency": EVIL, "from": EVIL, "to": EVIL, "opening": EVIL, "closing": EVIL,
                            "transactions": [{"time": EVIL, "reference": EVIL, "counterparty": {"name": EVIL}}]})
        if path.startswith("/v1/notifications"):
            return as_json({"cursor": EVIL, "more": True, "notifications": [
                {"time": EVIL, "kind": EVIL, "card": EVIL, "payee": {"name": EVIL}, "reason": EVIL},
                {"time": EVIL, "kind": EVIL, "amount": EVIL, "counterparty": {"name": EVIL}, "reference": EVIL}]})
        if path.startswith("/v1/payee-requests") and method == "GET":
            return as_json({"requests": [{"id": 1, "status": EVIL, "action": EVIL, "account": EVIL, "name": EVIL,
                                          "reason": EVIL}]})
        if path == "/v1/payees":
            return as_json({"payees": [{"account": EVIL, "name": EVIL}], "listed": EVIL})
        if path.startswith("/v1/payees/"):
            return as_json({"account": EVIL, "name": "Ben " + EVIL, "currency": EVIL})
        if path == "/v1/payments":
            return as_json({"payment": {EVIL: EVIL, "order": EVIL}, "balance": EVIL})
        return as_json({"type": "urn:cardwire:problem:" + EVIL, "detail": EVIL, "title": EVIL, EVIL: 1},
                       422, "application/problem+json; " + EVIL.encode("ascii", "ignore").decode())
    with FakeBank(place.folder, bank) as fake:
        for args in (["login"], ["balance"], ["balance", "--account", PAYER], ["statement"], ["trace"],
                     ["statement", "--from", "2026-01-01"], ["statement", "--format", "csv"], ["payee", "list"],
                     ["statement", "--format", "json"], ["payee", "requests"], ["payee", "add", "--to", PAYEE],
                     ["payee", "remove", "--to", PAYEE], ["notifications"],
                     ["receipt", "--order", "0" * 32, "--out", place.lab.folder / "none"],
                     ["pay", "--to", PAYEE, "--amount", "1.00", "--currency", "EUR", "--reference", "x",
                      "--yes"]):
            done = cardwire(place, fake.port, *options, *args)
            harmless(done.stdout)
            harmless(done.stderr)
            assert done.stdout or done.stderr
            if options and done.returncode:
                assert json_lines(done.stdout)[-1]["ok"] is False, done  # still JSON, not nothing


@pytest.mark.parametrize("name", ["x" * 46 + "\u00e9" * 30, "", "UPPER", "a b"])
def test_problem_name_that_is_none(place, name):
    """Cut in the middle of a character it would make JSON that cannot be written."""
    with FakeBank(place.folder, lambda m, p, b: problem(422, name, "\u00e9" * 400)
                  if p != "/v1/session" else honest(m, p, b)) as fake:
        done = cardwire(place, fake.port, "--json", "balance")
        assert done.returncode == 4 and json_lines(done.stdout)[0]["reason"] == "http-422", done


def test_contactless_card_signs_nothing(place):
    """Said before the order's PIN goes over the air."""
    with Lab() as lab:
        pcscd = Pcscd(lab)
        card = lab.start("cardwire-card", [
            lab.program("cardwire-card"), "--contactless", "--state", place.lab.folder / "card", "--vpcd",
            f"127.0.0.1:{pcscd.port}"])
        env = dict(lab.env, **pcscd.env)
        wait_for("the daemon noticing the card", lambda: any(
            r["card"] for r in json_lines(lab.run("cardwire", "--json", "readers", env=env).stdout)[-1]
            .get("readers", [])), card)
        try:
            with FakeBank(place.folder, honest) as fake:
                done = pay(place, fake.port, reader=pcscd.reader(0), env=env)
                failed(done, None, sent=False)
                assert done.returncode == 6 and "contactless" in done.stdout and fake.posted == 0
                done = cardwire(place, fake.port, "balance", reader=pcscd.reader(0), env=env)
                assert done.returncode == 0 and "9.00" in done.stdout
        finally:
            card.stop()


class EvilReader(Pcscd):
    """A device chooses its own name."""
    NAME = "Evil\x1b]0;x\x07\x9b31m\u202e"


def test_reader_with_a_hostile_name(place):
    with Lab() as lab:
        pcscd = EvilReader(lab)
        env = dict(lab.env, **pcscd.env)
        for args in (["readers"], ["--json", "readers"], ["--reader", "pcsc:Evil", "card"],
                     ["--reader", "pcsc:" + pcscd.NAME + " 00 01", "card"], ["card"]):
            done = lab.run("cardwire", *args, env=env)
            harmless(done.stdout)
            harmless(done.stderr)
            assert "readers" not in args or "Evil?]0;x?" in done.stdout, done
        card = pcscd.insert(lab, [place.lab.folder / "card"])[0]
        try:
            for options in ([], ["--json"]):  # it can be used all the same
                done = lab.run("cardwire", *options, "--reader", pcscd.reader(0), "card", env=env)
                assert done.returncode == 0 and "Evil?]0;x?" in done.stdout, done
                harmless(done.stdout)
        finally:
            card.stop()
