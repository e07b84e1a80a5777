"""Statements of a period, in their three forms: that they say the same and add up; that a spreadsheet runs
nothing of the CSV; that the XML is camt.053 (by our own schema of what we use of it, tests/lib/camt053.xsd, since
the standard's cannot be had from Debian); and that cardwire keeps them."""

import csv
import decimal
import io
import json
import subprocess
from xml.etree import ElementTree

import pytest

from cardwire_lab import ROOT, Lab
from holder import bank_of_two, problem
from small_bank import small_bank

CAMT = "{urn:iso:std:iso:20022:tech:xsd:camt.053.001.08}"
EVER = "from=2020-01-01&to=2100-01-01"
REFERENCES = ["=1+1", "+49", "-1", "@SUM(A1)", "'quoted'", 'say "x", y', "<&>]]>", "Müller №1 漢字", "",
              "x" * 140]


class Payee:
    """Somebody with an account and no card."""

    def __init__(self, world, name):
        self.name = name
        customer = world.admin("customer", "add", "--name", name)["id"]
        self.account = world.admin("account", "open", "--customer", customer)["account"]


@pytest.fixture(scope="module")
def world():
    with bank_of_two() as it:
        it.evil = Payee(it, '=HYPERLINK("http://x","<b>&")')
        it.ada.log_in()
        for cents, reference in enumerate(REFERENCES, 1):
            assert it.ada.pay(it.ada.sign(it.evil, cents, reference=reference))[0] == 201
        it.ben.log_in()
        assert it.ben.pay(it.ben.sign(it.ada, 500, reference="Back"))[0] == 201
        it.ada.log_in()
        yield it


def fetch(world, form, query=EVER):
    answer = world.ada.ask("GET", f"/v1/accounts/{world.ada.account}/statement.{form}?{query}")
    assert answer.status == 200, answer.body
    return answer.body


def validate(lab, xml):
    return subprocess.run(["xmllint", "--noout", "--nonet", "--schema", ROOT / "tests/lib/camt053.xsd",
                           lab.file("statement.xml", xml.decode())], capture_output=True, text=True, check=False)


def xml_of(text):
    return ElementTree.fromstring(text).find(f"{CAMT}BkToCstmrStmt/{CAMT}Stmt")


def test_it_adds_up(world):
    said = json.loads(fetch(world, "json"))
    amounts = [decimal.Decimal(t["amount"]) for t in said["transactions"]]
    assert said["opening"] == "0.00" and said["out"] == "0.55" and said["in"] == "105.00"
    assert decimal.Decimal(said["opening"]) + sum(amounts) == decimal.Decimal(said["closing"])
    assert said["closing"] == world.ada.balance() == said["transactions"][-1]["balance"]
    assert [t["reference"] for t in said["transactions"]] == ["Opening deposit", *REFERENCES, "Back"]
    assert said["account"] == world.ada.account and said["name"] == "Ada"


def test_a_part_of_it(world):
    """Two periods that touch are the whole: no transaction in both, none in neither."""
    whole = json.loads(fetch(world, "json"))["transactions"]
    when = whole[-1]["time"]
    before = json.loads(fetch(world, "json", f"from=2020-01-01&to={when}"))
    after = json.loads(fetch(world, "json", f"from={when}&to=2100-01-01"))
    assert before["transactions"] + after["transactions"] == whole
    assert before["closing"] == after["opening"]
    assert after["transactions"]


def test_this_month_when_nothing_is_said(world):
    said = json.loads(fetch(world, "json", ""))
    assert said["from"].endswith("-01T00:00:00Z") and said["from"][:7] == said["time"][:7]
    assert said["closing"] == world.ada.balance()


def test_empty(world):
    said = json.loads(fetch(world, "json", "from=2000-01-01&to=2000-01-02"))
    assert said["transactions"] == [] and said["opening"] == said["closing"] == "0.00"
    assert len(list(csv.reader(io.StringIO(fetch(world, "csv", "to=2000-01-02&from=2000-01-01").decode())))) == 1
    done = validate(world.lab, fetch(world, "camt053", "from=2000-01-01&to=2000-01-02"))
    assert done.returncode == 0, done.stderr


def test_csv_says_the_same(world):
    body = fetch(world, "csv")
    lines = body.split(b"\r\n")
    assert lines[-1] == b"" and all(b"\n" not in line for line in lines)
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    said = json.loads(fetch(world, "json"))["transactions"]
    assert len(rows) == len(said)
    for row, t in zip(rows, said):
        sign = "-" if row["direction"] == "out" else ""
        assert (int(row["entry"]), row["time"], row["kind"], sign + row["amount"], row["balance"], row["currency"],
                row["counterparty_account"], row["order"] or None) == (
            t["id"], t["time"], t["kind"], t["amount"], t["balance"], "EUR", t["counterparty"]["account"], t["order"])
        for cell, text in ((row["reference"], t["reference"]), (row["counterparty_name"], t["counterparty"]["name"])):
            assert cell == ("'" if text[:1] in tuple("=+-@") and text else "") + text


def test_no_cell_is_a_formula(world):
    cells = [cell for row in csv.reader(io.StringIO(fetch(world, "csv").decode(), newline="")) for cell in row]
    assert "'=1+1" in cells and "'@SUM(A1)" in cells and "'-1" in cells and "'+49" in cells
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r") and cell]


def test_camt_is_camt(world):
    xml = fetch(world, "camt053")
    done = validate(world.lab, xml)
    assert done.returncode == 0, done.stderr
    stmt = xml_of(xml)
    said = json.loads(fetch(world, "json"))
    balances = {b.findtext(f"{CAMT}Tp/{CAMT}CdOrPrtry/{CAMT}Cd"): b.findtext(f"{CAMT}Amt")
                for b in stmt.findall(f"{CAMT}Bal")}
    assert balances == {"OPBD": said["opening"], "CLBD": said["closing"]}
    entries = stmt.findall(f"{CAMT}Ntry")
    assert len(entries) == len(said["transactions"])
    for entry, t in zip(entries, said["transactions"]):
        details = entry.find(f"{CAMT}NtryDtls/{CAMT}TxDtls")
        out = entry.findtext(f"{CAMT}CdtDbtInd") == "DBIT"
        other = "Cdtr" if out else "Dbtr"
        parties = details.find(f"{CAMT}RltdPties")
        assert ("-" if out else "") + entry.findtext(f"{CAMT}Amt") == t["amount"]
        assert entry.findtext(f"{CAMT}NtryRef") == str(t["id"])
        assert entry.findtext(f"{CAMT}BookgDt/{CAMT}DtTm") == t["time"]
        assert details.findtext(f"{CAMT}Refs/{CAMT}EndToEndId") == t["order"]
        assert (details.findtext(f"{CAMT}RmtInf/{CAMT}Ustrd") or "") == t["reference"]
        assert parties.findtext(f"{CAMT}{other}/{CAMT}Pty/{CAMT}Nm") == t["counterparty"]["name"]
        assert parties.findtext(
            f"{CAMT}{other}Acct/{CAMT}Id/{CAMT}Othr/{CAMT}Id") == t["counterparty"]["account"]
        code = "/".join(entry.findtext(f"{CAMT}BkTxCd/{CAMT}Domn/{CAMT}{p}") for p in (
            "Cd", f"Fmly/{CAMT}Cd", f"Fmly/{CAMT}SubFmlyCd"))
        assert code == {"deposit": "PMNT/CNTR/CDPT", "payment": "PMNT/ICDT/BOOK" if out else "PMNT/RCDT/BOOK"}[
            t["kind"]]


@pytest.mark.parametrize("old, new", [
    (b"<Cd>OPBD</Cd>", b"<Cd>XXXX</Cd>"), (b'Ccy="EUR"', b'Ccy="EURO"'), (b"<Sts><Cd>BOOK</Cd></Sts>", b""),
    (b"<CdtDbtInd>CRDT</CdtDbtInd>", b"<CdtDbtInd>+</CdtDbtInd>"), (b"camt.053.001.08", b"camt.053.001.02"),
    (b"<MsgId>", b"<MsgId>0123456789"), (b"<GrpHdr>", b"<GrpHdr><X/>")])
def test_our_schema_bites(world, old, new):
    xml = fetch(world, "camt053")
    assert old in xml
    assert validate(world.lab, xml.replace(old, new, 1)).returncode != 0


def test_the_same_statement_has_the_same_name(world):
    ids = {xml_of(fetch(world, "camt053")).findtext(f"{CAMT}Id") for _ in range(2)}
    other = xml_of(fetch(world, "camt053", "from=2020-01-02&to=2100-01-01")).findtext(f"{CAMT}Id")
    assert len(ids) == 1 and other not in ids


@pytest.mark.parametrize("query, names", [
    ("from=x", "from"), ("to=2026-11-31", "to"), ("from=2026-02-01&to=2026-01-01", "from"), ("limit=1", "limit"),
    ("from=2100-01-01", "from"), ("from=2026-01-01&from=2026-01-01", "from")])
@pytest.mark.parametrize("form", ["json", "csv", "camt053"])
def test_wrong_parameters(world, form, query, names):
    answer = world.ada.http("GET", f"/v1/accounts/{world.ada.account}/statement.{form}?{query}")
    assert problem(answer) == (400, "parameter") and names in answer[1]["detail"]


# --- cardwire ---------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, "135790", options=("--payees", "any"))
        it.reader = f"inproc:{it.card}"
        code, said = it.cardwire(it.reader, "pay", "--to", it.payee, "--amount", "1.00", "--currency", "EUR",
                                 "--reference", "=Rent", "--yes")
        assert code == 0, said
        yield it


def statement(bank, *args):
    return bank.lab.run("cardwire", "--reader", bank.reader, "--server", f"127.0.0.1:{bank.port}", "--pin-file",
                        bank.pin, "statement", *args)


def test_cardwire_shows_a_period(bank):
    done = statement(bank, "--from", "2020-01-01", "--to", "2100-01-01")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["before", "0.00"] and lines[-1].split() == ["after", "99.00"] and "=Rent" in lines[-2]
    said = json.loads(statement(bank, "--json", "--from", "2020-01-01").stdout)
    assert said["closing"] == "99.00" and said["ok"] is True


def test_cardwire_keeps_documents(bank):
    file = bank.lab.folder / "statement"
    for form in ("json", "csv", "camt053"):
        on_screen = statement(bank, "--format", form, "--from", "2020-01-01", "--to", "2100-01-01")
        assert on_screen.returncode == 0, on_screen.stderr
        done = statement(bank, "--format", form, "--from", "2020-01-01", "--to", "2100-01-01", "-o", file)
        assert done.returncode == 0, done.stderr
        assert "=Rent" in file.read_text() and file.stat().st_mode & 0o077 == 0
        if form == "camt053":
            assert validate(bank.lab, file.read_bytes()).returncode == 0
        if form == "csv":
            assert on_screen.stdout.encode() == file.read_bytes().replace(b"\r\n", b"\n")


@pytest.mark.parametrize("args, says", [
    (["--format", "pdf"], "pdf"), (["-o", "x"], "--format"), (["--from", "yesterday"], "yesterday"),
    (["--to", "2026-02-30"], "2026-02-30"), (["--format", "csv", "-o", "/nonexistent/x"], "/nonexistent/x"),
    (["--from", "2026-02-01", "--to", "2026-01-01"], "from")])
def test_cardwire_called_wrongly(bank, args, says):
    done = statement(bank, *args)
    assert done.returncode != 0 and says in done.stderr and len(done.stderr.strip().splitlines()) <= 2, done.stderr
