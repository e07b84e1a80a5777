"""Logging in with the PIV application: a real sshd, and TLS servers that want a client certificate, through
ssh, openssl s_client and curl. The key never leaves the card; each login is refused with another key."""

import os
import pathlib
import pwd
import re

import pytest

from cardwire_lab import Lab, free_ports, port_listening, wait_for
from piv_lab import DESKS, OPENSC, PIV_PIN, TlsServer, curl, engine_config, key_uri, piv_desk

SSHD = "/usr/sbin/sshd"
RUN_SSHD = pathlib.Path("/run/sshd")


@pytest.fixture(scope="module", params=DESKS)
def desk(request):
    with Lab() as lab:
        yield piv_desk(lab, **request.param)


def public_keys(desk):
    """What ssh-keygen finds on the card: {slot: line of authorized_keys}, by the key itself."""
    found = desk.run("ssh-keygen", "-D", OPENSC).splitlines()
    keys = {}
    for slot in desk.mix:
        line = desk.run("ssh-keygen", "-i", "-m", "PKCS8", "-f", desk.path(f"{slot}.pub")).strip()
        keys[slot] = next((f for f in found if f.split()[:2] == line.split()[:2]), None)
    return keys


def test_ssh_keygen_lists_the_keys(desk):
    keys = public_keys(desk)
    for slot in ("9a", "9c", "9e"):
        assert keys[slot], f"{slot} is missing"


@pytest.fixture(scope="module")
def sshd(desk):
    """On loopback, with its own configuration and host key; .port, .authorized."""
    if os.getuid() == 0 and not RUN_SSHD.exists():
        RUN_SSHD.mkdir(mode=0o755)  # sshd wants it, and leaves it to systemd to make it
    folder = desk.lab.subfolder("sshd")
    desk.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host")
    port, authorized = free_ports(), folder / "authorized"
    authorized.write_text("")
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {authorized}\nStrictModes no\nAuthenticationMethods publickey\n"
        "PermitRootLogin yes\nLogLevel VERBOSE\n")
    process = desk.lab.start("sshd", [SSHD, "-D", "-e", "-f", folder / "config"])
    wait_for("sshd listening", lambda: port_listening(port), process)
    host = (folder / "host.pub").read_text()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host}")
    yield type("Sshd", (), {"port": port, "authorized": authorized, "folder": folder, "process": process})
    process.stop()


def ssh(desk, sshd, pin, code):
    askpass = desk.path("askpass")
    askpass.write_text(f"#!/bin/sh\necho {pin}\n")
    askpass.chmod(0o700)
    user = pwd.getpwuid(os.getuid()).pw_name
    return desk.run("ssh", "-F", "none", "-p", sshd.port, "-o", f"UserKnownHostsFile={sshd.folder}/known", "-o",
                    "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=no", "-o", "NumberOfPasswordPrompts=1",
                    "-I", OPENSC, f"{user}@127.0.0.1", "echo logged in as $USER", code=code,
                    env={"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"})


def test_ssh_login(desk, sshd):
    keys = public_keys(desk)
    sshd.authorized.write_text(keys["9a"] + "\n")
    assert "logged in as" in ssh(desk, sshd, PIV_PIN, 0)
    assert re.search(r"Accepted publickey for \S+ from 127.0.0.1 .*(RSA|ECDSA)", sshd.process.said())


def test_no_ssh_login_without_the_pin_or_the_key(desk, sshd):
    desk.run("opensc-tool", "--reset")
    sshd.authorized.write_text(public_keys(desk)["9a"] + "\n")
    assert "logged in" not in ssh(desk, sshd, "000000", 255)
    desk.yubico("-a", "verify-pin", "-P", PIV_PIN)
    desk.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", sshd.folder / "other")
    sshd.authorized.write_text((sshd.folder / "other.pub").read_text())
    assert "logged in" not in ssh(desk, sshd, PIV_PIN, 255)


# --- TLS ------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def server(desk):
    it = TlsServer(desk.lab.subfolder("web"), desk.ca)
    yield it
    it.close()


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
@pytest.mark.parametrize("slot", ["9a", "9e"])
def test_openssl_s_client(desk, server, slot, version):
    said = desk.run("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", f"-{version}", "-quiet",
                    "-verify_return_error", "-CAfile", server.root, "-engine", "pkcs11", "-keyform", "engine",
                    "-key", key_uri(slot), "-cert", desk.certificates[slot], input="GET / HTTP/1.0\r\n\r\n",
                    env={"OPENSSL_CONF": engine_config(desk)})
    assert f"hello Ada {slot} over TLSv1.{version[-1]}" in said


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl(desk, server, version):
    said = curl(desk, server, "9a", desk.certificates["9a"], f"--tlsv{version}", "--tls-max", version)
    assert f"hello Ada 9a over TLSv{version}" in said


def test_no_tls_with_another_key(desk, server):
    """A certificate is no use with a key that is not its own: 9E's certificate, 9A's key."""
    said = curl(desk, server, "9a", desk.certificates["9e"], code=None)
    assert "hello" not in said
