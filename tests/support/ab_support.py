"""Temporary git repositories whose two sides are compared, on a ledger or on a simulated card.

The ledger is a meter for tests: its joules are the sum of the numbers in a file, to which any
process adds, so that a side spends exactly what its code says, in no time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import sim

LEDGER = """
import os, time
from pathlib import Path
from pytest_energy.meters import Conditions, Device, Reading
from pytest_energy.meters.protocol import Measured


def spend(joules):
    with open(os.environ["LEDGER"], "a") as file:
        file.write(f"{joules!r}\\n")


def total():
    path = Path(os.environ["LEDGER"])
    return sum(map(float, path.read_text().split())) if path.exists() else 0.0


class Span:
    def __init__(self):
        self.started, self._before = time.monotonic(), total()

    def end(self, ended):
        return Measured({"gpu:0": total() - self._before}, 0.0)


class LedgerMeter:
    name, method = "ledger", "counter"
    update_period_seconds = resolution_joules = 0.0
    devices = (Device("gpu:0", "NVIDIA H200", "GPU-0000-test"),)

    def read(self):
        return Reading(time.monotonic(), {"gpu:0": total()})

    def begin(self):
        return Span()

    def conditions(self):
        return Conditions()

    def close(self):
        pass
"""

RUN = '''
"""What the project's tests train: a window spends `joules` at every token."""

import random
from dataclasses import replace

import ledger
from pytest_energy import window

JOULES = 0.005


class Run:
    digest = "0badcafe"

    def __init__(self, meter, name="mine/model", joules=None, padding_overhead=2.0):
        self.meter, self.id, self.padding_overhead = meter, name, padding_overhead
        self._joules = JOULES if joules is None else joules
        self._random = random.Random(JOULES)

    def window(self):
        with window(self.meter, self.id) as opened:
            ledger.spend(1000 * self._joules * self._random.gauss(1, 0.001))
        return replace(
            opened.record, seconds=0.1, tokens=1000, real_tokens=int(1000 / self.padding_overhead)
        )
'''

TEST = """
from project import Run

def test_mine(energy, energy_gate):
    energy_gate.check("joules_per_token", Run(energy.meter))
"""

SIMULATED_PROJECT = """
import os
import time
from pathlib import Path

import sim

WORK, WATTS = 1.0, 300.0
STEPS = Path(os.environ["STEPS"])


def train(seconds):
    sim.set_watts(STEPS, WATTS)
    time.sleep(seconds * WORK)
    sim.set_watts(STEPS, 80.0)
"""

SIMULATED_TEST = """
from dataclasses import replace

import project
from pytest_energy import window


class Mine:
    id, digest, padding_overhead = "mine/model", None, None

    def __init__(self, meter):
        self.meter = meter

    def window(self):
        with window(self.meter, self.id) as opened:
            project.train(0.2)
        return replace(opened.record, tokens=1000, real_tokens=1000)


def test_mine(energy, energy_gate):
    energy_gate.check("joules_per_token", Mine(energy.meter))
"""


class Repository:
    """A git repository with a project in it, and pytest runs on its working tree."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.path = folder / "project of mine"
        self.path.mkdir(parents=True)
        self.variables = dict(variables)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.email", "someone@example.org")
        self.git("config", "user.name", "Someone")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, **files: str) -> None:
        """Write modules, named without their suffix."""
        for name, text in files.items():
            (self.path / f"{name}.py").write_text(text)

    def change(self, name: str, old: str, new: str) -> None:
        """Change a module of the working tree."""
        text = (self.path / f"{name}.py").read_text()
        assert old in text
        self.write(**{name: text.replace(old, new)})

    def commit(self, message: str = "more") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run pytest in the working tree."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def command(self, *arguments: str) -> list[str]:
        plugins = ["-p", "pytest_energy.plugin", "-p", "no:cacheprovider"]
        return [sys.executable, "-m", "pytest", *plugins, *arguments]

    def worktrees(self) -> list[str]:
        """What git knows of worktrees, and what lies in the temporary folder."""
        listed = self.git("worktree", "list", "--porcelain").count("worktree ")
        left = [path.name for path in Path(self.variables["TMPDIR"]).glob("pytest-energy-*")]
        return [f"{listed} listed", *left]

    def state(self) -> dict[str, object]:
        """All of the checkout that a comparison must leave alone, byte for byte."""
        index = self.path / ".git" / "index"
        files = [p for p in self.path.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
        objects = [p for p in files if "objects" not in p.parts]
        return {
            "index": (index.read_bytes(), index.stat().st_mtime_ns),
            "files": {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in objects},
            "refs": self.git("for-each-ref"),
            "stash": self.git("stash", "list"),
            "head": (self.path / ".git" / "HEAD").read_text(),
        }


def ledger_repository(folder: Path) -> Repository:
    """A project on the ledger: its run spends 5 mJ a token, give or take 0.1 %.

    It is a strict one: warnings are errors.
    """
    site = folder / "site"
    info = site / "ledger-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "ledger.py").write_text(LEDGER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ledger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest_energy.meters]\nledger = ledger:LedgerMeter\n")
    repository = Repository(folder, _variables(folder, str(site), LEDGER=str(folder / "ledger")))
    (repository.path / "pytest.ini").write_text(
        "[pytest]\nenergy_meter = ledger\nenergy_idle_seconds = 0\nfilterwarnings = error\n"
    )
    (repository.path / ".gitignore").write_text("__pycache__/\n")
    repository.write(project=RUN, test_mine=TEST)
    repository.commit("first")
    return repository


def simulated_repository(folder: Path, **files: str) -> Repository:
    """A project on a simulated card whose power follows what its code says (`sim.set_watts`)."""
    steps = folder / "steps"
    folder.mkdir(parents=True, exist_ok=True)
    steps.touch()
    gpu = sim.SimulatedGpu(f"steps {steps}", tick_seconds=0.02)
    variables = sim.environment([gpu], folder / "gpu")
    # A first level, so that the card draws something before anybody works on it.
    sim.set_watts(steps, 80.0)
    repository = Repository(folder, {**variables, **_own(folder), "STEPS": str(steps)})
    (repository.path / "pytest.ini").write_text("[pytest]\nenergy_idle_seconds = 0\n")
    (repository.path / ".gitignore").write_text("__pycache__/\n")
    repository.write(**files)
    repository.commit("first")
    return repository


def _variables(folder: Path, *paths: str, **more: str) -> dict[str, str]:
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join(each for each in (*paths, *known) if each)
    return {**os.environ, "PYTHONPATH": path, **_own(folder), **more}


def _own(folder: Path) -> dict[str, str]:
    """A temporary folder of its own, in which nothing may be left behind."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {
        "TMPDIR": str(temporary),
        "PYTEST_ENERGY_LOCKS": str(folder / "locks"),
        "CI": "",
        # Others only take time, and pytest-benchmark asks git in a way that rewrites the index.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
