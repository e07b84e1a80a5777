"""The disk under the books is full: payments fail loudly and none is half done, readiness and metrics say so, and service
goes on by itself when there is room again. On a small file system in a mount namespace of the server's own."""

import os
import signal
import subprocess

import pytest

from cardwire_lab import Lab, wait_for
from small_bank import small_bank
from test_metrics import Metrics
from test_ops import ask

PIN = "135790"
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
allowed = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not allowed, reason="no mount namespaces here")
def test_a_disk_that_is_full():
    with Lab() as lab:
        bank = small_bank(lab, PIN)
        bank.server.stop()
        small, ports, reader = lab.subfolder("small"), lab.subfolder("ports"), f"inproc:{bank.card}"
        script = 'mount -t tmpfs -o size=6m,mode=700 none "$1" && cp -a "$2/." "$1" && shift 2 && exec "$@"'
        server = lab.start("cardwired", [
            *UNSHARE, "sh", "-c", script, "sh", small, bank.folder, lab.program("cardwired"), "--dir", small, "serve",
            "--listen", "127.0.0.1:0", "--port-file", ports / "line", "--ops", "127.0.0.1:0", "--ops-port-file", ports / "ops"])
        port = wait_for("the bank naming its port", lambda: (ports / "line").exists()
                        and (ports / "line").read_text().strip(), server)
        ops, inside = (ports / "ops").read_text(), f"/proc/{server.pid}/root{small}"

        def pay():
            return bank.cardwire(reader, "--server", f"127.0.0.1:{port}", "pay", "--to", bank.payee, "--amount", "0.10",
                                 "--currency", "EUR", "--yes")

        def booked():
            code, said = bank.cardwire(reader, "--server", f"127.0.0.1:{port}", "statement")
            assert code == 0, said
            return sum(t["amount"] == "-0.10" for t in said["transactions"])
        assert ask(ops, "/readyz")[0] == 200 and pay()[0] == 0 and booked() == 1
        with open(f"{inside}/fill", "wb", buffering=0) as f, pytest.raises(OSError):
            while True:
                f.write(bytes(4096))
        assert ask(ops, "/readyz")[::2] == (503, "the books cannot be written\n")
        assert ask(ops, "/healthz")[0] == 200
        failed = 0
        for _ in range(40):  # what SQLite's log has room for already may still be booked
            before = booked()
            code, said = pay()
            assert booked() - before == (code == 0), said
            failed += code != 0
            if failed == 3:
                break
        assert failed == 3
        assert Metrics(ops).get("store_errors_total", during="request") >= 3
        assert " error store why=" in server.said()
        os.unlink(f"{inside}/fill")
        assert ask(ops, "/readyz")[0] == 200
        before = booked()
        assert pay()[0] == 0 and booked() == before + 1
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
