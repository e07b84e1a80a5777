"""The bars of bench/: what a login costs on the wire is counted, not timed, so it can be held here."""

import os
import pathlib
import subprocess

import pytest

from cardwire_lab import ROOT, json_lines

BENCH = pathlib.Path(os.environ.get("CARDWIRE_PROGRAMS") or ROOT / "build" / "bin").parent / "bench"


def bench(name):
    done = subprocess.run([str(BENCH / name), "--json"], capture_output=True, text=True, check=False,
                          timeout=120)
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
