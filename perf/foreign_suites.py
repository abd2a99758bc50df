"""Whether other packages' own tests end alike without the plugin and with it.

Downloads the source distributions of packages, makes two environments for each, one without the
plugin but with all that it needs, and one with it, and runs the package's tests in both side by
side. What ends differently is run three times more, and counts as different only if it differs in
the same way each time: some tests are a matter of luck. Of a suite that takes longer than
`--minutes`, those tests are compared that both had run by then, and its row says so. Ends with 1 if
a test differs, or if none of a suite ended.

    python perf/foreign_suites.py                     all that are known
    python perf/foreign_suites.py syrupy pytest-xdist
    python perf/foreign_suites.py mine=../mine        a checkout of your own, its tests in `tests`
    python perf/foreign_suites.py pytest -k "color"   some of a suite's tests
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PLUGIN = Path(__file__).resolve().parents[1]
MINUTES = 20.0
REPEATS = 3


@dataclass(frozen=True)
class Suite:
    """Where a package's tests are, of which the first that exist are run, and what they need."""

    tests: tuple[str, ...] = ("tests", "testing", "test")
    needs: tuple[str, ...] = ()


SUITES: Mapping[str, Suite] = {
    "pytest-benchmark": Suite(
        ("tests",), ("freezegun", "pytest-xdist", "pygal", "aspectlib", "elasticsearch", "nbmake")
    ),
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
RECORDER = """
import json, os

def write(test, outcome):
    with open(os.environ["FOREIGN_OUTCOMES"], "a") as file:
        file.write(json.dumps([test, outcome]) + chr(10))

def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        write(report.nodeid, report.outcome)

def pytest_collectreport(report):
    if report.failed:
        write(report.nodeid, "not collected")

def pytest_sessionfinish():
    write(None, "ended")
"""

Outcomes = dict[str, str]


@dataclass(frozen=True)
class Ran:
    """How the tests of a suite ended, whether all of them did in time, and how long it took (s)."""

    outcomes: Outcomes
    ended: bool
    seconds: float


Pair = tuple[Outcomes, Outcomes]
"""How the same tests end: without the plugin, and with it."""
Differences = dict[str, tuple[str, str]]
"""Tests that end differently, by their id: how without the plugin, and how with it."""


class NoOutcomesError(Exception):
    """A suite of which no test ended: it took too long, or its run failed as a whole."""


@dataclass(frozen=True)
class Compared:
    """A suite's tests: how many ran, and those that differ or did once."""

    name: str
    version: str
    without: Outcomes
    differ: Differences
    differed_once: int
    """Tests that differed, but not in the same way when they were run again."""
    cut: bool
    """Whether time was up before all had run: what both had run by then is compared."""
    seconds: tuple[float, float]


class Environment:
    """A package in an environment of its own, with the plugin or without."""

    def __init__(self, name: str, source: Path, folder: Path, *, plugin: bool) -> None:
        self._name, self._source, self._plugin = name, source, plugin
        self._folder = folder / ("with" if plugin else "without")
        self._python = self._folder / "venv" / "bin" / "python"

    def prepare(self, needs: Sequence[str]) -> None:
        """Install the package, what its tests need, and what the plugin needs."""
        if not self._python.exists():
            _call(sys.executable, "-m", "venv", str(self._folder / "venv"))
        self._pip("install", str(PLUGIN), *needs)
        # After the plugin, so that this version stays.
        self._pip("install", str(self._source))
        if not self._plugin:
            self._pip("uninstall", "--yes", "pytest-energy")
        (self._folder / "foreign_outcomes.py").write_text(RECORDER)

    def version(self) -> str:
        """The package's version."""
        code = f"import importlib.metadata as m; print(m.version({self._name!r}))"
        return _call(str(self._python), "-c", code).strip()

    def run(self, arguments: Sequence[str], minutes: float) -> Ran:
        """How each test ends that does within that time."""
        found = self._folder / "outcomes.jsonl"
        found.unlink(missing_ok=True)
        command = [self._python, "-m", "pytest", "-p", "foreign_outcomes", "-p", "no:cacheprovider"]
        # pytest clears away what other runs have left, this one's twin and those of others here.
        temporary = self._folder / "temporary"
        temporary.mkdir(exist_ok=True)
        variables = {
            **os.environ,
            "FOREIGN_OUTCOMES": str(found),
            "PYTEST_DEBUG_TEMPROOT": str(temporary),
            "PYTHONPATH": str(self._folder),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        variables.pop("PYTEST_ADDOPTS", None)
        began = time.monotonic()
        log = self._folder / "run.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*map(str, command), "-q", *arguments],
                cwd=self._source,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                process.wait(60 * minutes)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # and the runs that its tests started
                process.wait()
        seconds = time.monotonic() - began
        lines = found.read_text().splitlines() if found.exists() else []
        outcomes = dict(map(json.loads, lines))
        ended = outcomes.pop(None, None) is not None
        if not outcomes:
            raise NoOutcomesError(f"no test ended in {seconds:.0f} s: `{log}` says more")
        return Ran(outcomes, ended, seconds)

    def _pip(self, *arguments: str) -> None:
        _call(str(self._python), "-m", "pip", "--disable-pip-version-check", *arguments)


def compare(
    name: str, source: Path, folder: Path, arguments: Sequence[str], minutes: float
) -> Compared:
    """Run a suite without the plugin and with it, and again what differs."""
    both = [Environment(name, source, folder, plugin=plugin) for plugin in (False, True)]
    for each in both:
        each.prepare(SUITES.get(name, Suite()).needs)

    def run(chosen: Sequence[str]) -> list[Ran]:
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda each: each.run(chosen, minutes), both))

    without, beside = run(arguments)
    cut = not (without.ended and beside.ended)
    pair = (
        in_both(without.outcomes, beside.outcomes) if cut else (without.outcomes, beside.outcomes)
    )
    found = differences(pair)

    def again(tests: list[str]) -> Pair:
        one, other = run(tests)
        return one.outcomes, other.outcomes

    differ = that_stay(found, again)
    once, seconds = len(found) - len(differ), (without.seconds, beside.seconds)
    return Compared(name, both[0].version(), pair[0], differ, once, cut, seconds)


def in_both(without: Outcomes, beside: Outcomes) -> Pair:
    """The outcomes of those tests that both have."""
    both = without.keys() & beside.keys()
    return (
        {test: how for test, how in without.items() if test in both},
        {test: how for test, how in beside.items() if test in both},
    )


def differences(pair: Pair) -> Differences:
    """The tests that end differently; one that did not run in one of both is `not run` there."""
    without, beside = pair
    return {
        test: (without.get(test, "not run"), beside.get(test, "not run"))
        for test in {**without, **beside}
        if without.get(test) != beside.get(test)
    }


def that_stay(found: Differences, again: Callable[[list[str]], Pair]) -> Differences:
    """Those that differ in the same way each time they are run again."""
    for _ in range(REPEATS):
        if not found:
            break
        repeated = differences(again(list(found)))
        found = {test: how for test, how in found.items() if repeated.get(test) == how}
    return found


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


def _tests_of(suite: Suite, source: Path) -> list[str]:
    """What of a source is to be run: the first folder of tests, or all files that are named."""
    there = [each for each in suite.tests if (source / each).exists()]
    return there[:1] if there and (source / there[0]).is_dir() else there


def _row(found: Compared) -> str:
    passed = sum(outcome == "passed" for outcome in found.without.values())
    without, beside = found.seconds
    return (
        f"{found.name + ' ' + found.version:<28}{len(found.without):>7}{passed:>8}"
        f"{len(found.differ):>8}{found.differed_once:>8}{without:>10.0f} s{beside:>10.0f} s"
        f"{'  (cut: time was up)' if found.cut else ''}"
    )


def main() -> int:
    """Compare the suites that were asked for, and print a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suites", nargs="*", help="names, or name=folder", default=list(SUITES))
    parser.add_argument("--work", type=Path, default=Path("foreign"), help="folder to work in")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="most of one run")
    parser.add_argument("-k", dest="select", default="", help="only tests that fit, as of pytest")
    asked = parser.parse_args()
    heads = f"{'tests':>7}{'passed':>8}{'differ':>8}{'once':>8}{'without':>12}{'with':>12}"
    print(f"{'suite':<28}{heads}", flush=True)
    well = True
    for each in asked.suites:
        name, _, path = each.partition("=")
        folder = (asked.work / name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        source = Path(path).resolve() if path else source_of(name, folder)
        tests = _tests_of(SUITES.get(name, Suite()), source)
        if not tests:
            print(f"{name:<28}its source distribution has no tests: give {name}=FOLDER", flush=True)
            continue
        select = ["-k", asked.select] if asked.select else []
        try:
            found = compare(name, source, folder, [*select, *tests], asked.minutes)
        except NoOutcomesError as error:
            print(f"{name:<28}{error}", flush=True)
            well = False
            continue
        print(_row(found), flush=True)
        for test, (without, beside) in found.differ.items():
            print(f"    {test}: {without} without, {beside} with the plugin", flush=True)
            well = False
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main())
