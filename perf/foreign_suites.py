"""Whether other packages' own tests end alike without the plugin and with it.

Downloads the source distributions of packages, makes an environment for each, and runs their tests
twice: without the plugin, but with all that it needs, and with it. A test that ends differently is
run again in both, since some are a matter of luck. Ends with 1 if any test still differs.

    python perf/foreign_suites.py                     all that are known
    python perf/foreign_suites.py syrupy pytest-xdist
    python perf/foreign_suites.py mine=../mine        a checkout of your own, its tests in `tests`
    python perf/foreign_suites.py pytest -k "color"   some of a suite's tests
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PLUGIN = Path(__file__).resolve().parents[1]
MINUTES = 20.0


@dataclass(frozen=True)
class Suite:
    """Where a package's tests are, of which the first that exist are run, and what they need."""

    tests: tuple[str, ...] = ("tests", "testing", "test")
    needs: tuple[str, ...] = ()


SUITES: Mapping[str, Suite] = {
    "pytest-benchmark": Suite(("tests",), ("freezegun", "pytest-xdist", "pygal", "aspectlib")),
    "pytest-xdist": Suite(("testing",), ("filelock", "psutil", "setproctitle")),
    "pytest-asyncio": Suite(("tests",), ("hypothesis",)),
    "pytest-timeout": Suite(("test_pytest_timeout.py",), ("pexpect",)),
    "syrupy": Suite(("tests",), ("attrs", "hypothesis", "pydantic", "pytest-xdist")),
    # Its whole suite takes long; these hold what a plugin may upset.
    "pytest": Suite(
        ("testing/test_terminal.py", "testing/test_junitxml.py"),
        ("attrs", "hypothesis", "xmlschema", "pexpect"),
    ),
}

# Loaded by name in the outer run alone; what the suite's own tests start does not know of it.
_RECORDER = """
import json, os
outcomes = {}

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = report.outcome

def pytest_collectreport(report):
    if report.failed:
        outcomes[report.nodeid] = "not collected"

def pytest_sessionfinish():
    with open(os.environ["FOREIGN_OUTCOMES"], "w") as file:
        json.dump(outcomes, file)
"""

Outcomes = dict[str, str]


@dataclass(frozen=True)
class Compared:
    """A suite's tests: how many ran, and those that differ, as (without, with) by their id."""

    name: str
    version: str
    without: Outcomes
    differ: Mapping[str, tuple[str, str]]
    seconds: tuple[float, float]


class Environment:
    """A package's tests in an environment of its own, with the plugin or without."""

    def __init__(self, name: str, source: Path, suite: Suite, folder: Path, select: str) -> None:
        self.name, self._source, self._folder = name, source, folder
        self._tests = [each for each in suite.tests if (source / each).exists()]
        if len(self._tests) > 1 and (source / self._tests[0]).is_dir():
            del self._tests[1:]
        self._select = ["-k", select] if select else []
        self._python = folder / "venv" / "bin" / "python"
        self._needs = suite.needs

    @property
    def has_tests(self) -> bool:
        """Whether the source came with tests."""
        return bool(self._tests)

    def prepare(self) -> None:
        """Install the package, what its tests need, and what the plugin needs."""
        if not self._python.exists():
            _call(sys.executable, "-m", "venv", str(self._folder / "venv"))
        self._pip("install", str(PLUGIN), *self._needs)
        # After the plugin, so that this version stays.
        self._pip("install", str(self._source))
        (self._folder / "foreign_outcomes.py").write_text(_RECORDER)

    def version(self) -> str:
        """The package's version."""
        code = f"import importlib.metadata as m; print(m.version({self.name!r}))"
        return _call(str(self._python), "-c", code).strip()

    def run(self, *, plugin: bool, minutes: float, only: Sequence[str] = ()) -> Outcomes:
        """How each test ends; with the plugin installed, or not."""
        if plugin:
            self._pip("install", "--no-deps", "--force-reinstall", str(PLUGIN))
        else:
            self._pip("uninstall", "--yes", "pytest-energy")
        found = self._folder / "outcomes.json"
        found.unlink(missing_ok=True)
        command = [self._python, "-m", "pytest", "-p", "foreign_outcomes", "-p", "no:cacheprovider"]
        variables = {**os.environ, "FOREIGN_OUTCOMES": str(found), "PYTHONPATH": str(self._folder)}
        variables.pop("PYTEST_ADDOPTS", None)
        log = self._folder / ("with.log" if plugin else "without.log")
        with log.open("w") as output, suppress(subprocess.TimeoutExpired):  # it has no outcomes
            subprocess.run(
                [*map(str, command), "-q", *self._select, *(only or self._tests)],
                cwd=self._source,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                timeout=60 * minutes,
                check=False,
            )
        outcomes: Outcomes = json.loads(found.read_text()) if found.exists() else {}
        return outcomes

    def _pip(self, *arguments: str) -> None:
        _call(str(self._python), "-m", "pip", "--disable-pip-version-check", *arguments)


def compare(environment: Environment, minutes: float) -> Compared:
    """Run a suite without the plugin and with it, and again what differs."""
    environment.prepare()
    began = time.monotonic()
    without = environment.run(plugin=False, minutes=minutes)
    between = time.monotonic()
    beside = environment.run(plugin=True, minutes=minutes)
    seconds = (between - began, time.monotonic() - between)
    differ = _differences(without, beside)
    if differ:
        again = [
            environment.run(plugin=plugin, minutes=minutes, only=list(differ))
            for plugin in (False, True)
        ]
        repeated = _differences(*again)
        differ = {test: how for test, how in repeated.items() if test in differ}
    return Compared(environment.name, environment.version(), without, differ, seconds)


def _differences(without: Outcomes, beside: Outcomes) -> dict[str, tuple[str, str]]:
    return {
        test: (without.get(test, "not run"), beside.get(test, "not run"))
        for test in {**without, **beside}
        if without.get(test) != beside.get(test)
    }


def source_of(name: str, folder: Path) -> Path:
    """The unpacked source distribution of a package."""
    unpacked = folder / "source"
    if not unpacked.exists():
        pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", name)
        _call(*pip, "--dest", str(folder), name)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as file:
            file.extractall(unpacked, filter="data")
    (source,) = (each for each in unpacked.iterdir() if each.is_dir())
    return source


def _call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _row(found: Compared) -> str:
    passed = sum(outcome == "passed" for outcome in found.without.values())
    without, beside = found.seconds
    return (
        f"{found.name + ' ' + found.version:<28}{len(found.without):>7}{passed:>8}"
        f"{len(found.differ):>8}{without:>10.0f} s{beside:>10.0f} s"
    )


def main() -> int:
    """Compare the suites that were asked for, and print a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suites", nargs="*", help="names, or name=folder", default=list(SUITES))
    parser.add_argument("--work", type=Path, default=Path("foreign"), help="folder to work in")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="most of one run")
    parser.add_argument("-k", dest="select", default="", help="only tests that fit, as of pytest")
    asked = parser.parse_args()
    print(f"{'suite':<28}{'tests':>7}{'passed':>8}{'differ':>8}{'without':>12}{'with':>12}")
    found = []
    for each in asked.suites:
        name, _, path = each.partition("=")
        folder = (asked.work / name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        source = Path(path).resolve() if path else source_of(name, folder)
        suite = SUITES.get(name, Suite())
        environment = Environment(name, source, suite, folder, asked.select)
        if not environment.has_tests:
            print(f"{name:<28}its source distribution has no tests: give {name}=FOLDER", flush=True)
            continue
        found.append(compare(environment, asked.minutes))
        print(_row(found[-1]), flush=True)
    for one in found:
        for test, (without, beside) in one.differ.items():
            print(f"{one.name}: {test}: {without} without, {beside} with the plugin")
    return int(any(one.differ for one in found))


if __name__ == "__main__":
    raise SystemExit(main())
