"""The source's scheme, proved from the wire and from the server's side (profile `rsa`; CN102768744A
[0049]-[0063]): one line of `cardwire connect` through the real pcscd to `openssl s_server`, with every APDU
and every TLS record recorded, the server's key log beside it, and the terminal's memory dumped while the
line is open. The card is in another process."""

import os
import re
import shutil
import subprocess
import types

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding

import tls12
from cardwire_lab import ApduTap, Ca, Lab, Pcscd, Tap, wait_for
from foreign import PROFILES, s_server, subject_seen
from rawcard import PIN, RawCard, personalise

NAME = "server.cardwire.test"
MARK = "this-is-in-the-terminals-memory-for-certain"
HELLO, OLLEH = "line-from-the-holder", "line-from-the-holder"[::-1]


def dump_memory(process, folder):
    """The core of a running process; None with a reason when the system forbids it."""
    done = subprocess.run(["gcore", "-o", str(folder / "core"), str(process.pid)],
                          capture_output=True, text=True, check=False)
    core = folder / f"core.{process.pid}"
    return core.read_bytes() if core.exists() else None, done.stderr.strip()


@pytest.fixture(scope="module", params=["rsa", "p256"])
def captured(request):
    with Lab() as lab:
        profile = PROFILES["rsa"]
        servers, cards = Ca(lab.folder / "server-ca"), Ca(lab.folder / "card-ca", "Card Root")
        cert, key = servers.issue(NAME, profile.kind, profile.usage)
        keylog = lab.folder / "keylog"
        server = s_server(lab, profile, cert, key, cards.cert, extra=["-keylogfile", keylog])
        net = Tap(server.port)
        state = lab.folder / "card"
        with RawCard(lab, state) as blank:
            serial = personalise(blank, cards, [servers.cert], {NAME: 7}, (request.param,))
        pcscd = Pcscd(lab)
        wire = ApduTap(pcscd.port)
        pcscd.insert(lab, [state], wire.port)
        env = dict(lab.env, CARDWIRE_MARK=MARK, **pcscd.env)
        out = lab.folder / "out"
        with open(out, "wb") as stdout:
            terminal = lab.start("cardwire", [
                lab.program("cardwire"), "--reader", pcscd.reader(0), "--server",
                f"127.0.0.1:{net.port}", "--name", NAME, "--profile", "rsa", "--pin-file",
                lab.file("pin", PIN + "\n"), "connect"], env=env, stdin=subprocess.PIPE, stdout=stdout)
        terminal.stdin.write(HELLO.encode() + b"\n")
        terminal.stdin.flush()
        wait_for("the server's answer", lambda: OLLEH in out.read_text(), terminal)
        core, why_not = dump_memory(terminal, lab.folder)
        terminal.stdin.close()
        terminal.wait(60)
        subject_seen(server, serial)
        wire.close()

        capture = tls12.Capture(net.to_server, net.to_client)
        server_key = serialization.load_pem_private_key(key.read_bytes(), None)
        premaster = server_key.decrypt(capture.encrypted_premaster, padding.PKCS1v15())
        master = capture.master(premaster)
        yield types.SimpleNamespace(
            capture=capture, server_key=server_key, servers=servers, serial=serial, premaster=premaster,
            master=master, keys=capture.keys(master), keylog=keylog.read_text(), apdus=wire.apdus,
            core=core, why_not=why_not, kind=request.param, exit=terminal.returncode, lab=lab,
            server_cert=cert)


def test_line_worked(captured):
    assert captured.exit == 0
    assert captured.capture.suite in (0x009C, 0x009D)


def test_randoms_of_32_bytes_from_both(captured):
    """Steps 1, 2, 3: the client's is in the ClientHello, which comes out of the card as it is."""
    client, server = captured.capture.client_random, captured.capture.server_random
    assert len(client) == len(server) == 32 and client != server
    assert len(set(client)) > 8 and len(set(server)) > 8
    from_card = [a for to_card, a in captured.apdus if not to_card]
    assert any(client in a for a in from_card)
    assert any(server in a for to_card, a in captured.apdus if to_card)


def test_server_sends_hello_certificate_request(captured):
    """Step 4."""
    kinds = [m.kind for m in captured.capture.server]
    assert kinds == [tls12.SERVER_HELLO, tls12.CERTIFICATE, tls12.CERTIFICATE_REQUEST,
                     tls12.SERVER_HELLO_DONE]


def test_premaster_is_the_version_and_46_random_bytes(captured):
    """Step 6a, RFC 5246 §7.4.7.1."""
    assert len(captured.premaster) == 48
    assert captured.premaster[:2] == b"\x03\x03"  # the version of the ClientHello
    assert len(set(captured.premaster[2:])) > 16


def test_secret_opens_only_under_the_servers_key(captured):
    """Step 6b: RSA PKCS#1 v1.5 under the key of the server's certificate. Another key of that length gives
    an error or, where the library hides errors, other bytes."""
    encrypted = captured.capture.encrypted_premaster
    assert len(encrypted) == captured.server_key.key_size // 8
    leaf = captured.capture.certificates("server")[0]
    assert leaf.public_key().public_numbers() == captured.server_key.public_key().public_numbers()
    _, other = captured.servers.issue("unused.test", "rsa", "keyEncipherment")
    other = serialization.load_pem_private_key(other.read_bytes(), None)
    try:
        assert other.decrypt(encrypted, padding.PKCS1v15()) != captured.premaster
    except ValueError:
        pass


def test_card_signed_the_hash_of_the_handshake(captured):
    """Step 6c: CertificateVerify holds over the whole transcript, both randoms in it, under the key of the
    card's certificate, and over no other transcript."""
    signed = captured.capture.transcript(tls12.CLIENT_KEY_EXCHANGE)
    assert captured.capture.client_random in signed and captured.capture.server_random in signed
    captured.capture.verify_certificate_verify()


def test_client_sends_certificate_secret_and_signature(captured):
    """Steps 7, 8."""
    kinds = [m.kind for m in captured.capture.client]
    assert kinds == [tls12.CLIENT_HELLO, tls12.CERTIFICATE, tls12.CLIENT_KEY_EXCHANGE,
                     tls12.CERTIFICATE_VERIFY]
    leaf = captured.capture.certificates("client")[0]
    assert captured.serial in leaf.subject.rfc4514_string().lower()


def test_server_has_the_same_master_secret(captured):
    """Step 11: what the server logged is what follows from the secret that the card sent it."""
    line = re.search(rf"^CLIENT_RANDOM {captured.capture.client_random.hex()} ([0-9a-f]{{96}})$",
                     captured.keylog, re.M | re.I)
    assert line and bytes.fromhex(line.group(1)) == captured.master
    assert captured.capture.extended_master_secret  # RFC 7627: bound to the whole handshake


def test_session_keys_open_both_directions(captured):
    """Step 12: keys derived from it open every record of both sides, and only they do."""
    for side, text in (("client", HELLO), ("server", OLLEH)):
        found = captured.capture.protected(side, captured.keys)
        kind, finished = found[0]
        assert kind == tls12.HANDSHAKE
        assert finished[:4] == b"\x14\x00\x00\x0c"
        assert finished[4:] == captured.capture.finished(side, captured.master)
        assert b"".join(p for k, p in found if k == tls12.DATA) == text.encode() + b"\n"
    wrong = captured.capture.keys(bytes(48))
    with pytest.raises(InvalidTag):
        captured.capture.protected("client", wrong)


def secrets(captured):
    found = {"premaster": captured.premaster, "premaster without its version": captured.premaster[2:],
             "master secret": captured.master,
             "client's key": captured.keys["client_key"], "server's key": captured.keys["server_key"]}
    assert all(len(set(v)) > 8 for v in found.values())
    return found


def test_no_secret_in_any_apdu(captured):
    """Every APDU between daemon and card, each alone and all joined, in both directions."""
    assert len(captured.apdus) > 10
    sides = [b"".join(a for to_card, a in captured.apdus if to_card is way) for way in (True, False)]
    # Data fields alone as well: a secret cut in two by the header of an APDU.
    sides.append(b"".join(a[5:] for to_card, a in captured.apdus if to_card))
    sides.append(b"".join(a[1:-2] for to_card, a in captured.apdus if not to_card))
    assert any(captured.capture.server_random in s for s in sides)  # the search does find things
    for name, secret in secrets(captured).items():
        assert not any(secret in s for s in sides), name


def test_no_secret_in_the_terminals_memory(captured):
    if captured.core is None:
        pytest.skip(f"no core dump here: {captured.why_not or 'gcore is not installed'}")
    assert MARK.encode() in captured.core  # the search does find things
    for name, secret in secrets(captured).items():
        assert secret not in captured.core, name
        assert secret[:16] not in captured.core, f"beginning of the {name}"


def test_pin_is_in_verify_and_wiped(captured):
    """The PIN goes to the card in VERIFY (00 20), in no other command, and is gone from the terminal's
    memory while the line is open. That each copy is wiped, and not only written over: test_pin.py."""
    with_pin = [a for _, a in captured.apdus if PIN.encode() in a]
    assert [a[:4].hex() for a in with_pin] == ["00200081"]
    if captured.core is None:
        pytest.skip(f"no core dump here: {captured.why_not or 'gcore is not installed'}")
    assert PIN.encode() not in captured.core


def test_search_of_memory_finds_a_secret_that_is_there(tmp_path):
    """The control: a process that does hold a secret is caught."""
    if not shutil.which("gcore"):
        pytest.skip("gcore is not installed")
    secret = os.urandom(24).hex()
    with Lab() as lab:
        process = lab.start("sleeper", ["sleep", "600"], env=dict(lab.env, SECRET=secret))
        wait_for("sleep taking over", lambda: b"sleep" in open(
            f"/proc/{process.pid}/cmdline", "rb").read(), process)
        core, why_not = dump_memory(process, tmp_path)
    if core is None:
        pytest.skip(f"no core dump here: {why_not}")
    assert secret.encode() in core
