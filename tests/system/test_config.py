"""The server's config file: every key does what it says, the command line wins, and what is wrong is named with its
line."""

import re
import subprocess

import pytest

from cardwire_lab import ROOT, Lab, wait_for
from small_bank import small_bank
from test_ops import ask

PIN = "135790"
EXAMPLE = ROOT / "packaging" / "cardwired.conf"
KEYS = ["dir", "listen", "port-file", "ops", "ops-port-file", "ocsp", "ocsp-port-file", "ops-anywhere", "log", "log-level",
        "drain", "lines", "waiting-per-source", "requests-per-minute", "payments-per-minute", "insecure-keylog"]


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.server.stop()
        yield it


def refused(bank, config, *options, code=2):
    """What the server says instead of starting."""
    path = bank.lab.subfolder("conf") / "c.conf"
    path.write_bytes(config if isinstance(config, bytes) else config.encode())
    done = bank.lab.run("cardwired", "--dir", bank.folder, "serve", "--config", path, *options, timeout=30)
    assert done.returncode == code, (done.returncode, done.stderr)
    return done.stderr


def start(bank, config, *options, dir=True):
    """(process, folder for its files); `config` may say {folder} and {bank}."""
    folder = bank.lab.subfolder("serve")
    path = folder / "c.conf"
    path.write_text(config.format(folder=folder, bank=bank.folder))
    server = bank.lab.start("cardwired", [bank.lab.program("cardwired"), *(["--dir", bank.folder] if dir else []),
                                          "serve", "--config", path, *options])
    wait_for("the bank listening", lambda: "listening on=" in server.said() or '"listening"' in server.said(), server)
    return server, folder


def example(folder, bank):
    """The example as it is, but for the places that a test may not have: its comments are made true."""
    text = EXAMPLE.read_text()
    for old, new in [("/var/lib/cardwired/bank", str(bank)), ("0.0.0.0:8443", "127.0.0.1:0"),
                     ("127.0.0.1:9443", "127.0.0.1:0"), ("127.0.0.1:9480", "127.0.0.1:0"), ("/run/cardwired", str(folder)), ("/tmp/keys", f"{folder}/keys")]:
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_example_starts(bank):
    folder = bank.lab.subfolder("example")
    server, _ = start(bank, example(folder, bank.folder), dir=False)
    server.stop()
    assert server.returncode == 0


def test_the_example_has_every_key(bank):
    """With all that is commented out in force as well; and what is shown as the default is the default."""
    folder = bank.lab.subfolder("example")
    text = re.sub(r"(?m)^# ([a-z-]+ = )", r"\1", example(folder, bank.folder))
    assert sorted(re.findall(r"(?m)^([a-z-]+) = ", text)) == sorted(KEYS)
    server, _ = start(bank, text, dir=False)
    for name in ("port", "ops-port", "keys"):
        wait_for(name, (folder / name).exists, server)
    server.stop()
    assert "draining lines=0 seconds=10" in server.said()


def test_the_man_page_has_every_key():
    page = (ROOT / "man" / "cardwired.conf.5").read_text()
    assert sorted(re.findall(r"(?m)^\.It Ic (\S+)", page)) == sorted(KEYS)
    said = subprocess.run([ROOT / "build/bin/cardwired", "serve", "--help"], capture_output=True, text=True, check=True)
    assert "cardwired.conf(5)" in said.stdout


def test_the_command_line_wins(bank):
    server, folder = start(bank, 'listen = nonsense\nlog = json\nport-file = {folder}/no\nlog-level = error\n',
                           "--listen", "127.0.0.1:0", "--log", "text", "--log-level", "info", "--port-file",
                           bank.lab.folder / "yes")
    assert " info listening on=127.0.0.1:0" in server.said()
    wait_for("the port", (bank.lab.folder / "yes").exists, server)
    assert not (folder / "no").exists()
    server.stop()


def test_the_folder_comes_from_anywhere(bank):
    server, _ = start(bank, 'dir = {bank}\nlisten = 127.0.0.1:0\n', dir=False)
    server.stop()
    env = dict(bank.lab.env, CARDWIRED_DIR=str(bank.folder))  # wins over the file
    path = bank.lab.file("dir.conf", 'dir = /nowhere\nlisten = nonsense\n')
    done = bank.lab.run("cardwired", "serve", "--config", path, env=env)
    assert "'nonsense' is no address" in done.stderr
    done = bank.lab.run("cardwired", "serve", "--config", path)
    assert "/nowhere" in done.stderr and done.returncode == 3
    done = bank.lab.run("cardwired", "serve")
    assert "wants the bank's folder" in done.stderr and done.returncode == 2


def test_ops_anywhere(bank):
    server, folder = start(bank, 'listen = 127.0.0.1:0\nops = 0.0.0.0:0\nops-anywhere = yes\n'
                                 'ops-port-file = {folder}/ops\n')
    port = (folder / "ops").read_text()
    assert ask(port, "/healthz", Host="bank.example")[0] == 200
    server.stop()
    assert "one of this machine alone" in refused(bank, 'listen = 127.0.0.1:0\nops = 0.0.0.0:0\n', code=1)


@pytest.mark.parametrize("config, said", [
    ("\n\nlisen = 1\n", ":3: there is no key 'lisen'; the keys are dir, listen, port-file, ops, "),
    ("# c\n; c\n\ndrain = soon\n", ":4: drain wants a whole number from 0 to 3600"),
    ("drain = 3601\n", ":1: drain wants a whole number from 0 to 3600"),
    ("drain = -1\n", ":1: drain wants"),
    ("drain = 4294967297\n", ":1: drain wants"),
    ("drain =\n", ":1: drain wants"),
    ("drain = 1 2\n", ":1: drain wants"),
    ("lines = 0\n", ":1: lines wants a whole number from 1 to 1000000"),
    ("waiting-per-source = 1000001\n", "waiting-per-source wants a whole number from 1 to 1000000"),
    ("log = xml\n", ":1: log wants text or json"),
    ("log-level = loud\n", ":1: log-level wants error, warn, info or debug"),
    ("ops-anywhere = perhaps\n", ":1: ops-anywhere wants yes or no"),
    ("listen = \n", ":1: listen wants a value"),
    ("drain = 1\nlisten\nlisen = 1\n", ":2: this is no 'key = value'"),
    ("lisen = 1\nlisten\n", ":1: there is no key 'lisen'"),
    ("drain = 1\n\ndrain = 1\n", ":3: drain comes twice"),
    ("dir = /x\n  listen = x\n", ":2: dir comes twice, or this line is indented"),
    ("[serve]\ndrain = 1\n", ":2: there are no sections, such as [serve]"),
    ("drain = 1\ndir = " + "x" * 300 + "\n", ":2: the line has more than 19"),
    (b"drain = 1\0\n", "is no text"),
    (b"\xff\xfe = 1\n", ":1: there is no key"),
    (b"#" * 70000, "c.conf"),
])
def test_what_is_wrong_is_named(bank, config, said):
    assert said in refused(bank, config, code=1 if len(config) > 65536 else 2)


def test_no_such_file(bank):
    done = bank.lab.run("cardwired", "--dir", bank.folder, "serve", "--config", bank.lab.folder / "none")
    assert done.returncode == 3 and "none" in done.stderr
    done = bank.lab.run("cardwired", "--dir", bank.folder, "serve", "--config", bank.lab.folder)
    assert done.returncode == 1, done.stderr
    for option, said in (("--log", "wants text or json"), ("--log-level", "wants error, warn, info or debug")):
        assert said in refused(bank, "", option, "x")
