"""For asv: its results folder, as `asv show`, `asv compare` and `asv publish` read it.

`benchmarks.json` (version 2) describes the benchmarks, `MACHINE/machine.json` (version 1) the
hardware, `MACHINE/COMMIT-ENVIRONMENT.json` (version 2) holds the figures of one commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from pytest_energy.reports.exports import ExportedRun, Figure, smaller_is_better

BENCHMARKS = "benchmarks.json"
_ENVIRONMENT = "pytest-energy"
_COLUMNS = (
    "result",
    "params",
    "version",
    "started_at",
    "duration",
    "stats_ci_99_a",
    "stats_ci_99_b",
    "stats_q_25",
    "stats_q_75",
    "stats_number",
    "stats_repeat",
    "samples",
)
_WIDENED = 2.575829 / 1.959964  # half-width of 99 % from that of 95 %


@dataclass(frozen=True)
class Commit:
    """What was measured; `date` is the committer's, Unix time in s."""

    hash: str
    date: int


def files(run: ExportedRun, commit: Commit) -> dict[str, dict[str, Any]]:
    """Documents by their path in the results folder."""
    figures = [smaller_is_better(figure) for figure in run.figures]
    machine = {
        "machine": run.hardware,
        "os": run.environment.get("os", ""),
        "arch": run.environment.get("arch", ""),
        "cpu": ", ".join(run.devices),
        "num_cpu": "",
        "ram": "",
    }
    results = {
        "version": 2,
        "commit_hash": commit.hash,
        "env_name": _ENVIRONMENT,
        "date": 1000 * commit.date,
        "params": {**machine, "python": run.environment.get("python", "")},
        "python": run.environment.get("python", ""),
        "requirements": {},
        "env_vars": {},
        "result_columns": list(_COLUMNS),
        "results": {benchmark_name(figure): _row(figure) for figure in figures},
        "durations": {},
    }
    return {
        BENCHMARKS: {**{benchmark_name(f): _benchmark(f) for f in figures}, "version": 2},
        f"{run.hardware}/machine.json": {**machine, "version": 1},
        f"{run.hardware}/{commit.hash[:8]}-{_ENVIRONMENT}.json": results,
    }


def benchmark_name(figure: Figure) -> str:
    """The figure's dotted name, in asv's manner."""
    return f"{figure.name}.{figure.metric}".replace("::", ".").replace("/", ".")


def _version(figure: Figure) -> str:
    # Figures of other work are no continuation; asv compares those of one version alone.
    return figure.workload or "1"


def _benchmark(figure: Figure) -> dict[str, Any]:
    return {
        "name": benchmark_name(figure),
        "code": "",
        "type": "track",
        "unit": f"{figure.unit} (modelled)" if figure.modelled else figure.unit,
        "version": _version(figure),
        "params": [],
        "param_names": [],
        "timeout": 60.0,
    }


def _row(figure: Figure) -> list[Any]:
    started = None if figure.started is None else int(1000 * figure.started)
    row: list[Any] = [[figure.value], [], _version(figure), started, None]
    if figure.uncertainty is None or len(figure.values) < 2:
        return row[:4]
    half = _WIDENED * figure.uncertainty
    low, _, high = quantiles(figure.values, n=4, method="inclusive")
    stats = (figure.value - half, figure.value + half, low, high, 1, len(figure.values))
    return [*row, *([number] for number in stats), [list(figure.values)]]
