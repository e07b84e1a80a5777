"""The units for systemd: understood by systemd's own tools, closed as far as they say, and open enough for what the
server does. And what the server and a service manager tell each other, with the test as the manager."""

import configparser
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from cardwire_lab import ACTIVATE, ROOT, Lab, wait_for
from small_bank import small_bank

PIN = "135790"
UNITS = ROOT / "packaging" / "systemd"
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.server.stop()
        yield it


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)


def keys(unit):
    """Each key of a unit with the list of its values."""
    found = {}
    for line in (UNITS / unit).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def units(folder, change=lambda text: text):
    """The units in a folder, with the program that is built."""
    for unit in ("cardwired.service", "cardwired.socket", "cardwired-dashboard.service"):
        text = (UNITS / unit).read_text().replace("/usr/bin/cardwired", str(ROOT / "build/bin/cardwired"))
        (folder / unit).write_text(change(text))
    return folder / "cardwired.service", folder / "cardwired.socket", folder / "cardwired-dashboard.service"


@needs_systemd
def test_systemd_understands_them(tmp_path):
    done = run("systemd-analyze", "verify", "--man=no", *units(tmp_path))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    done = run("systemd-analyze", "verify", "--man=no", *units(tmp_path, lambda t: t.replace("ProtectHome=yes", "ProtectHome=x")))
    assert "Failed to parse protect home value" in done.stderr


@needs_systemd
def test_they_are_closed(tmp_path):
    """0 is shut off from everything, 10 is root in the open."""
    def exposure(service):
        said = run("systemd-analyze", "security", "--offline=true", "--no-pager", service).stdout
        return float(re.search(r"Overall exposure level for [\w-]+.service: ([\d.]+)", said)[1])
    assert exposure(units(tmp_path)[0]) <= 1.4
    assert exposure(units(tmp_path)[2]) <= 1.0
    assert exposure(units(tmp_path, lambda t: t.replace("NoNewPrivileges=yes", "").replace("User=cardwired", ""))[0]) > 1.4


@needs_systemd
def test_the_user():
    done = run("systemd-sysusers", "--dry-run", UNITS / "cardwired.sysusers")
    assert done.returncode == 0, done.stderr


def allowed(filters):
    """The system calls that lines of SystemCallFilter leave: what the first says, without what ~ takes away."""
    def expand(name):
        if not name.startswith("@"):
            return {name}
        said = run("systemd-analyze", "syscall-filter", name).stdout.splitlines()[1:]
        return set().union(*(expand(line.strip()) for line in said if line.strip() and not line.strip().startswith("#")))
    names = set()
    for line in filters:
        group = set().union(*(expand(name) for name in line.lstrip("~").split()))
        names = names - group if line.startswith("~") else names | group
    return names


@needs_systemd
def test_they_leave_what_the_server_calls(bank):
    """Every system call of a server from its start to its end, with lines, payments, a reload and certificates."""
    trace, ports = bank.lab.folder / "trace", bank.lab.subfolder("ports")
    server = bank.lab.start("strace", [
        "strace", "-f", "-qq", "-o", trace, bank.lab.program("cardwired"), "--dir", bank.folder, "serve", "--listen",
        "127.0.0.1:0", "--port-file", ports / "line", "--ops", "127.0.0.1:0"])
    bank.port = wait_for("the bank naming its port", lambda: (ports / "line").exists() and (ports / "line").read_text().strip(),
                         server)
    reader = f"inproc:{bank.card}"
    for args in (("login",), ("pay", "--to", bank.payee, "--amount", "1.00", "--currency", "EUR", "--yes")):
        code, said = bank.cardwire(reader, "--server", f"127.0.0.1:{bank.port}", *args)
        assert code == 0, said
    pid = int(trace.read_text().split(maxsplit=1)[0])
    os.kill(pid, signal.SIGHUP)
    wait_for("the reload", lambda: "reload" in server.said(), server)
    os.kill(pid, signal.SIGTERM)
    assert server.wait(30) == 0
    calls = set(re.findall(r"(?m)^\d+ +(\w+)\(", trace.read_text())) - {"execve"}  # systemd's own, before the filter
    assert {"accept4", "fdatasync", "openat", "pwrite64"} <= calls
    if os.geteuid() == 0:
        calls.discard("fchown")  # SQLite gives a log to the owner of the books when it is root, and only then
    left = allowed(keys("cardwired.service")["SystemCallFilter"])
    assert calls <= left, calls - left
    assert not left & {"ptrace", "mount", "chown", "setuid", "keyctl", "reboot"}


def test_the_dashboard_reaches_no_key(bank):
    """What its unit shuts it off from are all keys that a bank has; test_needs_no_key of the dashboard's does without."""
    unit = keys("cardwired-dashboard.service")
    shut = {pathlib.PurePath(path).name for line in unit["InaccessiblePaths"] for path in line.split()}
    assert {path.name for path in bank.folder.glob("*.key")} | {"mailers"} <= shut
    assert unit["IPAddressDeny"] == ["any"] and unit["IPAddressAllow"] == ["localhost"]
    assert unit["ExecStart"] == ["/usr/bin/cardwired --dir /var/lib/cardwired/bank dashboard"]


def test_the_parts_fit_each_other():
    service = keys("cardwired.service")
    config = configparser.ConfigParser()
    config.read_string("[x]\n" + (ROOT / "packaging" / "cardwired.conf").read_text())
    assert config["x"]["dir"].startswith("/var/lib/" + service["StateDirectory"][0] + "/")
    assert service["ExecStart"] == ["/usr/bin/cardwired serve --config /etc/cardwired/cardwired.conf"]
    drain = int(re.search(r"(?m)^# drain = (\d+)", (ROOT / "packaging" / "cardwired.conf").read_text())[1])
    assert int(service["TimeoutStopSec"][0]) > drain
    assert keys("cardwired.socket")["ListenStream"][0] == config["x"]["listen"].rsplit(":", 1)[1]


# ---- the test is the manager ----

@pytest.mark.parametrize("abstract", [False, True])
def test_it_says_when_it_is_ready(bank, abstract):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = f"{bank.lab.folder}/notify"
        manager.bind("\0" + path if abstract else path)
        manager.settimeout(60)
        env = dict(bank.lab.env, NOTIFY_SOCKET=("@" if abstract else "") + path)
        server = bank.lab.start("cardwired", [bank.lab.program("cardwired"), "--dir", bank.folder, "serve", "--listen",
                                              "127.0.0.1:0"], env=env)
        assert manager.recv(100) == b"READY=1"
        assert "listening" in server.said()
        server.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert server.wait(30) == 0


@pytest.mark.parametrize("path", ["nonsense", "/nowhere/at/all", "@", "/" + "x" * 200])
def test_a_manager_that_is_not_there(bank, path):
    env = dict(bank.lab.env, NOTIFY_SOCKET=path)
    server = bank.lab.start("cardwired", [bank.lab.program("cardwired"), "--dir", bank.folder, "serve", "--listen",
                                          "127.0.0.1:0"], env=env)
    wait_for("listening", lambda: "listening" in server.said(), server)
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0


def activated(bank, listener):
    return bank.lab.start("cardwired", [sys.executable, "-c", ACTIVATE, listener.fileno(), bank.lab.program("cardwired"),
                                        "--dir", bank.folder, "serve", "--listen", "127.0.0.1:1"],
                          pass_fds=(listener.fileno(),))


def test_nobody_is_refused_while_it_is_started_anew(bank):
    """The manager holds the socket: a card that comes when there is no server waits for the next one."""
    reader = f"inproc:{bank.card}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        bank.port = listener.getsockname()[1]
        first = activated(bank, listener)
        wait_for("listening", lambda: f"port={bank.port}" in first.said(), first)
        server = ("--server", f"127.0.0.1:{bank.port}")
        assert bank.cardwire(reader, *server, "login")[0] == 0
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 0
        card = bank.lab.start("cardwire", [bank.lab.program("cardwire"), "--json", "--reader", reader, *server,
                                           "--pin-file", bank.pin, "login"])
        second = activated(bank, listener)
        assert card.wait(60) == 0, card.said()
        assert "handshake card=" in second.said()
        second.stop()


@pytest.mark.parametrize("kind", [socket.AF_UNIX, socket.SOCK_DGRAM, None])
def test_a_socket_that_is_none_for_cards(bank, kind):
    """One of another family, of another type, and one that does not listen."""
    family = socket.AF_UNIX if kind == socket.AF_UNIX else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == socket.SOCK_DGRAM else socket.SOCK_STREAM) as s:
        if kind == socket.AF_UNIX:
            s.bind(f"{bank.lab.folder}/stream")
            s.listen()
        server = activated(bank, s)
        assert server.wait(30) == 2
        assert "ListenStream=PORT" in server.said()
