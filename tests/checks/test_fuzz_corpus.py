"""The inputs that the fuzzers found worth keeping (fuzz/corpus), once more: in build/, and in a full run
in the build with sanitizers."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILDS = ["build"] if os.environ.get("CARDWIRE_QUICK") else ["build", "build-asan"]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("target", ["card", "http", "proto", "receipt", "t1", "tcl"])
def test_fuzz_corpus(build, target):
    program = ROOT / build / "fuzz" / f"fuzz_{target}"
    corpus = ROOT / "fuzz" / "corpus" / target
    done = subprocess.run([program, corpus], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == [str(len(list(corpus.iterdir()))), "inputs"]
