"""Collects the C unit tests one by one, finds the programs, and counts what came out.

C: each tests/unit/test_NAME.c is a program that lists its tests with --list and runs one by name
(tests/unit/unit.h). Each becomes one test here, once in build/ and once more, in a full run, in the
build with sanitizers.
"""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "lib"))

UNIT_TIMEOUT = 300  # seconds; a test that hangs must end, a slow machine must not fail


class UnitFailed(Exception):
    pass


class UnitFile(pytest.File):
    def collect(self):
        builds = [("", ROOT / "build")]
        if not os.environ.get("CARDWIRE_QUICK"):
            builds.append(("asan", ROOT / "build-asan"))
        for label, build in builds:
            program = build / "tests" / "unit" / self.path.stem
            if not program.exists():
                if label:
                    continue  # pytest called by hand, without the sanitizer build
                raise self.CollectError(f"{program} is not built: run scripts/build")
            listed = subprocess.run([str(program), "--list"], capture_output=True, text=True,
                                    timeout=UNIT_TIMEOUT)
            names = listed.stdout.split()
            if listed.returncode or not names:
                raise self.CollectError(f"{program} --list gave no names: {listed.stderr}")
            for name in names:
                item = UnitItem.from_parent(self, name=f"{name}[{label}]" if label else name)
                item.program, item.test = program, name
                yield item


class UnitItem(pytest.Item):
    def runtest(self):
        env = dict(os.environ, ASAN_OPTIONS="abort_on_error=0:exitcode=99",
                   UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
        done = subprocess.run([str(self.program), self.test], capture_output=True, text=True,
                              errors="replace", timeout=UNIT_TIMEOUT, cwd=ROOT, env=env)
        said = done.stdout + done.stderr
        if done.returncode:
            raise UnitFailed(f"{self.program.name} {self.test}: exit {done.returncode}\n{said}")
        if "[  SKIPPED ]" in said:
            pytest.skip(said.strip().splitlines()[0])

    def repr_failure(self, excinfo):
        if isinstance(excinfo.value, UnitFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, None, f"{self.path.stem}::{self.name}"


def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".c" and file_path.name.startswith("test_"):
        return UnitFile.from_parent(parent, path=file_path)
    return None


def pytest_unconfigure(config):
    """The line that ./test ends with. Only in the process that saw every report."""
    path = os.environ.get("CARDWIRE_COUNTS")
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not path or reporter is None or hasattr(config, "workerinput"):
        return
    stats = reporter.stats
    failed = len(stats.get("failed", [])) + len(stats.get("error", []))
    pathlib.Path(path).write_text(
        f"{len(stats.get('passed', []))} passed, {failed} failed, "
        f"{len(stats.get('skipped', []))} skipped\n", encoding="ascii")
