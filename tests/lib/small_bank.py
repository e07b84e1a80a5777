"""A bank with two customers and one card, for tests that want to log in and pay."""

import types

from cardwire_lab import json_lines, wait_for

# Takes from a ledger what the steps after the third have made (bank/ledger_schema.c).
SCHEMA_3 = ("DROP TRIGGER IF EXISTS journal_chained; DROP TABLE admin_log; DROP TABLE hold; DROP TABLE proposal;"
            "DROP TABLE head; DROP TABLE head_signer; DROP TABLE chain; DROP TABLE event; DROP TABLE payee_request;"
            "DROP TABLE revocation; DELETE FROM setting WHERE name = 'crl-number';"
            "ALTER TABLE account DROP COLUMN kind; ALTER TABLE account DROP COLUMN held;"
            "ALTER TABLE account DROP COLUMN floor; ALTER TABLE account DROP COLUMN frozen;"
            "PRAGMA user_version = 3;")
# The log as well, whose lines are entries of the journal: those that remain move up.
NO_LOG = ("CREATE TEMP TABLE moved AS SELECT id, row_number() OVER (ORDER BY id) AS now FROM journal WHERE kind <> 'admin';"
          "DELETE FROM journal WHERE kind = 'admin';"
          "UPDATE journal SET id = (SELECT now FROM moved WHERE moved.id = journal.id);"
          "UPDATE posting SET journal = (SELECT now FROM moved WHERE id = journal);"
          "UPDATE payment SET journal = (SELECT now FROM moved WHERE id = journal);")
NAME = "bank.cardwire.test"  # the server name that cardwired writes to its cards


def make_older(db, *statements):
    """The ledger as a program of the third schema would have left it, which made no log; statements come before. No
    trigger holds them up, and all of that schema are there again afterwards."""
    triggers = db.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    db.executescript(NO_LOG + SCHEMA_3)
    for name, table, text in triggers:
        if table not in ("chain", "head", "head_signer", "admin_log", "hold", "proposal", "event", "payee_request", "revocation") and name != "journal_chained":
            db.execute(text)


def small_bank(lab, pin, kind="p256", options=(), init=(), serve=(), store=None, environment=None):
    """Makes it and serves: .port, .payer and .payee (account numbers), .card (its folder), .serial, .pin
    (a file), .admin(*args) -> JSON of cardwired, .cardwire(reader, *args), .server (its process), .ops (port of its
    operations listener). options: more of `card issue`; init, serve: of those; store: address of a database; environment: of cardwired's processes."""
    folder, card = lab.folder / "bank", lab.folder / "card"
    env = environment or lab.env
    pin = lab.file("pin", pin + "\n")

    def admin(*args):
        done = lab.run("cardwired", "--dir", folder, *args, "--json", env=env)
        assert done.returncode == 0, done.stderr
        return json_lines(done.stdout)[-1]
    done = lab.run("cardwired", "init", folder, *(["--store", store] if store else []), *init, env=env)
    assert done.returncode == 0, done.stderr
    accounts, serial = [], None
    for name in ("Ada", "Ben"):
        customer = admin("customer", "add", "--name", name)["id"]
        accounts.append(admin("account", "open", "--customer", customer, "--deposit",
                              "100.00")["account"])
        if serial is None:
            done = lab.issue(folder, customer, f"inproc:{card}", "--key", kind, "--pin-file", pin, *options, env=env)
            assert done.returncode == 0, done.stderr
            serial = json_lines(done.stdout)[-1]["serial"]
    server, port, ops = serve_bank(lab, folder, *serve, env=env)

    def cardwire(reader, *args, **options):
        """(exit code, the last that it said in JSON) of cardwire with the card in that reader."""
        done = lab.run("cardwire", "--json", "--reader", reader, "--server", f"127.0.0.1:{port}", "--pin-file", pin,
                       *args, **options)
        return done.returncode, json_lines(done.stdout)[-1]
    return types.SimpleNamespace(lab=lab, cardwire=cardwire, port=port, payer=accounts[0], payee=accounts[1], card=card,
                                 serial=serial, pin=pin, admin=admin, server=server, ops=ops, folder=folder)


def serve_bank(lab, folder, *options, env=None):
    """(its process, port, port of the operations listener)"""
    files = [lab.subfolder("ports") / name for name in ("ops", "line")]  # in the order that they are written
    server = lab.start("cardwired", [lab.program("cardwired"), "--dir", folder, "serve", "--listen", "127.0.0.1:0",
                                     "--port-file", files[1], "--ops", "127.0.0.1:0", "--ops-port-file", files[0],
                                     *options], env=env or lab.env)
    ops, line = wait_for("the bank naming its ports", lambda: [p.read_text().strip() for p in files]
                         if files[1].exists() else None, server)
    return server, line, ops


def logs_in(bank, reader, profile):
    for _ in range(2):  # the second from the session in the card, which had its power cut
        code, said = bank.cardwire(reader, "--profile", profile, "login")
        assert code == 0, said
        assert said["session"]["card"]["serial"] == bank.serial


def pays(bank, reader):
    before = bank.admin("report")["payments"]
    code, said = bank.cardwire(reader, "pay", "--to", bank.payee, "--amount", "1.00", "--currency", "EUR", "--yes")
    assert code == 0, said
    assert bank.admin("report")["payments"] == before + 1
