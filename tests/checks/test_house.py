"""Holds the tree against the rules of the house: includes, shell, format, sizes, and docs that name
tests which exist. Each check is also shown something bad, because a check that cannot fail is none."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)


def tracked(*patterns):
    """Files of the project; without git (an exported tree) what is on disk."""
    listed = run("git", "-C", ROOT, "ls-files", "--", *patterns)
    if listed.returncode == 0:
        return [ROOT / f for f in listed.stdout.splitlines() if (ROOT / f).is_file()]
    return [f for p in patterns for f in ROOT.glob("**/" + p)
            if not f.relative_to(ROOT).parts[0].startswith("build")]


# --- includes ---------------------------------------------------------------------------------------

def check_includes(tree):
    return run(sys.executable, ROOT / "scripts" / "check-includes", tree)


def test_includes_point_one_way():
    done = check_includes(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path, include", [
    ("base/x.c", '"proto/apdu.h"'),
    ("proto/x.h", '"host/say.h"'),
    ("host/x.c", '"reader/reader.h"'),
    ("reader/x.c", '"terminal/applet.h"'),
    ("reader/pcsc.c", '"card/card.h"'),
    ("terminal/x.c", '"card/card.h"'),
    ("terminal/x.c", '"bank/x.h"'),
    ("card/x.c", '"host/say.h"'),
    ("card/x.c", '"reader/reader.h"'),
    ("card/x.c", "<stdlib.h>"),
    ("card/x.c", "<unistd.h>"),
    ("base/x.c", "<time.h>"),
    ("bank/x.c", "<mbedtls/ssl.h>"),
    ("terminal/x.c", '"line.h"'),
    ("terminal/x.c", '"receipt/verify.h"'),
    ("receipt/x.c", '"bank/x.h"'),
])
def test_bad_include_is_caught(tmp_path, path, include):
    for header in ["base/err.h", "proto/apdu.h", "host/say.h", "reader/reader.h",
                   "terminal/applet.h", "terminal/line.h", "bank/x.h", "card/card.h", "receipt/verify.h"]:
        (tmp_path / header).parent.mkdir(exist_ok=True)
        (tmp_path / header).write_text("")
    assert check_includes(tmp_path).returncode == 0
    (tmp_path / path).write_text(f"#include {include}\n")
    done = check_includes(tmp_path)
    assert done.returncode == 1
    assert f"{path}:1:" in done.stdout


@pytest.mark.parametrize("line, text", [
    (1, '#include /* x */ "bank/bank.h"\n'),
    (1, '/* x */ # /**/ include/* y */"bank/bank.h"\n'),
    (3, '/* two\n lines */\n#include "bank/bank.h"\n'),
    (2, '/* \n */ #include "bank/bank.h"\n'),
    (2, 'char *s = "/*";\n#include "bank/bank.h"\nchar *t = "*/";\n'),
    (2, "char c = '\"';\n#include \"bank/bank.h\"\n"),
    (1, '#inc\\\nlude \\\n"bank/bank.h"\n'),
    (4, '#define A \\\n 1\n\n#include "bank/bank.h"\n'),
    (1, '%:include "bank/bank.h"\n'),
    (1, '??=include "bank/bank.h"\n'),
    (1, '#include_next "bank/bank.h"\n'),
    (2, '#define BANK "bank/bank.h"\n#include BANK\n'),
])
def test_disguised_include_is_caught(tmp_path, line, text):
    for name, content in [("base/err.h", ""), ("bank/bank.h", ""), ("terminal/x.c", text)]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    done = check_includes(tmp_path)
    assert done.returncode == 1 and f"terminal/x.c:{line}:" in done.stdout, done.stdout


def test_include_in_a_comment_is_none(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "err.h").write_text('/*\n#include "bank/bank.h"\n*/\n// \\\n#include <unistd.h>\n')
    done = check_includes(tmp_path)
    assert done.returncode == 0, done.stdout


def test_includes_that_are_allowed(tmp_path):
    for path, text in [("base/err.h", "#include <stdint.h>\n"),
                       ("card/card.h", '#include "base/err.h"\n#include <mbedtls/ssl.h>\n'),
                       ("reader/inproc.c", '#include "card/card.h"\n'),
                       ("card/ports/linux/main.c", '#include "host/say.h"\n#include <unistd.h>\n'),
                       ("host/say.h", '#include "base/err.h"\n'),
                       ("receipt/verify.h", '#include "host/say.h"\n#include <openssl/x509.h>\n'),
                       ("terminal/cli_receipt.c", '#include "receipt/verify.h"\n'),
                       ("bank/x.c", '#include "receipt/verify.h"\n'),
                       ("bin/x.c", '#include "card/card.h"\n#include "host/say.h"\n')]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    done = check_includes(tmp_path)
    assert done.returncode == 0, done.stdout


# --- shell, C format, sizes -------------------------------------------------------------------------

def shell_scripts():
    for path in tracked("scripts/*", "demo", "test", ".ci/*"):
        with open(path, "rb") as f:
            if re.match(rb"#!.*\b(ba)?sh\b", f.readline()):
                yield path


def test_shell_scripts_are_clean():
    scripts = sorted(shell_scripts())
    assert len(scripts) >= 4, scripts
    done = run("shellcheck", "-S", "warning", *scripts)
    assert done.returncode == 0, done.stdout


def test_c_is_formatted():
    files = tracked("*.c", "*.h")
    assert files
    tool = shutil.which("clang-format")
    if tool is None:
        pytest.skip("clang-format is not installed")
    version = int(re.search(r"version (\d+)", run(tool, "--version").stdout).group(1))
    if version != 14:
        pytest.skip(f"clang-format {version}: the tree is formatted by 14 (Debian 12's)")
    done = run(tool, "--dry-run", "--Werror", *files)
    wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines() if "error:" in line})
    assert done.returncode == 0, "run clang-format -i on: " + " ".join(
        str(pathlib.Path(f).relative_to(ROOT)) for f in wrong)


def test_files_stay_readable():
    """Files up to about 600 lines; tests, which are lists of cases, somewhat more."""
    long = {str(f.relative_to(ROOT)): n for f in tracked("*.c", "*.h")
            if (n := len(f.read_text().splitlines()))
            > (850 if f.is_relative_to(ROOT / "tests") else 700)}
    assert not long


def test_no_path_of_one_machine():
    wrong = []
    for path in tracked("*"):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for pattern in ("/wor" "k/", "deb.debi" "an.org", "/ro" "ot/"):
            if pattern in text:
                wrong.append(f"{path.relative_to(ROOT)}: {pattern}")
    assert not wrong


# --- options ----------------------------------------------------------------------------------------

def doubled_bits(text):
    bits = re.findall(r"UINT64_C\(1\) << (\d+)\)", text)
    return sorted({b for b in bits if bits.count(b) > 1})


def test_each_option_of_cardwired_has_a_bit_of_its_own():
    text = (ROOT / "bank" / "cli.h").read_text()
    assert "#define CLI_DIR" in text and not doubled_bits(text)
    assert doubled_bits(text + "#define CLI_X (UINT64_C(1) << 0)\n") == ["0"]
