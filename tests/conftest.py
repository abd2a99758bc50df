"""Fixtures that tests of the plugin share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.pytester import SysModulesSnapshot

pytest_plugins = ["pytester"]

# What starts tests in the background may ignore these, and what tests start would inherit that.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


def _is_installed(name: str) -> bool:
    """Whether a module that is loaded is Python's or an installed package's, but for ours."""
    if name.partition(".")[0] == "pytest_energy":
        return False
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return file.startswith((sys.prefix, sys.base_prefix))


# A `pytester` forgets what was first imported while it was there. Of packages that would cost each
# inner run their import, and those that register something with a library of C++ fail at the next.
pytest.Pytester._Pytester__take_sys_modules_snapshot = lambda _: SysModulesSnapshot(  # type: ignore[attr-defined]
    preserve=_is_installed
)

# Installed for test_neighbours.py alone: elsewhere they would cost each inner run its start.
NEIGHBOURS = ("asyncio", "pytest_cov", "randomly", "rerunfailures")

# A meter as a third party would install one: tests say what is spent, and when.
_METER = '''
import time
from pytest_energy.meters import Conditions, Device, Reading
from pytest_energy.meters.protocol import Measured

# No real card could spend in microseconds what tests spend: its limit is out of reach.
METHOD, NAME, LIMIT = "counter", "NVIDIA H200", 7e9
joules = 0.0
faults = []


def spend(amount):
    """Use some joules, in no time."""
    global joules
    joules += amount


class Span:
    def __init__(self):
        self.started, self._before = time.monotonic(), joules

    def end(self, ended):
        return Measured({"gpu:0": joules - self._before}, 0.0, tuple(faults))


class SpendingMeter:
    name = "spending"
    update_period_seconds = 0.0
    resolution_joules = 0.0

    def __init__(self):
        self.method = METHOD
        self.devices = (Device("gpu:0", NAME, "GPU-0000-test", LIMIT, "580.1"),)

    def read(self):
        return Reading(time.monotonic(), {"gpu:0": joules})

    def begin(self):
        return Span()

    def conditions(self):
        return Conditions(tuple(faults))

    def close(self):
        pass
'''

# A run as a user would write one: `noise` is the sequence of J/token factors of its windows.
_RUN = """
import itertools
import os
import random
from dataclasses import replace

import spending
from pytest_energy import window


class Run:
    def __init__(self, name, joules_per_token=0.005, cv=0.003, digest="0badcafe",
                 padding_overhead=2.0, seed=None, watts=500.0, tokens=1000):
        self.id, self.digest, self.padding_overhead = name, digest, padding_overhead
        self._mean, self._cv, self._tokens, self._watts = joules_per_token, cv, tokens, watts
        self._random = random.Random(seed if seed is not None else os.environ.get("SEED", 0))

    def window(self):
        joules = self._mean * self._tokens * self._random.gauss(1, self._cv)
        with window(_meter(), self.id) as opened:
            spending.spend(joules)
        return replace(opened.record, seconds=joules / self._watts, tokens=self._tokens, steps=1,
                       real_tokens=int(self._tokens / self.padding_overhead))


def _meter():
    return spending.SpendingMeter()
"""


@pytest.fixture(scope="session", autouse=True)
def _own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Lock devices among this process's tests alone: others name theirs alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_ENERGY_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes and reports depend on CI; tests of CI's behaviour set it themselves."""
    github = ("ACTIONS", "REPOSITORY", "STEP_SUMMARY", "WORKSPACE")
    for name in ("CI", *(f"GITHUB_{name}" for name in github)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pytester(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> pytest.Pytester:
    """pytest's own, whose inner runs do not load the neighbours.

    They do not wait for those of other workers either, whose devices have the same names.
    """
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(tmp_path_factory.getbasetemp() / "locks"))
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in NEIGHBOURS))
    return pytester


@pytest.fixture
def spending(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the meter `spending` and the module `gated` (class `Run`) for inner pytest runs."""
    site = pytester.mkdir("site")
    (site / "spending.py").write_text(_METER)
    (site / "gated.py").write_text(_RUN)
    info = site / "spending-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spending\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pytest_energy.meters]\nspending = spending:SpendingMeter\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    pytester.makeini("[pytest]\nenergy_meter = spending\nenergy_idle_seconds = 0\n")
    return site


@pytest.fixture
def spending_cpu(spending: Path) -> Path:
    """The same for models that torch trains here: the meter is one of the CPU."""
    path = spending / "spending.py"
    path.write_text(path.read_text().replace('"gpu:0"', '"cpu"'))
    return spending
