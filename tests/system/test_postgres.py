"""The bank on PostgreSQL: the tests of the ledger and of all that stands on it once more, on a real server."""

import os
import subprocess

import pytest

from cardwire_lab import ROOT
from pg_lab import Postgres

# What is about SQLite's own file, disk and locks is not among them.
PORTABLE = ["test_bank_ledger", "test_bank_limits", "test_bank_manage", "test_bank_server", "test_bank_update",
            "test_bank_issue", "test_bank_statement", "test_bank_card_api", "test_bank_resume", "test_bank_piv", "test_bank_sync"]


@pytest.fixture(scope="module")
def server():
    with Postgres(["fsync = off"]) as it:
        yield it


@pytest.mark.parametrize("program", PORTABLE)
def test_unit_tests_on_it(server, program):
    done = subprocess.run([ROOT / "build" / "tests" / "unit" / program], capture_output=True, text=True, check=False,
                          errors="replace", timeout=300, cwd=ROOT,
                          env=dict(os.environ, CARDWIRE_TEST_STORE=server.address("postgres")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout + done.stderr
