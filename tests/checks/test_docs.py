"""docs/handshake.md says which test proves each step and claim: those tests must exist."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = re.compile(r"`(tests/[\w/.-]+)::(\w+)`")


def missing(text, root=ROOT):
    """References to tests that are not in the tree."""
    wrong = []
    for path, name in NAME.findall(text):
        file = root / path
        source = file.read_text(encoding="utf-8") if file.is_file() else ""
        # C: `static void name(`; Python: `def name(`
        if not re.search(rf"(?:^static void|^def|^    def) {name}\(", source, re.M):
            wrong.append(f"{path}::{name}")
    return wrong


def rows(text, heading):
    """The rows of the first table under a heading, as lists of cells."""
    part = text.split(heading, 1)[1]
    found = []
    for line in part.splitlines():
        if line.startswith("|"):
            found.append([c.strip() for c in line.strip().strip("|").split("|")])
        elif found:
            break
    return found[2:]


def handshake():
    return (ROOT / "docs" / "handshake.md").read_text(encoding="utf-8")


def test_every_named_test_exists():
    wrong = []
    for doc in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        wrong += [f"{doc.name}: {w}" for w in missing(doc.read_text(encoding="utf-8"))]
    assert not wrong


def test_a_test_that_does_not_exist_is_noticed():
    assert missing("proved by `tests/checks/test_docs.py::test_that_nobody_wrote`")
    assert missing("proved by `tests/unit/test_nothing.c::test_x`")
    assert not missing("`tests/checks/test_docs.py::test_every_named_test_exists`")


@pytest.mark.parametrize("step", ["1", "2", "3", "4", "5", "6a", "6b", "6c", "7, 8", "9", "10", "11",
                                  "12"])
def test_each_step_names_its_test(step):
    row = [r for r in rows(handshake(), "## The twelve steps") if r[0] == step]
    assert len(row) == 1, f"step {step} has {len(row)} rows"
    assert NAME.search(row[0][-1]), f"step {step} names no test"


@pytest.mark.parametrize("claim", ["1, 10", "2", "9, 16"])
def test_each_claim_names_its_test(claim):
    row = [r for r in rows(handshake(), "## The claims") if r[0] == claim]
    assert len(row) == 1, f"claim {claim} has {len(row)} rows"
    assert NAME.search(row[0][-1]), f"claim {claim} names no test"
