#!/usr/bin/env python3
"""The demo: a bank, two customers, two cards, and what may go wrong. Called by ./demo, which builds first.

Every step is a real program on a real connection: cardwired is the bank, cardwire the terminal,
cardwire-card the card behind a PC/SC daemon of its own, `openssl s_server` a false bank, and
`openssl cms` the notary. With --json each step is one object; the exit code is 0 only if all held.
"""

import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "lib"))

from cardwire_lab import (Ca, Lab, LabError, Pcscd, json_lines, stop_on_signals,  # noqa: E402
                          trust_in_cards, wait_for)
from foreign import PROFILES, s_server  # noqa: E402

NAME = "bank.cardwire.test"
DAY = 86400


class Telling:
    """Says each step, for people or as JSON."""

    def __init__(self, as_json):
        self.as_json = as_json
        self.tty = sys.stdout.isatty() and not as_json
        self.colour = self.tty and "NO_COLOR" not in os.environ
        self.count = self.failed = 0

    def paint(self, code, text):
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def heading(self, text):
        if not self.as_json:
            print(f"\n{self.paint('1', text)}", flush=True)

    def note(self, text):
        if not self.as_json:
            print(f"  {text}", flush=True)

    def begin(self, text):
        if self.tty:
            print(f"  … {text}", end="", flush=True)

    def end(self, step, text):
        self.count += 1
        self.failed += step["ok"] is False
        if self.as_json:
            print(json.dumps(step, ensure_ascii=False), flush=True)
            return
        if self.tty:
            print("\r\x1b[K", end="")
        mark = {True: self.paint("32", "✓"), False: self.paint("31", "✗"),
                None: self.paint("33", "–")}[step["ok"]]
        cost = f"{step['ms']:4.0f} ms"
        if step["apdus"]:
            total = (step["bytes_to_card"] + step["bytes_from_card"]) / 1000
            cost += f" {step['apdus']:3d} APDUs {total:4.1f} kB"
        print(f"  {mark} {text:<36} {self.paint('2', f'{cost:<26}')} {step['detail']}", flush=True)


class Card:
    def __init__(self, lab, kind, owner, words):
        self.kind, self.owner, self.words = kind, owner, words
        self.folder = lab.folder / f"card-{owner.lower()}"
        self.serial = self.account = self.payee = self.process = None
        self.readers = {"inproc": f"inproc:{self.folder}"}


class Demo:
    def __init__(self, lab, tell):
        self.lab, self.tell = lab, tell
        self.bank = lab.folder / "bank"
        self.pin = lab.file("pin", "135790\n")
        self.wrong_pin = lab.file("wrong-pin", "097531\n")
        self.cards = [Card(lab, "rsa2048", "Ada", "Ada's card, RSA"),
                      Card(lab, "p256", "Ben", "Ben's card, P-256")]
        self.port = self.pcscd = None

    # --- steps ---

    def step(self, name, text, reader, work, profile=None):
        """Runs work() -> (ok, detail, the program's JSON or None) and tells it."""
        self.tell.begin(text)
        began = time.monotonic()
        try:
            ok, detail, said = work()
        except (LabError, KeyError, subprocess.TimeoutExpired) as e:
            ok, detail, said = False, f"{type(e).__name__}: {e}", None
        stats = (said or {}).get("stats") or ((said or {}).get("line") or {}).get("stats") or {}
        self.tell.end({"step": name, "profile": profile, "reader": reader, "ok": ok,
                       "detail": detail, "apdus": stats.get("apdus", 0),
                       "bytes_to_card": stats.get("bytes_to_card", 0),
                       "bytes_from_card": stats.get("bytes_from_card", 0),
                       "ms": round((time.monotonic() - began) * 1000, 1)}, text)

    def cardwired(self, *args):
        done = self.lab.run("cardwired", "--dir", self.bank, *args, "--json")
        said = json_lines(done.stdout)
        if done.returncode or not said:
            raise LabError(f"cardwired {args[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return said[-1]

    def cardwire(self, reader, card, *args, port=None, pin=None):
        """(exit code, JSON) of the terminal program."""
        env = dict(self.lab.env, **(self.pcscd.env if self.pcscd else {}))
        done = self.lab.run("cardwire", "--json", "--reader", card.readers[reader],
                            "--server", f"127.0.0.1:{port or self.port}",
                            "--pin-file", pin or self.pin, *args, env=env)
        said = json_lines(done.stdout)
        if not said:
            raise LabError(f"cardwire said nothing; on stderr: {done.stderr.strip()}")
        return done.returncode, said[-1]

    # --- the parts ---

    def make_bank(self):
        done = self.lab.run("cardwired", "init", self.bank, "--json")
        if done.returncode:
            raise LabError(done.stderr.strip())
        for card, deposit in zip(self.cards, ("1000.00", "100.00")):
            customer = self.cardwired("customer", "add", "--name", f"{card.owner} Example")["id"]
            card.customer = customer
            card.account = self.cardwired("account", "open", "--customer", customer, "--currency",
                                          "EUR", "--deposit", deposit)["account"]
        self.cards[0].payee, self.cards[1].payee = reversed(self.cards)
        self.serve()
        return True, f"two customers, two accounts; it listens on 127.0.0.1:{self.port}", None

    def serve(self):
        port_file = self.lab.folder / "port"
        process = self.lab.start("cardwired", [
            self.lab.program("cardwired"), "--dir", self.bank, "serve", "--listen", "127.0.0.1:0",
            "--port-file", port_file])
        self.port = wait_for("the bank naming its port", lambda: port_file.exists()
                             and port_file.read_text().strip(), process)

    def insert_cards(self, options=()):
        """Puts both cards into the slots of the PC/SC daemon."""
        processes = self.pcscd.insert(self.lab, [card.folder for card in self.cards], options=options)
        for slot, (card, process) in enumerate(zip(self.cards, processes)):
            card.process, card.readers["pcsc"] = process, self.pcscd.reader(slot)

    def take_cards_out(self):
        for card in self.cards:
            if card.process:
                card.process.stop()
                card.process = None

        def all_gone():
            env = dict(self.lab.env, **self.pcscd.env)
            said = json_lines(self.lab.run("cardwire", "--json", "readers", env=env).stdout)
            return said and not any(r["card"] for r in said[-1].get("readers", []))
        wait_for("the PC/SC daemon noticing that the cards are gone", all_gone, self.pcscd.process)

    def issue(self, reader, card):
        env = dict(self.lab.env, **(self.pcscd.env if self.pcscd else {}))
        done = self.lab.run("cardwired", "--dir", self.bank, "card", "issue", "--customer",
                            card.customer, "--reader", card.readers[reader], "--key", card.kind,
                            "--pin-file", self.pin, "--payee", card.payee.account, "--json", env=env)
        said = json_lines(done.stdout)
        if done.returncode or not said:
            return False, said[-1].get("detail") if said else done.stderr.strip(), None
        card.serial = said[-1]["serial"]
        return (True, f"card {card.serial} made its keys: {', '.join(said[-1]['keys'])}",
                {"stats": said[-1]})

    def wrong_pin_refused(self, reader, card):
        code, said = self.cardwire(reader, card, "login", pin=self.wrong_pin)
        return code == 5 and said.get("error") == "wrong-pin", said.get("detail", "no detail"), said

    def login(self, reader, card, profile):
        code, said = self.cardwire(reader, card, "login", "--profile", profile)
        if code:
            return False, said.get("detail", f"exit {code}"), said
        line, session = said["line"], said["session"]
        good = (line["profile"] == profile and line["peer"] == NAME
                and session["card"]["serial"] == card.serial)
        return good, (f"TLS {line['tls']} to {line['peer']}; the bank greets "
                      f"{session['customer']['name']}"), said

    def pay(self, reader, card, to, amount):
        self.saved = self.lab.folder / f"order-{reader}-{card.kind}"
        self.receipt = self.lab.folder / f"receipt-{reader}-{card.kind}.p7"
        code, said = self.cardwire(reader, card, "pay", "--to", to.account, "--amount", amount,
                                   "--currency", "EUR", "--reference", "Lunch, thank you", "--yes",
                                   "--save", self.saved, "--receipt", self.receipt)
        if code:
            return False, said.get("detail", f"exit {code}"), said
        self.paid = said
        payment = said["payment"]
        return (not said["replayed"] and payment["amount"] == amount,
                f"{payment['amount']} {payment['currency']} to {payment['payee_name']}; "
                f"balance {said['balance']}", said)

    def replay_refused(self, reader, card):
        before = self.cardwired("report")
        code, said = self.cardwire(reader, card, "pay", "--resend", self.saved)
        if code:
            return False, said.get("detail", f"exit {code}"), said
        after = self.cardwired("report")
        balance = next(a["balance"] for a in self.cardwired(
            "account", "list", "--customer", card.customer)["accounts"])
        good = (said["replayed"] and said["payment"]["id"] == self.paid["payment"]["id"]
                and before["payments"] == after["payments"] and balance == self.paid["balance"])
        return good, (f"same order again over a new line: payment {said['payment']['id']} is booked "
                      f"already; balance still {balance}"), said

    def receipt_proves(self, receipt):
        """What cardwire makes of it, off line: (exit code, JSON)."""
        done = self.lab.run("cardwire", "--json", "receipt", "verify", receipt, "--root", self.bank / "card-root.pem")
        return done.returncode, json_lines(done.stdout)[-1]

    def receipt_holds(self):
        command = ["openssl", "cms", "-verify", "-inform", "DER", "-in", str(self.receipt),
                   "-CAfile", str(self.bank / "card-root.pem")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        text = done.stdout.replace("\r\n", "\n")
        good = done.returncode == 0 and text == self.paid["signed"]
        altered = pathlib.Path(f"{self.receipt}.altered")
        altered.write_bytes(self.receipt.read_bytes().replace(b" EUR\n", b" USD\n", 1))
        command[command.index(str(self.receipt))] = str(altered)
        good = good and subprocess.run(command, capture_output=True, check=False).returncode != 0
        code, said = self.receipt_proves(self.receipt)
        good = good and code == 0 and said["entry"] == self.paid["payment"]["id"]
        good = good and self.receipt_proves(altered)[0] == 1
        return good, ("openssl cms -verify: " + (done.stderr.strip().splitlines() or ["?"])[-1]
                      + f"; booked as entry {said.get('entry')}, which the bank signed; and not for an altered one"), said

    def false_bank_refused(self, reader, card, kind, reason):
        """A TLS server that asks for the card's certificate as the bank does; but it is not the bank."""
        profile = PROFILES["tls13"]
        server = s_server(self.lab, profile, *self.false_banks[kind], trust_in_cards(self.bank))
        try:
            code, said = self.cardwire(reader, card, "login", "--profile", profile.name,
                                       port=server.port)
        finally:
            server.stop()
        good = code == 3 and said.get("reason") == reason and "ESTABLISHED" not in server.seen()
        return good, f"the card: {said.get('reason')}: {said.get('detail', '')}", said

    def make_false_banks(self):
        other = Ca(self.lab.folder / "false-ca", "Cardwire Bank Server Root")
        same = Ca(self.lab.folder / "own-ca", cert=self.bank / "server-root.pem",
                  key=self.bank / "server-root.key")
        self.false_banks = {
            "other root": other.issue(NAME),
            "right root, other name": same.issue("other.cardwire.test"),
            "expired": same.issue(NAME, start=-30 * DAY, end=-DAY),
        }

    def blocked_refused(self, reader, card):
        self.cardwired("card", "block", card.serial)
        code, said = self.cardwire(reader, card, "login")
        self.cardwired("card", "unblock", card.serial)
        again, _ = self.cardwire(reader, card, "login")
        detail = f"the bank: {said.get('detail', '')}"
        if again == 0:
            detail += " (unblocked: lets it in again)"
        return code == 4 and not said.get("ok") and again == 0, detail, said

    def contactless(self, card):
        """The same card on a contactless reader: it logs in, and refuses the order by itself."""
        self.take_cards_out()
        self.insert_cards(["--contactless"])
        before = self.cardwired("report")["payments"]
        good, detail, said = self.login("pcsc", card, "tls13")
        if not good:
            return False, detail, said
        code, said = self.cardwire("pcsc", card, "pay", "--to", self.cards[0].account, "--amount",
                                   "1.00", "--currency", "EUR", "--yes")
        good = code != 0 and not said.get("ok") and self.cardwired("report")["payments"] == before
        return good, f"it logs in; an order: {said.get('detail', '')}", said

    def act(self, reader):
        """Everything that a card can live through, with one kind of reader."""
        ada, ben = self.cards
        self.step("wrong-pin", "wrong PIN", reader, lambda: self.wrong_pin_refused(reader, ada))
        for card in self.cards:
            for profile in PROFILES:
                self.step(f"login-{card.kind}", f"login, {profile}, {card.words}", reader,
                          lambda c=card, p=profile: self.login(reader, c, p), profile)
        for card, to, amount in ((ada, ben, "12.34"), (ben, ada, "2.50")):
            self.step(f"pay-{card.kind}", f"payment, {card.words}", reader,
                      lambda c=card, t=to, a=amount: self.pay(reader, c, t, a), "tls13")
            self.step(f"replay-{card.kind}", "the same payment again", reader,
                      lambda c=card: self.replay_refused(reader, c), "tls13")
            self.step(f"receipt-{card.kind}", "receipt, off line", reader, self.receipt_holds)
        for kind, reason in (("other root", "untrusted"), ("right root, other name", "wrong-name"),
                             ("expired", "expired")):
            self.step("false-bank-" + reason, f"false bank, {kind}", reader,
                      lambda k=kind, r=reason: self.false_bank_refused(reader, ada, k, r), "tls13")
        self.step("blocked", "blocked card", reader, lambda: self.blocked_refused(reader, ben),
                  "tls13")

    def start_daemon(self):
        self.pcscd = Pcscd(self.lab)
        self.insert_cards()
        return True, f"{self.cards[0].readers['pcsc'][5:]} and 01, each with a blank card", None

    def run(self):
        tell = self.tell
        tell.heading("A bank")
        self.step("bank", "bank made and serving", None, self.make_bank)
        tell.heading("A reader: the PC/SC daemon, with two virtual cards")
        tell.begin("pcscd")
        began = time.monotonic()
        try:
            ok, detail, _ = self.start_daemon()
        except LabError as e:
            self.pcscd = None
            ok, detail = None, f"not to be had here, so only in-process: {e}"
        tell.end({"step": "pcscd", "profile": None, "reader": "pcsc", "ok": ok, "detail": detail,
                  "apdus": 0, "bytes_to_card": 0, "bytes_from_card": 0,
                  "ms": round((time.monotonic() - began) * 1000, 1)}, "pcscd and vpcd started")
        first = "pcsc" if self.pcscd else "inproc"
        for card in self.cards:
            self.step(f"issue-{card.kind}", f"issued: {card.words}", first,
                      lambda c=card: self.issue(first, c))
        if any(card.serial is None for card in self.cards):
            return
        self.make_false_banks()
        if self.pcscd:
            tell.heading("Through pcscd and vpcd, each card in a process of its own")
            self.act("pcsc")
            self.step("contactless", "contactless: login, but no order", "pcsc",
                      lambda: self.contactless(self.cards[1]), "tls13")
            self.take_cards_out()
        tell.heading("In process: the same cards, linked into the terminal program")
        self.act("inproc")

    def hints(self):
        programs = pathlib.Path(os.path.relpath(ROOT / "build" / "bin"))
        self.tell.heading("What to try next")
        lines = []
        if self.lab.keep:
            card = self.cards[0]
            reader = card.readers["inproc"]
            if self.pcscd:
                self.insert_cards()
                reader = card.readers["pcsc"]
                lines.append(f"export PCSCLITE_CSOCK_NAME={shlex.quote(str(self.pcscd.socket))}")
            base = (f"{shlex.quote(str(programs / 'cardwire'))} --reader {shlex.quote(reader)} "
                    f"--server 127.0.0.1:{self.port} --pin-file {shlex.quote(str(self.pin))}")
            lines += [f"{base} balance", f"{base} trace",
                      f"{base} pay --to {self.cards[1].account} --amount 1.00 --currency EUR "
                      "--reference Tea",
                      f"{shlex.quote(str(programs / 'cardwired'))} --dir "
                      f"{shlex.quote(str(self.bank))} report"]
            pids = [p.pid for p in self.lab.processes if p.poll() is None]
            lines.append(f"kill {' '.join(map(str, pids))}; rm -r {shlex.quote(str(self.lab.folder))}"
                         "     # when done")
        else:
            here = pathlib.Path(os.path.relpath(ROOT))

            def command(name):
                return shlex.quote(str(here / name) if here.parts else f"./{name}")
            lines = [f"{command('demo')} --keep        # the same, and leaves bank, cards and reader "
                     "for you",
                     f"{command('test')} --quick       # what proves it",
                     f"{command('build/bin/cardwire')} --help",
                     f"{command('build/bin/cardwired')} --help",
                     f"less {command('README.md')}     # your own bank and card, step by step"]
        for line in lines:
            print(f"  {line}")


def main():
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", action="store_true", help="one JSON object a step")
    parser.add_argument("--keep", action="store_true",
                        help="leave bank, cards and reader running, and say how to use them")
    options = parser.parse_args()
    stop_on_signals()
    tell = Telling(options.json)
    try:
        with Lab(keep=options.keep) as lab:
            demo = Demo(lab, tell)
            demo.run()
            held = tell.failed == 0 and tell.count > 0
            if not options.json:
                print(f"\n{tell.count - tell.failed} of {tell.count} steps held.")
                demo.hints()
            elif options.keep:
                if demo.pcscd:
                    demo.insert_cards()
                print(f"demo: kept in {lab.folder}", file=sys.stderr)
            return 0 if held else 1
    except (LabError, OSError) as e:
        print(f"demo: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
