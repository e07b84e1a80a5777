"""The C code of the secure channel is held against tests/lib/scp03.py by digests of whole sessions; those
that it has must be those of the Python code, as that is now."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "lib"))

import scp03  # noqa: E402


def test_c_is_held_against_this_python():
    source = (ROOT / "tests" / "unit" / "test_proto_scp03.c").read_text(encoding="utf-8")
    table = re.search(r"digests\[\] = \{(.*?)\};", source, re.S)[1]
    assert re.findall(r'"(\w{64})"', table) == [scp03.digest(level) for level in scp03.LEVELS]
