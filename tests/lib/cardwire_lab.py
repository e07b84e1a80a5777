"""The lab: bank, cards, readers and foreign servers as processes of their own, in a temporary folder,
on ports picked free. Used by scripts/demo.py and by tests/system. Python 3 and openssl(1) only.

Two labs side by side do not disturb each other: each has its own pcscd on its own socket, and stops
only what it started, by pid. Nothing here waits for a fixed time: it waits for what must be true.
"""

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds until something that must happen is called a failure; no measure of speed

# Terms of `card issue` under which nothing but the PIN stands between the holder and an order.
OPEN_TERMS = ("--payees", "any", "--limit", "none")

# Binds nothing itself: takes a listening socket as descriptor 3, as systemd would hand it over
# (sd_listen_fds(3)), because the path of pcscd's socket is compiled in.
ACTIVATE = """
import os, sys
fd = int(sys.argv[1])
os.dup2(fd, 3)
if fd != 3:
    os.close(fd)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[2], sys.argv[2:])
"""


class LabError(Exception):
    """A part of the lab cannot be had; the text is a sentence for the person."""


def free_ports(count=1):
    """`count` neighbouring TCP ports on loopback that nobody holds now."""
    for _ in range(200):
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            if port + count > 65535:
                continue
            try:
                for i in range(1, count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port + i))
            except OSError:
                continue
            return port
    raise LabError("no free TCP port on 127.0.0.1; close what holds them and try again")


def wait_for(what, condition, process=None):
    """Waits until condition() is true; raises LabError when it never is or `process` has died."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if process is not None and process.poll() is not None:
            raise LabError(f"{what}: {process.name} ended with code {process.returncode}; "
                           f"it said: {process.tail()}")
        if time.monotonic() > deadline:
            said = f"; {process.name} said: {process.tail()}" if process is not None else ""
            raise LabError(f"{what} did not happen in {PATIENCE:.0f} s{said}")
        time.sleep(0.01)


def readable(fd, seconds):
    """Whatever its number is: select() ends at 1023."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0, seconds) * 1000))


def port_open(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def port_listening(port):
    """Like port_open, but without a connection that a one-shot server would take for its client."""
    want = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as f:
                if any(row[1].endswith(want) and row[3] == "0A"
                       for row in (line.split() for line in f)):
                    return True
        except OSError:
            pass
    return False


class Process(subprocess.Popen):
    """A process of the lab; what it says is kept in a file."""

    def __init__(self, name, command, log, **options):
        self.name = name
        self.log = pathlib.Path(log)
        options.setdefault("stdin", subprocess.DEVNULL)
        with open(self.log, "ab") as out:
            options.setdefault("stdout", out)
            super().__init__([str(c) for c in command], stderr=out, **options)

    def said(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def tail(self, lines=6):
        return " | ".join(self.said().strip().splitlines()[-lines:]) or "nothing"

    def stop(self):
        if self.poll() is None:
            self.terminate()
            try:
                self.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
                self.wait()
        if self.stdin:
            self.stdin.close()


class Pcscd:
    """A private PC/SC daemon with two virtual slots (vsmartcard's vpcd), for two cards."""

    SLOTS = 2
    NAME = "Virtual PCD"

    def __init__(self, lab):
        if not shutil.which("pcscd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise LabError("pcscd is not installed; scripts/setup run installs it")
        driver = next(pathlib.Path("/usr/lib").glob("**/pcsc/drivers/serial/libifdvpcd.so"), None)
        if driver is None:
            raise LabError("the driver vpcd is not installed; scripts/setup run installs it")
        self.folder = lab.subfolder("pcscd")
        self.socket = self.folder / "s"
        last = None
        for _ in range(3):  # somebody may take the port between our looking and its use
            try:
                self._start(lab, driver)
                return
            except LabError as e:
                last = e
        raise last

    def _start(self, lab, driver):
        self.port = free_ports(self.SLOTS)
        conf = self.folder / "conf"
        conf.mkdir(exist_ok=True)
        (conf / "vpcd").write_text(
            f'FRIENDLYNAME "{self.NAME}"\n'
            f"DEVICENAME /dev/null:0x{self.port:04X}\n"
            f"LIBPATH {driver}\n"
            f"CHANNELID 0x{self.port:04X}\n", encoding="utf-8")
        self.socket.unlink(missing_ok=True)
        env = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        known = subprocess.run(["pcscd", "--help"], capture_output=True, text=True, env=env,
                               check=False).stdout
        # Since 2.0 the daemon asks polkit, which is not there on a plain system or in a container.
        extra = ["--disable-polkit"] if "--disable-polkit" in known else []
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.socket))
            listener.listen(16)
            self.process = lab.start(
                "pcscd", [sys.executable, "-c", ACTIVATE, listener.fileno(), "pcscd", "--foreground",
                          "--info", "--config", conf, *extra],
                env=env, pass_fds=(listener.fileno(),))
        try:
            wait_for("pcscd opening its virtual slots",
                     lambda: all(port_listening(self.port + i) for i in range(self.SLOTS)),
                     self.process)
        except LabError:
            self.process.stop()
            raise

    @property
    def env(self):
        return {"PCSCLITE_CSOCK_NAME": str(self.socket)}

    def reader(self, slot):
        return f"pcsc:{self.NAME} 00 {slot:02d}"

    def insert(self, lab, folders, port=None, options=()):
        """Puts the cards in these folders into the slots, each a process of its own, and waits until the
        daemon has noticed them. port: instead of the daemon's own, for a tap in between. options: of
        cardwire-card."""
        cards = [lab.start("cardwire-card", [
            lab.program("cardwire-card"), "--state", folder, "--vpcd",
            f"127.0.0.1:{(port or self.port) + slot}", *options]) for slot, folder in enumerate(folders)]
        self.notice(lab, cards)
        return cards

    def notice(self, lab, cards):
        """Waits until the daemon has noticed these cards, which are processes."""
        env = dict(lab.env, **self.env)

        def all_there():
            said = json_lines(lab.run("cardwire", "--json", "readers", env=env).stdout)
            return said and sum(r["card"] for r in said[-1].get("readers", [])) == len(cards)
        wait_for("the PC/SC daemon noticing the cards", all_there, cards[0])


class ApduTap:
    """Stands between pcscd and a card (the protocol of vpcd: two bytes of length, then an APDU) and
    keeps a copy of each APDU. A payload of one byte is control: off, on, reset, ATR; the last ATR and the
    number of times that the card was powered or reset are kept as well."""

    def __init__(self, upstream_port):
        self.upstream_port = upstream_port
        self.apdus = []  # (to_card, bytes)
        self.atr, self.resets = b"", 0
        self._atr_next = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._sockets = [self._server]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            card, _ = self._server.accept()
            daemon = socket.create_connection(("127.0.0.1", self.upstream_port))
        except OSError:
            return
        self._sockets += [card, daemon]
        for s in (card, daemon):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pump, args=(daemon, card, True), daemon=True).start()
        self._pump(card, daemon, False)

    def _pump(self, source, sink, to_card):
        with contextlib.suppress(OSError):
            while True:
                head = self._read(source, 2)
                body = self._read(source, struct.unpack(">H", head)[0])
                if to_card and len(body) == 1:
                    self._atr_next = body == b"\x04"
                    self.resets += body in (b"\x01", b"\x02")
                elif not to_card and self._atr_next:
                    self._atr_next = False
                    self.atr = body
                else:
                    self.apdus.append((to_card, body))
                sink.sendall(head + body)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _read(s, count):
        data = b""
        while len(data) < count:
            with contextlib.suppress(OSError):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            part = s.recv(count - len(data))
            if not part:
                raise OSError("closed")
            data += part
        return data

    def close(self):
        for s in self._sockets:
            with contextlib.suppress(OSError):
                s.close()


class Tap:
    """A TCP proxy on loopback that records both directions and may change them on the way.
    change(to_server, bytes, state) -> bytes; state is a dict kept for the connection."""

    def __init__(self, upstream_port, change=None):
        self.upstream_port, self.change = upstream_port, change
        self.to_server, self.to_client = bytearray(), bytearray()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._closed = False
        self._ends = []  # of connections: close() wakes who waits there
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while not self._closed:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.upstream_port))
            except OSError:
                client.close()
                continue
            self._ends += [client, server]
            state = {}
            for a, b, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=(a, b, up, state), daemon=True).start()

    def _pump(self, source, sink, up, state):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.change:
                    data = self.change(up, data, state)
                (self.to_server if up else self.to_client).extend(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self._closed = True
        for end in [self._server, *self._ends]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Ca:
    """A certification authority made with openssl(1), for servers that are honest or not."""

    CONFIG = """[ca]
default_ca = here
[here]
database = index.txt
new_certs_dir = .
default_md = sha256
unique_subject = no
rand_serial = yes
policy = any
[any]
commonName = supplied
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[req]
distinguished_name = none
[none]
"""

    def __init__(self, folder, name="Test Root", cert=None, key=None, kind="ec"):
        """With cert and key: an authority that is there already (the bank's own, in a test). kind: of its key."""
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.count = 0
        self.above = ""  # the certificates between this authority's leaves and the root, PEM
        (self.folder / "index.txt").write_text("")
        (self.folder / "ca.cnf").write_text(self.CONFIG)
        if cert:
            self.cert, self.key = pathlib.Path(cert).resolve(), pathlib.Path(key).resolve()
            return
        self.cert, self.key = self.folder / "root.pem", self.folder / "root.key"
        self.make_key(self.key, kind)
        self.openssl("req", "-config", "ca.cnf", "-x509", "-new", "-key", self.key, "-days", "3650",
                     "-subj", name if name.startswith("/") else f"/CN={name}", "-extensions", "root", "-out", self.cert)

    def openssl(self, *args):
        done = subprocess.run(["openssl", *map(str, args)], cwd=self.folder, capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise LabError(f"openssl {args[0]} failed: {done.stderr.strip()}")
        return done.stdout

    def make_key(self, path, kind):
        option = {"ec": ("EC", "ec_paramgen_curve:P-256"), "rsa": ("RSA", "rsa_keygen_bits:2048")}
        algorithm, parameter = option[kind]
        self.openssl("genpkey", "-algorithm", algorithm, "-pkeyopt", parameter, "-out", path)

    def issue(self, name, kind="ec", usage="digitalSignature", extended="serverAuth", authority=False,
              key=None, start=None, end=None, san=None, extra=()):
        """A certificate for DNS name `name`; returns (certificate with the intermediates above it, key),
        paths of PEM files. start, end: seconds from now. usage, extended, san: extension values, ""
        leaves them out (usage: what the kind of key is used for in TLS; san: the name, if None). extra:
        more lines of extensions. authority: True or the value of basicConstraints."""
        self.count += 1
        base = f"{self.count}"
        path = self.folder / f"{base}.pem"
        if key is None:
            key = self.folder / f"{base}.key"
            self.make_key(key, kind)
        self.openssl("req", "-config", "ca.cnf", "-new", "-key", key, "-subj", f"/CN={name}",
                     "-out", f"{base}.csr")
        constraints = {True: "CA:TRUE", False: "CA:FALSE"}.get(authority, authority)
        san = f"DNS:{name}" if san is None else san
        extensions = [f"{extension} = {value}" for extension, value in (
            ("basicConstraints", f"critical,{constraints}"), ("subjectAltName", san),
            ("keyUsage", usage and f"critical,{usage}"), ("extendedKeyUsage", extended)) if value]
        extensions += extra
        (self.folder / f"{base}.ext").write_text("\n".join(extensions) + "\n")
        now = time.time()
        stamp = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(now + s))
                 for s in (start if start is not None else -86400,
                           end if end is not None else 365 * 86400)]
        self.openssl("ca", "-config", "ca.cnf", "-batch", "-notext", "-cert", self.cert,
                     "-keyfile", self.key, "-in", f"{base}.csr", "-out", path,
                     "-extfile", f"{base}.ext", "-startdate", stamp[0], "-enddate", stamp[1])
        path.write_text(path.read_text() + self.above)
        return path, pathlib.Path(key)

    def intermediate(self, name="Test Intermediate", usage="keyCertSign,cRLSign", extended="",
                     authority=True, kind="ec", **options):
        """An authority under this one; what it issues carries the chain up to the root, without it."""
        cert, key = self.issue(name, kind, usage, extended, authority, san="", **options)
        below = Ca(self.folder / f"below-{self.count}", cert=cert, key=key)
        below.above = cert.read_text()
        return below

    def sign(self, request, order=False):
        """A card's certificate for its PKCS#10 request (DER to DER)."""
        self.count += 1
        base = f"{self.count}"
        (self.folder / f"{base}.der").write_bytes(request)
        self.openssl("req", "-config", "ca.cnf", "-inform", "DER", "-in", f"{base}.der", "-verify",
                     "-out", f"{base}.csr")
        use = "nonRepudiation" if order else "digitalSignature"
        extended = "1.3.6.1.4.1.55555.1" if order else "clientAuth"
        (self.folder / f"{base}.ext").write_text(
            f"basicConstraints = critical,CA:FALSE\nkeyUsage = critical,{use}\n"
            f"extendedKeyUsage = {extended}\n")
        self.openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.cert, "-CAkey", self.key,
                     "-days", "365", "-set_serial", self.count, "-extfile", f"{base}.ext",
                     "-out", f"{base}.pem")
        return self.der(self.folder / f"{base}.pem")

    def der(self, pem):
        path = self.folder / "out.der"
        self.openssl("x509", "-in", pem, "-outform", "DER", "-out", path)
        return path.read_bytes()


class Lab:
    """Owns a folder and the processes in it. Use as a context manager."""

    def __init__(self, programs=None, keep=False, env=None):
        # CARDWIRE_PROGRAMS: programs from another build folder, to try them under the same tests.
        self.programs = pathlib.Path(programs or os.environ.get("CARDWIRE_PROGRAMS")
                                     or ROOT / "build" / "bin")
        self.keep = keep
        # Short: the path of a Unix socket has room for 107 bytes.
        base = tempfile.gettempdir()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cardwire-",
                                                    dir=base if len(base) < 60 else "/tmp"))
        self.processes = []
        self.env = dict(os.environ, LC_ALL="C.UTF-8", **(env or {}))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.keep:
            self.close()

    def close(self):
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def subfolder(self, name):
        for i in range(1000):
            path = self.folder / (f"{name}{i}" if i else name)
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
        raise LabError(f"too many folders called {name}")

    def start(self, name, command, **options):
        options.setdefault("env", self.env)
        if self.keep:
            options.setdefault("start_new_session", True)
        else:  # nothing of the lab outlives it, not even when it is killed
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        log = self.folder / f"{len(self.processes)}-{name}.log"
        process = Process(name, command, log, **options)
        self.processes.append(process)
        return process

    def program(self, name):
        path = self.programs / name
        if not path.exists():
            raise LabError(f"{path} is not built; scripts/build makes it")
        return path

    def run(self, name, *args, timeout=120, **options):
        """Runs a program of the project to its end; stdout and stderr as text."""
        options.setdefault("env", self.env)
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        return subprocess.run([str(self.program(name)), *map(str, args)], capture_output=True,
                              text=True, errors="replace", timeout=timeout, check=False, **options)

    def issue(self, bank, customer, reader, *options, terms=OPEN_TERMS, **run):
        """`cardwired card issue` with --json; the completed process."""
        return self.run("cardwired", "--dir", bank, "card", "issue", "--customer", customer, "--reader",
                        reader, *terms, *options, "--json", **run)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return path


def trust_in_cards(bank):
    """The file by which a foreign server knows the cards of the bank in that folder: their root, and the CA below
    it, which no card sends."""
    path = bank.with_name(f"{bank.name}-cards.pem")
    files = [bank / "card-issuer.pem", bank / "card-root.pem"]  # a bank of before has the root alone
    path.write_text("".join(f.read_text() for f in files if f.exists()))
    return path


def json_lines(text):
    """The JSON objects in text, one a line; other lines are left out."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


def stop_on_signals():
    """Lets `finally` run when the program is asked to stop."""
    def leave(number, _frame):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
