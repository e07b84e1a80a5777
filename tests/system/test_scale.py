"""Several servers on one PostgreSQL, behind HAProxy, with real cards: who pays does not see which one it was. And the
database away: nothing half done, the servers say so, and go on by themselves when it is back."""

import contextlib
import os
import signal
import threading
import time
import types

import pytest

from cardwire_lab import Lab, Tap, free_ports, json_lines, port_listening, wait_for
from pg_lab import Postgres
from small_bank import serve_bank, small_bank
from test_disk_full import allowed
from test_ops import ask

PIN = "135790"

CONFIG = """
global
    log stdout format raw local0
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    option redispatch
frontend cards
    bind 127.0.0.1:{port}
    default_backend servers
backend servers
    balance roundrobin
    option httpchk GET /readyz
    default-server inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions
"""


def balance(lab, servers):
    """HAProxy before them: it hands on the lines as they are, to those that say that they are ready."""
    port, folder = free_ports(), lab.subfolder("haproxy")
    lines = [f"    server s{n} 127.0.0.1:{s.port} check port {s.ops}\n" for n, s in enumerate(servers)]
    (folder / "haproxy.cfg").write_text(CONFIG.format(port=port) + "".join(lines))
    process = lab.start("haproxy", ["/usr/sbin/haproxy", "-db", "-f", folder / "haproxy.cfg"])
    wait_for("HAProxy listening", lambda: port_listening(port), process)
    return port


@pytest.fixture(scope="module")
def bank():
    with Postgres(["fsync = off"]) as database, Lab() as lab:
        it = small_bank(lab, PIN, store=database.database("bank"))
        it.database, it.reader = database, f"inproc:{it.card}"
        second, port, ops = serve_bank(lab, it.folder)
        it.servers = [types.SimpleNamespace(process=it.server, port=it.port, ops=it.ops),
                      types.SimpleNamespace(process=second, port=port, ops=ops)]
        it.balancer = balance(lab, it.servers)
        it.through = lambda port, *args: it.cardwire(it.reader, "--server", f"127.0.0.1:{port}", *args)
        yield it


def pay(bank, port, *options):
    return bank.through(port, "pay", "--to", bank.payee, "--amount", "0.10", "--currency", "EUR", "--yes", *options)


def payments(bank):
    return int(bank.database.sql("SELECT count(*) FROM payment", "bank"))


def handshakes(server):
    return server.process.said().count(" handshake ")


def audited(bank):
    done = bank.lab.run("cardwired", "--dir", bank.folder, "audit", "--json")
    assert done.returncode == 0, done.stdout
    return json_lines(done.stdout)[-1]["payments"]


def test_through_either(bank):
    """Each line goes to the next server. A session is known where it was made: through the other one the handshake is a
    full one, and everything else is the same."""
    before, lines = payments(bank), [handshakes(s) for s in bank.servers]
    for n in range(4):
        code, said = pay(bank, bank.balancer)
        assert code == 0, said
        assert payments(bank) == before + n + 1
    assert [handshakes(s) - was for s, was in zip(bank.servers, lines)] == [2, 2]
    resumed = []
    for server in (0, 0, 1, 1, 0):
        code, said = bank.through(bank.servers[server].port, "login")
        assert code == 0, said
        resumed.append(said["line"]["resumed"])
    assert resumed[1:] == [True, False, True, False]
    assert audited(bank) == payments(bank)


@pytest.mark.parametrize("profile", ["tls13", "ecdhe"])
def test_an_answer_is_lost_and_fetched_through_the_other(bank, profile):
    """The order is booked by one server, its line breaks before the answer, and the same order comes to the other one."""
    before, lines = payments(bank), [handshakes(s) for s in bank.servers]

    def change(up, data, _state):
        if not up and payments(bank) == before + 1 and not cut.is_set():
            cut.set()
            raise OSError("the answer is lost")
        return data
    cut, tap = threading.Event(), Tap(bank.balancer, change)
    try:
        code, said = bank.through(tap.port, "--profile", profile, "pay", "--to", bank.payee, "--amount", "0.10",
                                  "--currency", "EUR", "--yes")
    finally:
        tap.close()
    assert cut.is_set() and code == 0 and said["replayed"] is True, said
    assert payments(bank) == before + 1
    assert [handshakes(s) - was for s, was in zip(bank.servers, lines)] == [1, 1]


def test_two_cards_at_once(bank):
    """The payer's card through both servers at once, and one of another customer: every cent is where it belongs."""
    customer = bank.admin("customer", "add", "--name", "Cleo")["id"]
    account = bank.admin("account", "open", "--customer", customer, "--deposit", "10.00")["account"]
    idle = bank.admin("customer", "add", "--name", "Dora")["id"]
    other = bank.lab.subfolder("cards") / "card"
    done = bank.lab.issue(bank.folder, customer, f"inproc:{other}", "--pin-file", bank.pin)
    assert done.returncode == 0, done.stderr
    before, failed = payments(bank), []

    def run(reader):
        for _ in range(5):
            code, said = bank.cardwire(reader, "--server", f"127.0.0.1:{bank.balancer}", "pay", "--to", bank.payee,
                                       "--amount", "0.10", "--currency", "EUR", "--yes")
            if code != 0:
                failed.append(said)
    threads = [threading.Thread(target=run, args=(reader,)) for reader in (bank.reader, f"inproc:{other}")]
    for thread in threads:
        thread.start()
    for _ in range(5):  # and who runs the bank
        bank.admin("account", "open", "--customer", idle, "--deposit", "1.00")
    for thread in threads:
        thread.join()
    assert not failed and payments(bank) == before + 10 == audited(bank)
    assert bank.database.sql(f"SELECT balance FROM account WHERE number = '{account}'", "bank") == "950"


def test_a_card_that_is_blocked(bank):
    """By a command beside the servers: at once, at both, also for a session that could be resumed."""
    for server in bank.servers:
        assert bank.through(server.port, "login")[0] == 0
    bank.admin("card", "block", bank.serial)
    try:
        for server in bank.servers:
            code, said = bank.through(server.port, "login")
            assert code == 4, said
    finally:
        bank.admin("card", "unblock", bank.serial)
    for server in bank.servers:
        assert bank.through(server.port, "login")[0] == 0


def test_a_server_is_killed(bank):
    """HAProxy sends nobody to it any more, and the other one serves on."""
    server, port, ops = serve_bank(bank.lab, bank.folder)
    servers = [types.SimpleNamespace(port=port, ops=ops), bank.servers[0]]
    balancer = balance(bank.lab, servers)
    for _ in range(2):
        assert pay(bank, balancer)[0] == 0
    server.kill()
    server.wait()
    for _ in range(4):
        code, said = pay(bank, balancer)
        assert code == 0, said


def ready(bank):
    return [ask(s.ops, "/readyz")[0] for s in bank.servers]


def test_the_database_is_away(bank):
    """Killed, and started again. The servers are the same processes all the time."""
    assert pay(bank, bank.balancer)[0] == 0
    before = payments(bank)
    bank.database.kill()
    try:
        for server in bank.servers:
            assert ask(server.ops, "/readyz")[::2] == (503, "the books cannot be written\n")
            assert ask(server.ops, "/healthz")[0] == 200
            code, said = pay(bank, server.port)
            assert code != 0 and said["ok"] is False, said
    finally:
        bank.database.start()
    wait_for("both being ready", lambda: ready(bank) == [200, 200])
    assert payments(bank) == before
    for n, server in enumerate(bank.servers):
        code, said = pay(bank, server.port)
        assert code == 0, said
        assert payments(bank) == before + n + 1
    assert all(s.process.poll() is None for s in bank.servers)
    assert audited(bank) == payments(bank)


@pytest.mark.parametrize("again", [False, True], ids=["a new order", "one that was booked"])
def test_the_database_goes_while_a_card_pays(bank, again):
    """The line is up, the order is on its way: it is said that nothing is known of it, and then it is not booked; or it
    was before, and is not booked twice."""
    options = ["--order-id", os.urandom(16).hex()]
    if again:
        assert pay(bank, bank.servers[0].port, *options)[0] == 0
    before, server = payments(bank), bank.servers[0]
    unknown = "method=POST route=/v1/payments status=503 problem=outcome-unknown"
    asked, told = (server.process.said().count(text) for text in ("route=/v1/payees/* ", unknown))

    def change(up, data, _state):
        if up and server.process.said().count("route=/v1/payees/* ") > asked and not gone.is_set():
            bank.database.kill()
            gone.set()
        return data
    gone, tap = threading.Event(), Tap(server.port, change)
    try:
        code, said = pay(bank, tap.port, *options)
    finally:
        tap.close()
        if gone.is_set():
            bank.database.start()
    assert gone.is_set() and code != 0 and said["booked"] == "unknown", said
    assert server.process.said().count(unknown) == told + 1
    wait_for("being ready", lambda: ready(bank) == [200, 200])
    assert payments(bank) == before
    code, said = pay(bank, server.port, *options)
    assert (code != 0 and said["booked"] == "before") if again else code == 0, said
    assert payments(bank) == before + (not again)


@contextlib.contextmanager
def silent(database):
    """It takes connections and says nothing, as a machine that hangs; those that there were are broken."""
    backends = database.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'cardwired'").split()
    database.process.send_signal(signal.SIGSTOP)
    for pid in backends:
        os.kill(int(pid), signal.SIGTERM)
    try:
        yield
    finally:
        database.process.send_signal(signal.SIGCONT)


def test_the_database_is_silent(bank):
    """An attempt to reach it takes three seconds, in which nobody else is served; then none is made for six."""
    server = bank.servers[0]
    assert pay(bank, server.port)[0] == 0
    times = []
    with silent(bank.database):
        end = time.monotonic() + 8
        while time.monotonic() < end:
            for path, want in (("/readyz", 503), ("/healthz", 200)):
                start = time.monotonic()
                assert ask(server.ops, path)[0] == want
                times.append((path, time.monotonic() - start))
            time.sleep(0.05)
    wait_for("being ready again", lambda: ask(server.ops, "/readyz")[0] == 200)
    slow = [t for _, t in times if t > 1]
    print(f"{len(times)} requests, of which {[round(t, 2) for t in slow]} s")
    assert len(slow) == 1 and slow[0] < 5
    assert pay(bank, server.port)[0] == 0


@pytest.mark.skipif(not allowed or os.geteuid() != 0, reason="no mount namespaces here, or not root")
def test_the_database_has_no_room():
    """Its tables cannot grow: what is refused is not booked, and so says the answer; with room again it goes on."""
    with Postgres(["fsync = off", "autovacuum = off"], small=12) as database, Lab() as lab:
        database.sql(f"CREATE TABLESPACE small LOCATION '{database.small}'")
        database.sql("CREATE DATABASE bank TABLESPACE small")
        bank = small_bank(lab, PIN, store=database.address("bank"))
        bank.database, bank.reader, fill = database, f"inproc:{bank.card}", f"/proc/{database.process.pid}/root{database.small}/fill"
        bank.through = lambda port, *args: bank.cardwire(bank.reader, "--server", f"127.0.0.1:{port}", *args)
        assert pay(bank, bank.port)[0] == 0
        with open(fill, "wb", buffering=0) as f, pytest.raises(OSError):
            while True:
                f.write(bytes(4096))
        failed = 0
        for _ in range(60):  # pages that are there already take some more
            before = payments(bank)
            code, said = pay(bank, bank.port)
            assert payments(bank) - before == (code == 0), said
            if code != 0:
                assert said["booked"] == "no", said
                failed += 1
            if failed == 3:
                break
        assert failed == 3 and "its disk is full" in bank.server.said()
        os.unlink(fill)
        before = payments(bank)
        assert pay(bank, bank.port)[0] == 0 and payments(bank) == before + 1 == audited(bank)
