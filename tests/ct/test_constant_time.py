"""Runs the card with its secrets marked, under valgrind's memcheck: no branch and no address may depend on
them but where valgrind.supp says so. What must be reported is reported, so that the silence means something.
docs/constant-time.md."""

import collections
import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree

import pytest

from cardwire_lab import ROOT

HERE = pathlib.Path(__file__).parent
BUILD = ROOT / "build"  # never another: sanitizers and valgrind do not go together
CT = BUILD / "tests" / "ct" / "ct"
QUICK = ["test_equal", "test_pin", "test_pin_change", "test_issuer_channel", "test_piv", "test_rsa", "test_ciphers"]
LINES = ["test_line_tls13", "test_line_ecdhe", "test_line_rsa"]
SECRETS = QUICK + LINES
REPORTED = 99

Run = collections.namedtuple("Run", "code said reports used")


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    key = tmp_path_factory.mktemp("ct") / "rsa.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], capture_output=True, check=True)
    return dict(os.environ, CT_RSA_KEY=str(key))


@pytest.fixture(scope="module")
def run(env, tmp_path_factory):
    """Runs one test under valgrind, once: its exit code, what it said, the functions of each report from the
    inside out, and the names of the suppressions that it needed."""
    runs, folder = {}, tmp_path_factory.mktemp("reports")

    def once(name, suppressions=HERE / "valgrind.supp"):
        key = (name, suppressions)
        if key not in runs:
            report = folder / f"{len(runs)}.xml"
            done = subprocess.run(
                ["valgrind", "--error-exitcode=%d" % REPORTED, "--leak-check=no", "--num-callers=40",
                 "--error-limit=no", "--xml=yes", f"--xml-file={report}", f"--suppressions={suppressions}",
                 str(CT), name], capture_output=True, text=True, timeout=300, env=env, check=False)
            tree = xml.etree.ElementTree.parse(report).getroot()
            runs[key] = Run(
                done.returncode, done.stdout + done.stderr,
                [[e.findtext("kind")] + [f.findtext("fn") or "?" for f in e.find("stack").iter("frame")]
                 for e in tree.iter("error")],
                {p.findtext("name") for p in tree.find("suppcounts").iter("pair")})
        return runs[key]

    return once


def symbols(program):
    listed = subprocess.run(["nm", "--defined-only", str(program)], capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in listed.stdout.splitlines() if line.strip()}


def test_every_test_of_the_program_is_run_here():
    listed = subprocess.run([str(CT), "--list"], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(listed) == sorted(SECRETS + ["leak_pin", "stack_holds_no_key", "stack_leak_is_found"])


@pytest.mark.parametrize("name", QUICK + [pytest.param(name, marks=pytest.mark.slow) for name in LINES])
def test_nothing_depends_on_a_secret(run, name):
    done = run(name)
    assert not done.reports, done.reports
    assert done.code == 0, done.said


def test_a_comparison_that_stops_early_is_reported(run):
    """The same VERIFY, with a comparison like memcmp in the place of ct_equal."""
    done = run("leak_pin")
    assert done.code == REPORTED, done.said
    assert done.reports
    for kind, *functions in done.reports:
        assert kind == "UninitCondition"
        assert functions[0] == "__wrap_ct_equal" and "pin_verify" in functions, functions


def suppressions():
    return re.findall(r"^\{\n   (\S+)\n   Memcheck:(\w+)\n((?:   fun:\w+\n)+)\}$",
                      (HERE / "valgrind.supp").read_text(encoding="ascii"), re.M)


def test_suppressions_name_functions_of_libraries():
    """Without wildcards, and none of ours."""
    text = (HERE / "valgrind.supp").read_text(encoding="ascii")
    assert len(suppressions()) == text.count("{")
    ours = set().union(*(symbols(library) for part in ("base", "proto", "card")
                         for library in (BUILD / part).glob("lib*.a")))
    assert {"ct_equal", "pin_verify", "apdu_parse"} <= ours
    assert not ours & {f for _, _, functions in suppressions() for f in re.findall(r"fun:(\w+)", functions)}


@pytest.mark.slow
def test_no_suppression_is_idle(run):
    used = set().union(*(run(name).used for name in SECRETS))
    assert {name for name, _, _ in suppressions()} <= used


def test_every_suppression_has_its_line_in_the_docs():
    page = (ROOT / "docs" / "constant-time.md").read_text(encoding="utf-8")
    missing = [f for _, _, functions in suppressions()
               for f in re.findall(r"fun:(\w+)", functions)[:1] if f"`{f}`" not in page]
    assert not missing


@pytest.mark.parametrize("name, expected", [
    ("test_ciphers", {"mbedtls_internal_aes_encrypt", "mbedtls_des3_crypt_ecb"}),
    pytest.param("test_line_tls13", {"p256_ecdsa_sign", "p256_ecdh_shared_secret", "gcm_mult_smalltable"},
                 marks=pytest.mark.slow)])
def test_what_is_suppressed_would_be_reported(run, tmp_path, name, expected):
    """Without the list it shows: the secrets do get to where the list says they are."""
    nothing = tmp_path / "none.supp"
    nothing.write_text("", encoding="ascii")
    assert expected <= {report[1] for report in run(name, nothing).reports}


@pytest.mark.parametrize("name", ["stack_holds_no_key", "stack_leak_is_found"])
def test_stack(env, name):
    done = subprocess.run([str(CT), name], capture_output=True, text=True, timeout=60, env=env, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_card_has_one_engine_for_p256():
    """p256-m, and nothing of mbedTLS's own curves; nor TLS's CBC (card/mbedtls_config.h, scripts/mbedtls)."""
    there = symbols(BUILD / "bin" / "cardwire-card")
    assert "p256_ecdsa_sign" in there and "mbedtls_ssl_handshake_step" in there
    assert not {s for s in there if re.match(r"mbedtls_ecp_(mul|group|point)|mbedtls_ecd(h|sa)_(sign|compute)|"
                                             r"mbedtls_ct_hmac|mbedtls_ssl_cf_", s)}
