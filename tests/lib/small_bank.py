"""A bank with two customers and one card, for tests that want to log in and pay."""

import types

from cardwire_lab import json_lines, wait_for

NAME = "bank.cardwire.test"  # the server name that cardwired writes to its cards


def small_bank(lab, pin, kind="p256", options=(), init=(), environment=None):
    """Makes it and serves: .port, .payer and .payee (account numbers), .card (its folder), .serial, .pin
    (a file), .admin(*args) -> JSON of cardwired, .cardwire(reader, *args), .server (its process). options: more of `card issue`; init: of `init`; environment: of cardwired's processes."""
    folder, card = lab.folder / "bank", lab.folder / "card"
    env = environment or lab.env
    pin = lab.file("pin", pin + "\n")

    def admin(*args):
        done = lab.run("cardwired", "--dir", folder, *args, "--json", env=env)
        assert done.returncode == 0, done.stderr
        return json_lines(done.stdout)[-1]
    made = lab.run("cardwired", "init", folder, *init, env=env)
    assert made.returncode == 0, made.stderr
    accounts, serial = [], None
    for name in ("Ada", "Ben"):
        customer = admin("customer", "add", "--name", name)["id"]
        accounts.append(admin("account", "open", "--customer", customer, "--deposit",
                              "100.00")["account"])
        if serial is None:
            done = lab.issue(folder, customer, f"inproc:{card}", "--key", kind, "--pin-file", pin, *options, env=env)
            assert done.returncode == 0, done.stderr
            serial = json_lines(done.stdout)[-1]["serial"]
    port_file = lab.folder / "port"
    server = lab.start("cardwired", [lab.program("cardwired"), "--dir", folder, "serve", "--listen",
                                     "127.0.0.1:0", "--port-file", port_file], env=env)
    port = wait_for("the bank naming its port", lambda: port_file.exists()
                    and port_file.read_text().strip(), server)
    def cardwire(reader, *args, **options):
        """(exit code, the last that it said in JSON) of cardwire with the card in that reader."""
        done = lab.run("cardwire", "--json", "--reader", reader, "--server", f"127.0.0.1:{port}", "--pin-file", pin,
                       *args, **options)
        return done.returncode, json_lines(done.stdout)[-1]
    return types.SimpleNamespace(lab=lab, cardwire=cardwire, port=port, payer=accounts[0], payee=accounts[1], card=card,
                                 serial=serial, pin=pin, admin=admin, server=server)


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
