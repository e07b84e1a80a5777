"""One instruction of the card's own code skipped, or what one function returned changed, in the middle of what must
be refused: it stays refused. campaign.py says what is tried and what came out; by hand it tries more."""

import collections
import concurrent.futures
import multiprocessing
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.importorskip("unicorn")  # pytest called by hand; ./test installs it
if not shutil.which("arm-none-eabi-gcc"):
    pytest.skip("there is no compiler for the chip", allow_module_level=True)

from build import build  # noqa: E402
from campaign import Campaign  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402

pytestmark = pytest.mark.slow
KINDS = ("skip", "value")
WORKERS = 2
# The line's verdict on a certificate is the same code whatever is wrong and whatever the profile: three of the ten.
BY_HAND = ("ecdhe:", "tls13: server's certificate, for clients", "tls13: server's certificate, of an authority")
TRIED = [s for s in SCENARIOS if not s.name.startswith(BY_HAND)]
WITHOUT = ["VERIFY for the line, wrong PIN", "RESET RETRY COUNTER, wrong PUK", "EXTERNAL AUTHENTICATE, wrong MAC",
           "PIV 9B, wrong response"]

campaign = None


def begin(elf):
    global campaign
    campaign = Campaign(elf)


def one(name):
    scenario = next(s for s in SCENARIOS if s.name == name)
    return campaign.run(scenario, KINDS, times=1)


def run_all(elf, names):
    """{name: Result}"""
    fork = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(WORKERS, fork, begin, (elf,)) as pool:
        # Lines take longest, and stand at the end.
        return {result.scenario: result for result in pool.map(one, reversed(names))}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run_all(build(tmp_path_factory.mktemp("glitch") / "hard"), [s.name for s in TRIED])


@pytest.mark.parametrize("name", [s.name for s in TRIED])
def test_a_refusal_stays_one(results, name):
    result = results[name]
    assert not result.won, "\n".join(f"{kind}: {where}: {won}" for kind, where, won in result.won)
    assert result.instructions > 300


def test_both_faults_were_tried_and_did_something(results):
    """Each counted apart: not all without effect, and the card neither dead nor its old self after every one."""
    total = collections.Counter()
    for result in results.values():
        total.update(result.trials)
    print({f"{kind}, {outcome}": n for (kind, outcome), n in sorted(total.items())})
    for kind, least in (("skip", 20000), ("value", 1000)):
        assert sum(n for (k, _), n in total.items() if k == kind) > least
        for outcome in ("refused", "crashed", "no effect"):
            assert total[kind, outcome] > 0


def test_without_the_hardening_it_shows(tmp_path):
    """HARD_OFF, base/hard.h: the same card whose decisions are taken once."""
    found = run_all(build(tmp_path / "soft", "-DHARD_OFF"), WITHOUT)
    assert any(kind == "skip" for result in found.values() for kind, _, _ in result.won)
    assert sum(bool(result.won) for result in found.values()) > 1
