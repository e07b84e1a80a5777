"""`cardwire trace`: every step of the source is there, in the order of the wire; what it says of records is
what a tap on the wire saw; and no secret is in it. Of full handshakes: what a resumed line shows is in
test_resume.py."""

import re
import types

import pytest

from cardwire_lab import Ca, Lab, Tap, json_lines, trust_in_cards, wait_for
from foreign import s_server, PROFILES
from tls12 import records

PIN = "8315927046"
CONTENT = {20: "change_cipher_spec", 21: "alert", 22: "handshake", 23: "application_data"}
STEPS = ["1", "2", "3", "4", "5", "6a", "6b", "6c", "7", "8", "9", "10", "11", "12"]


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        folder, pin = lab.folder / "bank", lab.file("pin", PIN + "\n")
        assert lab.run("cardwired", "init", folder).returncode == 0
        assert lab.run("cardwired", "--dir", folder, "customer", "add", "--name", "Ada").returncode == 0
        card = f"inproc:{lab.folder}/card"
        assert lab.issue(folder, 1, card, "--key", "both", "--pin-file", pin).returncode == 0
        port_file, keylog = lab.folder / "port", lab.folder / "keylog"
        process = lab.start("cardwired", [
            lab.program("cardwired"), "--dir", folder, "serve", "--listen", "127.0.0.1:0",
            "--port-file", port_file, "--insecure-keylog", keylog])
        port = wait_for("the bank naming its port", lambda: port_file.exists()
                        and port_file.read_text().strip(), process)

        def trace(profile, *options, server=int(port)):
            tap = Tap(server)
            done = lab.run("cardwire", "--reader", card, "--server", f"127.0.0.1:{tap.port}",
                           "--pin-file", pin, "--full", "--profile", profile, *options, "trace")
            tap.close()
            return done, tap
        yield types.SimpleNamespace(lab=lab, folder=folder, trace=trace, keylog=keylog)


def steps_of(text):
    """'6b, 7, 8' and '9-12' and '5 (6b)' -> step numbers."""
    found = set()
    for part in re.split(r"[,() ]+", text):
        first, dash, last = part.partition("-")
        found |= set(map(str, range(int(first), int(last) + 1))) if dash else {part}
    return found


@pytest.mark.parametrize("key", ["p256", "rsa"])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_step_is_there_in_the_order_of_the_wire(bank, profile, key):
    done, _ = bank.trace(profile, "--key", key, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json_lines(done.stdout)
    rows = [s for s in said if s["type"] == "step"]
    covered = set().union(*(steps_of(r["step"]) for r in rows))
    assert not set(STEPS) - covered
    assert all(r["claims"] for r in rows)
    assert all(r["result"] in (None, "held") for r in rows)
    # Hello before its answer, the checks of the server before anything of the card's is given away
    what = [(r["who"], r["what"]) for r in rows]
    assert what.index(("card checks", "random")) < what.index(("card -> server", "ClientHello"))
    for check in ("chain", "name", "dates", "usage"):
        assert what.index(("card checks", check)) < what.index(("card -> server", "Certificate"))
    assert what[-1] == ("card -> server", "POST /v1/session")
    assert said[-1]["ok"] is True and said[-1]["line"]["profile"] == profile


@pytest.mark.parametrize("profile", PROFILES)
def test_records_are_those_of_the_wire(bank, profile):
    done, tap = bank.trace(profile, "--json", "--handshake-only")
    assert done.returncode == 0, done.stdout + done.stderr
    told = [s for s in json_lines(done.stdout) if s["type"] == "record"]
    for who in ("card", "server"):
        here = [(r["content"], r["length"]) for r in told if r["from"] == who]

        def passed():  # what the tap has seen; it may lag behind the program's end
            wire = tap.to_server if who == "card" else tap.to_client
            want = [(CONTENT[kind], len(fragment)) for kind, _, fragment in records(wire)]
            return want if len(want) >= len(here) else None
        assert here and here == wait_for("the tap seeing it all", passed)[:len(here)]


@pytest.mark.parametrize("profile", PROFILES)
def test_no_secret_in_a_trace(bank, profile):
    outputs = [bank.trace(profile, *options)[0] for options in ((), ("--json",))]
    text = "".join(d.stdout + d.stderr for d in outputs).lower()
    secrets = {line.split()[2].lower() for line in bank.keylog.read_text().splitlines()
               if len(line.split()) == 3}
    assert len(secrets) >= 2
    assert not any(s in text or s[:32] in text for s in secrets)
    assert PIN not in text


def test_trace_shows_what_the_card_refused(bank):
    strange = Ca(bank.lab.subfolder("strange"))
    cert, key = strange.issue("bank.cardwire.test")
    server = s_server(bank.lab, PROFILES["tls13"], cert, key, trust_in_cards(bank.folder))
    try:
        done, _ = bank.trace("tls13", "--json", server=server.port)
    finally:
        server.stop()
    assert done.returncode == 3
    said = json_lines(done.stdout)
    refused = [s for s in said if s.get("type") == "step" and s["result"] not in (None, "held")]
    assert [(r["what"], r["result"]) for r in refused][0] == ("chain", "untrusted")
    assert not any(s.get("what") == "own-signature" for s in said)
