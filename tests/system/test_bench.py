"""The bars of bench/: what a login costs on the wire is counted, not timed, so it can be held here."""

import os
import pathlib
import subprocess

import pytest

from cardwire_lab import ROOT, json_lines

PROGRAMS = pathlib.Path(os.environ.get("CARDWIRE_PROGRAMS") or ROOT / "build" / "bin")
BENCH = PROGRAMS.parent / "bench"
ATR = "3bf59700ff8131fe4580738001c024"


def bench(name, folder=BENCH, arguments=("--json",)):
    done = subprocess.run([folder / name, *arguments], capture_output=True, text=True, check=False, timeout=300,
                          env=dict(os.environ, CARDWIRE_PROGRAMS=str(PROGRAMS)))
    assert done.returncode == 0, done.stderr
    return json_lines(done.stdout)


@pytest.fixture(scope="module")
def costs():
    return bench("wire")


RESUMED = {"tls13": (8, 1000), "ecdhe": (6, 800), "rsa": (6, 800)}  # APDUs, bytes both ways


def test_every_profile_is_measured(costs):
    assert all(set(c) == {"profile", "key", "resumed", "apdus", "bytes_to_card", "bytes_from_card",
                          "tls_bytes"} for c in costs)
    measured = [(c["profile"], c["key"], c["resumed"]) for c in costs]
    assert sorted(measured) == sorted((p, k, r) for p in RESUMED for k in ("p256", "rsa2048")
                                      for r in (False, True))


def test_full_handshake_of_the_default_profile(costs):
    """SELECT to handshake finished, PIN and one ticket included: at most 14 APDUs and 2,400 bytes."""
    one = [c for c in costs if (c["profile"], c["key"], c["resumed"]) == ("tls13", "p256", False)]
    assert len(one) == 1
    assert one[0]["apdus"] <= 14
    assert one[0]["bytes_to_card"] + one[0]["bytes_from_card"] <= 2400


def test_second_login(costs):
    """From the session that the first left in the card, SELECT and PIN included."""
    for c in costs:
        if c["resumed"]:
            apdus, total = RESUMED[c["profile"]]
            assert c["apdus"] <= apdus, c
            assert c["bytes_to_card"] + c["bytes_from_card"] <= total, c


def test_overhead_over_bare_tls(costs):
    for c in costs:
        if c["resumed"]:
            continue  # so few bytes of TLS that SELECT and PIN weigh
        total = c["bytes_to_card"] + c["bytes_from_card"]
        assert c["tls_bytes"] > 1000
        assert total <= 1.12 * c["tls_bytes"], c


@pytest.fixture(scope="module")
def times():
    return bench("line")


def test_slow_lines(times):
    """At most 1.25 times what the bytes of its APDUs take back to back: each link, speed, profile and key."""
    for t in times:
        print(t)
        assert t["ms"] >= t["minimum_ms"] > 0
        assert t["ratio_apdu"] <= 1.25, t
    seen = {(t["link"], t["rate"], t["profile"], t["key"], t["login"]) for t in times}
    speeds = {(t["link"], t["rate"]) for t in times}
    assert {("t1", 9600), ("t1", 446400), ("tcl", 106000), ("tcl", 848000)} <= speeds
    assert len(seen) == len(times) == len(speeds) * 3 * 2 * 2


def test_slow_line_beats_the_published_login(times):
    """A Java Card TLS client needed about 14 s for one authenticated session."""
    assert max(t["ms"] + t["activation_ms"] for t in times) < 14000 / 4


def test_replay_counts_what_the_standard_says(tmp_path):
    """The ATR, 15 bytes, whose time stands by itself; then one exchange: IFS told and confirmed (5
    bytes each), a command in a block of 9, its answer in one of 6. A byte is 11 etu, a turn of the line 11 more:
    319 etu of 372 cycles at 3.5712 MHz."""
    tape = tmp_path / "tape"
    tape.write_text(f"{ATR}\n80fe000000 9000\n")
    slowest = bench("replay", arguments=[tape])[0]
    assert (slowest["rate"], slowest["apdus"], slowest["blocks"], slowest["line_bytes"]) == (9600, 1, 5, 40)
    assert (slowest["bytes_to_card"], slowest["bytes_from_card"]) == (5, 2)
    assert slowest["ms"] == pytest.approx(319 * 372 / 3571.2, abs=0.06)


@pytest.mark.parametrize("text", ["", "80fe000000 9000\n", f"{ATR}\n80fe000000\n", f"{ATR}\n80fe0000zz 9000\n",
                                  f"{ATR}\n80fe000000 900\n"])
def test_replay_refuses_what_is_no_tape(tmp_path, text):
    tape = tmp_path / "tape"
    tape.write_text(text)
    done = subprocess.run([BENCH / "replay", tape], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and not json_lines(done.stdout)


def test_audit_takes_no_memory_for_payments():
    """What it takes does not grow with the books: 256 MB are for a million payments (docs/bank.md has that run)."""
    few, many = (bench("audit", arguments=["--json", count])[0] for count in ("200", "2000"))
    assert (few["payments"], many["payments"]) == (200, 2000)
    assert many["rss_kb"] < few["rss_kb"] + 4096 and many["rss_kb"] < 256 * 1024


@pytest.mark.slow
def test_beside_a_piv_card(costs, times):
    """curl and OpenSC with a PIV card need more round trips than a card that is the TLS client: for each key the
    least that they need against the most that ours needs, first with first and second with second."""
    rows = bench("piv", folder=ROOT / "bench")
    rates = {t["rate"] for t in times if t["link"] == "t1"}
    assert {r["rate"] for r in rows} == rates
    seen = {(r["key"], r["certificates"], r["tls"], r["login"], r["rate"]) for r in rows}
    assert len(seen) == len(rows) == 2 * 2 * 2 * 2 * len(rates)
    assert all(r["ms"] >= r["minimum_ms"] > 0 and r["resets"] == 0 for r in rows)
    for key in ("p256", "rsa2048"):
        for name, resumed in (("first", False), ("second", True)):
            piv = min(r["apdus"] for r in rows if (r["key"], r["login"]) == (key, name))
            ours = max(c["apdus"] for c in costs if (c["key"], c["resumed"]) == (key, resumed))
            print(f"{key}, {name}: at least {piv} APDUs with PIV, at most {ours} of ours")
            assert ours < piv
