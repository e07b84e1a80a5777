"""A bank with two customers and one card, for tests that want to log in and pay."""

import types

from cardwire_lab import json_lines, wait_for

NAME = "bank.cardwire.test"  # the server name that cardwired writes to its cards


def small_bank(lab, pin, kind="p256", options=()):
    """Makes it and serves: .port, .payer and .payee (account numbers), .card (its folder), .serial, .pin
    (a file), .admin(*args) -> JSON of cardwired, .server (its process). options: more of `card issue`."""
    folder, card = lab.folder / "bank", lab.folder / "card"
    pin = lab.file("pin", pin + "\n")

    def admin(*args):
        done = lab.run("cardwired", "--dir", folder, *args, "--json")
        assert done.returncode == 0, done.stderr
        return json_lines(done.stdout)[-1]
    assert lab.run("cardwired", "init", folder).returncode == 0
    accounts, serial = [], None
    for name in ("Ada", "Ben"):
        customer = admin("customer", "add", "--name", name)["id"]
        accounts.append(admin("account", "open", "--customer", customer, "--deposit",
                              "100.00")["account"])
        if serial is None:
            done = lab.issue(folder, customer, f"inproc:{card}", "--key", kind, "--pin-file", pin, *options)
            assert done.returncode == 0, done.stderr
            serial = json_lines(done.stdout)[-1]["serial"]
    port_file = lab.folder / "port"
    server = lab.start("cardwired", [lab.program("cardwired"), "--dir", folder, "serve", "--listen",
                                     "127.0.0.1:0", "--port-file", port_file])
    port = wait_for("the bank naming its port", lambda: port_file.exists()
                    and port_file.read_text().strip(), server)
    return types.SimpleNamespace(lab=lab, port=port, payer=accounts[0], payee=accounts[1], card=card,
                                 serial=serial, pin=pin, admin=admin, server=server)
