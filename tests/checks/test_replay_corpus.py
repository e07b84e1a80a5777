"""Holds the replay corpus (tests/replay) against the card's rows, and its parser and README against what they must
notice. The corpus itself runs in tests/system/test_replay.py."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "replay"))

import corpus  # noqa: E402
import replay  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    done = subprocess.run([ROOT / "build" / "tests" / "replay" / "card_rows"], capture_output=True, text=True,
                          check=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def statements():
    return {path.stem: corpus.load(path) for path in corpus.files()}


def written(tmp_path, text):
    path = tmp_path / "x.apdu"
    path.write_text(text, encoding="utf-8")
    return path


# --- every command, done and refused ----------------------------------------------------------------

def test_every_row_is_done_and_refused(rows, statements):
    assert len(rows) > 20
    assert not corpus.rows_missing(statements.values(), rows)


@pytest.mark.parametrize("row", ["F043574C01 80 7E", "A000000308000010000100 00 7E", "* 00 70",
                                 "F043574C01 00 CB", "A000000000 00 A4"])
def test_a_row_without_pairs_is_noticed(rows, statements, row):
    assert {w.split(":")[0] for w in corpus.rows_missing(statements.values(), [*rows, row])} == {row}


def test_a_topic_left_out_is_noticed(rows, statements):
    without = [s for name, s in statements.items() if name != "piv-admin"]
    assert corpus.rows_missing(without, rows) == [
        f"A000000308000010000100 00 {ins}: no pair in which it is done" for ins in ("F7", "FF")]


@pytest.mark.parametrize("text, missing", [
    ("< 9000", "refused"), ("< 6A88", "done"), ("< 63C2", "done"), ("< 6983", "done")])
def test_what_counts(tmp_path, text, missing):
    """Done is 9000 or 61xx; a wrong PIN is neither done nor a refusal by the row."""
    path = written(tmp_path, '@ GPCS §11.2\n> 00 A4 04 0C 05 F043574C01\n< 9000\n'
                             f'@ GPCS §11.2\n> 00 20 00 81\n{text}\n')
    found = corpus.rows_missing([corpus.load(path)], ["F043574C01 00 20"])
    assert f"F043574C01 00 20: no pair in which it is {missing}" in found


def test_part_of_a_chain_is_no_command(tmp_path):
    path = written(tmp_path, '@ GPCS §11.2\n> 00 A4 04 0C 05 F043574C01\n< 9000\n'
                             '@ GPCS §11.2\n> 10 20 00 81 01 31\n< 9000\n')
    assert "F043574C01 00 20: no pair in which it is done" in corpus.rows_missing(
        [corpus.load(path)], ["F043574C01 00 20"])


# --- the format -------------------------------------------------------------------------------------

GOOD = '@ ISO/IEC 7816-4:2020 §11.2.2: a remark\n> 00 A4\n< 9000\n'


def test_every_file_is_read():
    paths = [*corpus.files(), *(ROOT / "tests" / "replay" / "cards").glob("*.apdu")]
    assert len(paths) > 20
    for path in paths:
        pairs = [s for s in corpus.load(path) if isinstance(s, corpus.Pair)]
        assert pairs and all(p.clauses for p in pairs), path


def test_a_good_file_is_read(tmp_path):
    (pair,) = corpus.load(written(tmp_path, GOOD))
    assert (pair.clauses, pair.remark, pair.line) == (["ISO/IEC 7816-4:2020 §11.2.2"], "a remark", 2)


@pytest.mark.parametrize("line, text", [
    (1, "> 00 A4\n< 9000\n"),                                       # no clause
    (4, GOOD + "> 00 A4\n< 9000\n"),                                # the one above is used up
    (1, "@ the manual: page 7\n> 00 A4\n< 9000\n"),                 # no clause of ours
    (1, "@ ISO/IEC 7816-4:2020: all of it\n> 00 A4\n< 9000\n"),     # no section
    (1, '@ docs/card.md "No such heading"\n> 00 A4\n< 9000\n'),
    (1, '@ docs/nothing.md "Commands"\n> 00 A4\n< 9000\n'),
    (2, "@ GPCS §11.10\n@ GPCS §11.10\n> 00 A4\n< 9000\n"),         # a clause without a pair
    (3, "@ GPCS §11.10\n> 00 A4\nreset\n"),                         # a command without its answer
    (1, "< 9000\n"),
    (3, "@ GPCS §11.10\n> 00 A4\n< 53 ..*\n"),                      # no status word
    (3, "@ GPCS §11.10\n> 00 A4\n< ....\n"),                        # one that may be any
    (3, "@ GPCS §11.10\n> 00 .. 00\n< 9000\n"),                     # a wildcard in a command
    (3, "@ GPCS §11.10\n> 00 [ $A=2 ]\n< 9000\n"),
    (3, "@ GPCS §11.10\n> 00 A\n< 9000\n"),                         # half a byte
    (3, "@ GPCS §11.10\n> 00 [ 01\n< 9000\n"),                      # not closed
    (3, "@ GPCS §11.10\n> 00 01 )\n< 9000\n"),
    (3, '@ GPCS §11.10\n> 00 "text\n< 9000\n'),
])
def test_a_bad_file_is_refused(tmp_path, line, text):
    with pytest.raises(corpus.Bad, match=rf"x\.apdu:{line}: "):
        corpus.load(written(tmp_path, text))


def test_a_pair_that_is_cut_off(tmp_path):
    with pytest.raises(corpus.Bad, match="ends in the middle"):
        corpus.load(written(tmp_path, "@ GPCS §11.10\n> 00 A4\n"))


@pytest.mark.parametrize("text, value", [
    ("00A4 04", "00a404"), ('"AZ" 0D', "415a0d"), ("FF*3", "ffffff"), ("[ 01 02 ]", "020102"),
    ("[+ 01 ]", "00000101"), ("30 ( 01 ( 02 ) )", "3003010102"), ("( 00*128 )", "8180" + "00" * 128),
    ("( 00*256 )", "820100" + "00" * 256), ("$A", "010203"), ("$A:1:", "0203"), ("$A:0:2", "0102"),
    ("[ $A ]", "03010203")])
def test_bytes(text, value):
    assert corpus.value_of(corpus.parse_bytes(text), {"A": bytes([1, 2, 3])}).hex() == value


@pytest.mark.parametrize("text", ["$B", "[ ]", "[ 00*256 ]", "..", "$A=1"])
def test_bytes_that_cannot_be(text):
    with pytest.raises(corpus.Stuck):
        corpus.value_of(corpus.parse_bytes(text), {"A": b""})


@pytest.mark.parametrize("pattern, answer, kept", [
    ("6A82", "6a82", {}), ("61..", "61ff", {}), ("..*3 9000", "0102039000", {}), ("..* 9000", "9000", {}),
    ("01 $B=2 9000", "0102039000", {"B": "0203"}), ("01 $B=* 9000", "019000", {"B": ""}),
    ("( 04 .. ) $A 9000", "02040a0102039000", {}), ("0A .. 0D 9000", "0a0a0d9000", {}),
    ('"." 9000', "2e9000", {})])
def test_patterns(pattern, answer, kept):
    found = corpus.fit(corpus.parse_bytes(pattern), bytes.fromhex(answer), {"A": bytes([1, 2, 3])})
    assert {k: v.hex() for k, v in found.items()} == kept


@pytest.mark.parametrize("pattern, answer, at", [
    ("9000", "6982", 0), ("01 02 9000", "01039000", 1), ("01 9000", "010000", 1), ("01 9000", "01", 1),
    ("$A 9000", "0102ff9000", 2), ("( 01 .. ) 9000", "0301029000", 0), ("9000", "900000", 2),
    ("..*2 9000", "019000", 2), ("..* 03 9000", "01029000", None), ('"." 9000', "419000", 0),
    ("..*4 9000", "01029000", 4)])
def test_patterns_that_do_not_fit(pattern, answer, at):
    parts, values, answer = corpus.parse_bytes(pattern), {"A": bytes([1, 2, 3])}, bytes.fromhex(answer)
    assert corpus.fit(parts, answer, values) is None
    assert corpus.first_difference(parts, answer, values) == at


# --- README -----------------------------------------------------------------------------------------

def test_directives_are_described():
    text = (ROOT / "tests" / "replay" / "README.md").read_text(encoding="utf-8")
    described = {m[1] for cell in re.findall(r"^\| (`.*?) \|", text, re.M)
                 for m in re.finditer(r"`([a-z][a-z-]+)\b[^`]*`", cell)}
    there = {name[3:].replace("_", "-") for name in dir(replay.Replay) if name.startswith("do_")}
    assert described == there
