"""The simulated NVML for tests: build it, describe its cards, run Python against it.

The library is loaded by the real pynvml in another process, through `LD_LIBRARY_PATH`; its file
format and its functions for tests are described at the top of `nvml_sim/nvml_sim.c`.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.clocks import Clock, real_time

FINETUNE = """
import pytest
from pytest_energy import prepare


@pytest.fixture
def finetune(energy_session):
    def make(task, model="bert-base-uncased", shared=False, **changes):
        settings = {
            "data": energy_session.data,
            "meter": energy_session.meter,
            "tokens_per_window": energy_session.budget.tokens,
            "max_tokens_per_batch": energy_session.budget.max_tokens_per_batch,
            "models": energy_session.settings.models,
        }
        return prepare(task, model, **{**settings, **changes})

    return make
"""
"""For a project's conftest: train on the CPU, in whose stead a simulated card is metered."""

SOURCES = sorted((Path(__file__).parents[1] / "nvml_sim").glob("*.c"))
LIBRARY = "libnvidia-ml.so.1"
_until_the_end = ExitStack()


@dataclass(frozen=True)
class SimulatedGpu:
    """One card; `trace` and `lines` are in the library's format, times in seconds after its start.

    `tick_seconds` None: the card has no energy counter. `instant` and `usage` are the power
    readings' (update period, averaging window) in seconds; None: not supported.
    """

    trace: str = "constant 300"
    tick_seconds: float | None = 0.1
    phase_seconds: float = 0.037
    resolution_millijoules: float = 1.0
    start_millijoules: float = 5e6
    instant: tuple[float, float] | None = (0.0, 0.0)
    usage: tuple[float, float] | None = (0.0, 1.0)
    name: str = "NVIDIA Simulated"
    uuid: str | None = None
    lines: tuple[str, ...] = ()

    def text(self) -> str:
        """The card in the library's file format."""
        counter = "none"
        if self.tick_seconds is not None:
            counter = (
                f"{self.tick_seconds} {self.phase_seconds} "
                f"{self.resolution_millijoules} {self.start_millijoules}"
            )
        uuid = [] if self.uuid is None else [f"uuid {self.uuid}"]
        return "\n".join(
            [
                "gpu",
                f"name {self.name}",
                *uuid,
                f"trace {self.trace}",
                f"counter {counter}",
                f"instant {_sensor(self.instant)}",
                f"usage {_sensor(self.usage)}",
                *self.lines,
                "",
            ]
        )


def build_library(directory: Path) -> Path:
    """Compile the library into a directory; its path."""
    return build(SOURCES, directory / LIBRARY)


def build(sources: Iterable[Path], library: Path) -> Path:
    """Compile C into a shared library with the system's compiler; the library's path."""
    library.parent.mkdir(parents=True, exist_ok=True)
    compiler, name = os.environ.get("CC", "cc"), library.name
    command = [compiler, "-O2", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(library)]
    subprocess.run([*command, *map(str, sources), "-lm", "-lpthread", "-ldl"], check=True)
    return library


def environment(
    gpus: Sequence[SimulatedGpu],
    directory: Path,
    *,
    power_scale: float = 1.0,
    library_lines: Sequence[str] = (),
) -> dict[str, str]:
    """Variables of a process that has these cards; `directory` takes their description.

    `power_scale` multiplies all watts, which plants a regression; `library_lines` (`init_error 9`)
    come before the cards.
    """
    directory.mkdir(parents=True, exist_ok=True)
    description = directory / "nvml_sim.txt"
    text = "".join(f"{line}\n" for line in library_lines) + "".join(gpu.text() for gpu in gpus)
    # A name with surrogates stands for bytes that are not UTF-8.
    description.write_text(text, encoding="utf-8", errors="surrogateescape")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "NVML_SIM"))}
    here = Path(__file__).parent
    paths = [str(here), str(here.parents[1]), variables.get("PYTHONPATH", "")]
    return {
        **variables,
        "LD_LIBRARY_PATH": str(_built_once().parent),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "NVML_SIM": str(description),
        "NVML_SIM_POWER_SCALE": str(power_scale),
        "PYTEST_ENERGY_LOCKS": str(directory / "locks"),
    }


def run_python(code: str, variables: dict[str, str], timeout_seconds: float = 60) -> str:
    """Run Python code with warnings as errors and return what it printed; fails if it fails."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=variables,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout


def energy_between(start: float, end: float, gpu: int = 0) -> float:
    """Exact joules of a card between two times of `real_time`; in the simulated process."""
    function = _loaded().nvmlSimEnergyBetween
    function.restype = ctypes.c_double
    return float(function(gpu, ctypes.c_double(start), ctypes.c_double(end)))


@functools.cache
def simulated_seconds() -> Clock:
    """Let this process go by simulated seconds from now on; to be called before a meter opens."""
    from virtual_clock import VirtualClock

    _until_the_end.enter_context(VirtualClock(_loaded()).installed())
    return real_time


def command(line: str, gpu: int = 0) -> None:
    """Apply a line of the file format now (`lost now`, `reset +0.5`); in the simulated process."""
    assert _loaded().nvmlSimCommand(gpu, line.encode()) == 1, line


def calls() -> int:
    """How many functions of devices were called so far; in the simulated process."""
    function = _loaded().nvmlSimCalls
    function.restype = ctypes.c_ulonglong
    return int(function())


def set_watts(path: Path, watts: float) -> None:
    """From now on, cards with `trace steps PATH` draw these watts; from any process."""
    with path.open("a") as file:
        file.write(f"{real_time.monotonic():.9f} {watts}\n")


def _loaded() -> ctypes.CDLL:
    return ctypes.CDLL(LIBRARY)


@functools.cache
def _built_once() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="nvml-sim-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return build_library(directory)


def _sensor(sensor: tuple[float, float] | None) -> str:
    return "none" if sensor is None else f"{sensor[0]} {sensor[1]}"
