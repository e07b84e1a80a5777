"""Cards with a PIV application, for tests that use it with software that nobody here wrote: issued by hand
through the issuer's secure channel, in the private PC/SC daemon of the lab, with an environment for the tools
in which nothing of the user's own is seen or written."""

import contextlib
import os
import pathlib
import socket
import ssl
import subprocess
import threading

import pytest
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.kdf.kbkdf import CounterLocation, KBKDFCMAC, Mode

from cardwire_lab import ApduTap, Ca, LabError, Pcscd
from chip_lab import insert_chip
from rawcard import OWN, Issuer, RawCard, personalise, policy
from scp03 import Keys

SERVER = "server.cardwire.test"
PIV_PIN, PIV_PUK = "314159", "27182818"
ALGORITHM = {"3des": 0x03, "aes128": 0x08, "aes192": 0x0A, "aes256": 0x0C}
# Odd parity, which some tools want of a DES key, and three different keys.
ADMIN = {"3des": bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123"),
         "aes128": bytes(range(0xA0, 0xB0)), "aes192": bytes(range(0xA0, 0xB8)),
         "aes256": bytes(range(0xA0, 0xC0))}
OPENSC = next(map(str, pathlib.Path("/usr/lib").glob("*/opensc-pkcs11.so")), None)
ENGINE = next(map(str, pathlib.Path("/usr/lib").glob("*/engines-3/pkcs11.so")), None)
# What each key is used for, as its certificate says it; and its number in PKCS #11
USAGE = {"9a": "digitalSignature", "9c": "digitalSignature,nonRepudiation", "9d": "keyEncipherment",
         "9e": "digitalSignature"}
ID = {"9a": "01", "9c": "02", "9d": "03", "9e": "04"}


def put_piv(issuer, admin="3des"):
    """PIN, PUK and administration key of the PIV application, through an Issuer's channel."""
    issuer.put_pin(2, PIV_PIN)
    issuer.put_pin(3, PIV_PUK)
    issuer.put(0x0A00, bytes([ALGORITHM[admin]]) + ADMIN[admin])


def piv_card(lab, folder, cards, servers, admin="3des", terms=None):
    """Makes the card in `folder`: active, with a line of its own and PIV; its serial. cards, servers: Ca."""
    with RawCard(lab, folder) as card:
        serial = personalise(card, cards, [servers.cert], {SERVER: 7},
                             terms=terms or policy())
        card.select()
        put_piv(Issuer(card, OWN), admin)
    return serial


def bank_key(bank, serial, label):
    """A key of one of the bank's cards, from the master key in its folder (docs/scp03.md)."""
    master = bytes.fromhex((bank / "issuer.key").read_text())
    return KBKDFCMAC(algorithms.AES, Mode.CounterMode, 16, 4, 4, CounterLocation.BeforeFixed, label,
                     bytes.fromhex(serial), None).derive(master)


def bank_keys(bank, serial):
    """Its key set for the secure channel."""
    return Keys(*(bank_key(bank, serial, label) for label in (b"ENC", b"MAC", b"DEK")))


# The algorithm of each key, as yubico-piv-tool names it
MIXES = {"rsa": {"9a": "RSA2048", "9c": "RSA2048", "9d": "RSA2048", "9e": "ECCP256"},
         "p256": {"9a": "ECCP256", "9c": "ECCP256", "9d": "ECCP256", "9e": "RSA2048"}}

# For fixtures: what piv_desk takes. The card is a program, or firmware on a chip.
DESKS = [*(pytest.param({"mix": mix}, id=mix) for mix in MIXES),
         *(pytest.param({"mix": mix, "board": board}, id=f"{mix}-{board}", marks=pytest.mark.slow)
           for mix, board in (("rsa", "an385"), ("p256", "an505")))]


def piv_desk(lab, mix, terms=None, board=None):
    """A Desk whose card has the keys of that mix, certified by the Ca in .ca for "Ada" and the slot: .mix,
    .certificates by slot."""
    piv_card(lab, lab.folder / "card", Ca(lab.folder / "cards"), Ca(lab.folder / "servers"), terms=terms)
    desk = Desk(lab, lab.folder / "card", board=board)
    desk.mix, desk.ca = MIXES[mix], Ca(lab.folder / "holders", "Holders")
    desk.certificates = {slot: desk.generate(slot, algorithm, desk.ca, f"Ada {slot}")
                         for slot, algorithm in desk.mix.items()}
    return desk


class Desk:
    """A PC/SC daemon with one card in it, a program or the chip on that board, and the tools at it."""

    def __init__(self, lab, folder, options=(), board=None, tapped=False):
        """tapped: .tap, an ApduTap, sees what a card that is a program is told and says."""
        self.lab, self.folder = lab, folder
        self.pcscd = Pcscd(lab)
        self.tap = ApduTap(self.pcscd.port) if tapped else None
        if board:
            self.card = insert_chip(lab, self.pcscd, folder, board)
        else:
            self.card = self.pcscd.insert(lab, [folder], self.tap and self.tap.port, options)[0]
        self.home = lab.subfolder("home")
        self.env = dict(lab.env, **self.pcscd.env, HOME=str(self.home), TMPDIR=str(self.home))
        for name in ("SSH_AUTH_SOCK", "OPENSC_CONF", "OPENSSL_CONF", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            self.env.pop(name, None)

    def run(self, *command, code=0, env=None, **options):
        """A tool to its end; what it said on both. code: the exit code it must have, None: any but 0, "any":
        it tells nothing."""
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        done = subprocess.run([str(c) for c in command], env=dict(self.env, **(env or {})),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=300, check=False, **options)
        print("$", *command)
        print(done.stdout)
        good = code == "any" or (done.returncode == code if code is not None else done.returncode != 0)
        assert good, f"{command[0]}: exit {done.returncode}: {done.stdout}"
        return done.stdout

    def yubico(self, *args, **options):
        return self.run("yubico-piv-tool", "--reader", self.pcscd.NAME, *args, **options)

    def admin(self, *args, **options):
        return self.yubico(f"--key={ADMIN['3des'].hex()}", *args, **options)

    def pkcs11(self, *args, pin=PIV_PIN, **options):
        login = ["--login", "--pin", pin] if pin else []
        return self.run("pkcs11-tool", "--module", OPENSC, *login, *args, **options)

    def path(self, name):
        return self.home / name

    def generate(self, slot, algorithm, ca, name="Ada Example", **options):
        """A new key in the slot and its certificate by `ca`; .path(slot.pub), .path(slot.pem)."""
        public, certificate = self.path(f"{slot}.pub"), self.path(f"{slot}.pem")
        self.admin("-a", "generate", "-s", slot, "-A", algorithm, "-o", public)
        usage = "keyAgreement" if slot == "9d" and algorithm == "ECCP256" else USAGE[slot]
        certify(ca, public, certificate, name, usage, **options)
        self.admin("-a", "import-certificate", "-s", slot, "-i", certificate)
        return certificate

    def take_certificate(self, slot):
        """The certificate that is in the card, and its key; .path(slot.pub), .path(slot.pem)."""
        public, certificate = self.path(f"{slot}.pub"), self.path(f"{slot}.pem")
        self.run("pkcs15-tool", "--read-certificate", ID[slot], "--output", certificate)
        self.run("openssl", "x509", "-in", certificate, "-noout", "-pubkey", "-out", public)
        return certificate


def certify(ca, public, out, name, usage, extended="clientAuth"):
    """A certificate for a public key, without a request: a PIV card signs none for its key 9D."""
    ca.count += 1
    base = f"{ca.count}-piv"
    (ca.folder / f"{base}.ext").write_text(
        f"basicConstraints = critical,CA:FALSE\nkeyUsage = critical,{usage}\nextendedKeyUsage = {extended}\n")
    ca.openssl("x509", "-new", "-force_pubkey", public, "-subj", f"/CN={name}", "-CA", ca.cert, "-CAkey",
               ca.key, "-days", "365", "-set_serial", 1000 + ca.count, "-extfile", f"{base}.ext",
               "-sha256", "-out", out)


def engine_config(desk):
    """openssl.cnf with the pkcs11 engine on OpenSC's module; for OPENSSL_CONF."""
    if not ENGINE:
        raise LabError("the engine pkcs11 is not installed; scripts/setup test installs it")
    path = desk.path("engine.cnf")
    path.write_text("openssl_conf = conf\n[conf]\nengines = engines\n[engines]\npkcs11 = pkcs11\n[pkcs11]\n"
                    f"engine_id = pkcs11\ndynamic_path = {ENGINE}\nMODULE_PATH = {OPENSC}\ninit = 0\n")
    return str(path)


def key_uri(slot, pin=PIV_PIN):
    return f"pkcs11:id=%{ID[slot]};type=private;pin-value={pin}"


class TlsServer:
    """Wants a certificate by `ca`, says over HTTP whose it got."""

    def __init__(self, folder, ca):
        servers = Ca(folder / "tls", "Web Root")
        self.root = servers.cert
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*servers.issue(SERVER))
        self.context.load_verify_locations(ca.cert)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError, ssl.SSLError), client:
            client.settimeout(60)
            with self.context.wrap_socket(client, server_side=True) as line:
                line.recv(4096)
                subject = dict(x[0] for x in line.getpeercert()["subject"])["commonName"]
                body = f"hello {subject} over {line.version()}\n"
                line.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                line.unwrap()

    def close(self):
        """An accept() that nobody wakes would take a client of the next server, whose socket has its number."""
        self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()


def curl(desk, server, slot, certificate, *options, code=0):
    """A page of a TlsServer by curl, with the key in the slot through OpenSC; what it said."""
    return desk.run("curl", "--silent", "--show-error", "--connect-to", f"{SERVER}:443:127.0.0.1:{server.port}",
                    "--cacert", server.root, "--engine", "pkcs11", "--key-type", "ENG", "--key",
                    key_uri(slot), "--cert", certificate, *options, f"https://{SERVER}/", code=code,
                    env={"OPENSSL_CONF": engine_config(desk)})
