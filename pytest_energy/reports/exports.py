"""A run as an export needs it, read back from the document that `--energy-json` wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_energy.errors import EnergyError
from pytest_energy.results import JSON_SCHEMA

BELIEVED = ("within", "regression", "improvement", "inconclusive", "recorded", "measured")
"""Verdicts with a figure to keep; `invalid` and `missing` have none."""


@dataclass(frozen=True)
class Figure:
    """One figure of a run; `name` is its own within the run and metric.

    `value`, `uncertainty` (95 % half-width) and `values` (of each valid window) are in `unit`.
    """

    name: str
    metric: str
    unit: str
    value: float
    verdict: str
    nodeid: str = ""
    uncertainty: float | None = None
    baseline: float | None = None
    method: str = ""
    workload: str | None = None
    started: float | None = None
    """Unix time of the first window, s."""
    values: tuple[float, ...] = ()

    @property
    def modelled(self) -> bool:
        """Whether the joules were computed, not measured; whoever shows them must say so."""
        return self.method == "modelled"


@dataclass(frozen=True)
class ExportedRun:
    """What was measured on, the figures, and the names of those without one."""

    hardware: str
    devices: tuple[str, ...]
    environment: Mapping[str, str]
    figures: tuple[Figure, ...]
    left_out: tuple[str, ...]


def read(path: Path) -> ExportedRun:
    """Read a document; raises `EnergyError` where it is none, or holds no figure."""
    document = _document(path)
    try:
        rows = list(document["verdicts"])
        figures = _distinct([_figure(row) for row in rows if _is_believed(row)])
        run = ExportedRun(
            hardware=str(document["hardware"].get("key", "unknown")),
            devices=tuple(
                str(device["name"]) for device in document["hardware"].get("devices", ())
            ),
            environment={str(k): str(v) for k, v in document["environment"].items()},
            figures=tuple(figures),
            left_out=tuple(f"{r['id']} ({r['verdict']})" for r in rows if not _is_believed(r)),
        )
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise EnergyError(
            f"`{path}` is not whole: {type(error).__name__} at {error}; write it again with "
            f"`pytest --energy-json={path}`"
        ) from None
    if not run.figures:
        why = ", ".join(run.left_out) or "nothing was metered"
        raise EnergyError(
            f"`{path}` holds no figure to export: {why}; run the tests until one is measured"
        )
    return run


def smaller_is_better(figure: Figure) -> Figure:
    """The figure, or for savings what is left of J/token, so that less is better in all of them."""
    if figure.metric != "savings":
        return figure
    return replace(
        figure,
        metric="joules_left",
        unit="fraction of J/token left",
        value=1.0 - figure.value,
        baseline=None if figure.baseline is None else 1.0 - figure.baseline,
    )


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EnergyError(
            f"`{path}` cannot be read ({error.strerror}); give the file that "
            f"`pytest --energy-json=PATH` wrote"
        ) from None
    except ValueError as error:
        raise EnergyError(
            f"`{path}` is not JSON: {error}; give what `--energy-json` wrote"
        ) from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != JSON_SCHEMA or not {"verdicts", "hardware", "environment"} <= document.keys():
        raise EnergyError(
            f"`{path}` is no document of `--energy-json` with schema {JSON_SCHEMA}"
            f"{'' if schema in (None, JSON_SCHEMA) else f' but {schema}'}; give what "
            f"`pytest --energy-json=PATH` wrote"
        )
    return dict(document)


def _is_believed(row: Mapping[str, Any]) -> bool:
    return row["verdict"] in BELIEVED and row["value"] is not None


def _figure(row: Mapping[str, Any]) -> Figure:
    windows: Sequence[Mapping[str, Any]] = row["windows"]
    optional = {name: row.get(name) for name in ("uncertainty", "baseline", "workload")}
    return Figure(
        name=str(row["id"]),
        metric=str(row["metric"]),
        unit=str(row["unit"]),
        value=float(row["value"]),
        verdict=str(row["verdict"]),
        nodeid=str(row.get("nodeid", "")),
        method=str(row.get("method", "")),
        started=min((float(window["started"]) for window in windows), default=None),
        values=tuple(_values(str(row["unit"]), [w for w in windows if w["valid"]])),
        **optional,
    )


def _values(unit: str, windows: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    per = {"J": None, "J/token": "tokens", "J/real token": "real_tokens"}
    if unit not in per:  # savings come from pairs, of which no window has a value of its own
        return
    count = per[unit]
    for window in windows:
        yield window["joules"] / (window[count] if count else 1)


def _distinct(figures: Sequence[Figure]) -> list[Figure]:
    """Give figures of one name the name of their test too, and a number where that is one too."""
    names = Counter((figure.name, figure.metric) for figure in figures)
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for figure in figures:
        name = figure.name
        if names[name, figure.metric] > 1:
            name = f"{name} ({figure.nodeid})"
        seen[name, figure.metric] += 1
        number = seen[name, figure.metric]
        found.append(replace(figure, name=name if number == 1 else f"{name} ({number})"))
    return found


_LONGEST_NAME = 1024


def metrics(run: ExportedRun) -> dict[str, dict[str, dict[str, float]]]:
    """Measures by benchmark; the hardware is Bencher's test bed, which its command line names."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for figure in run.figures:
        found.setdefault(figure.name[-_LONGEST_NAME:], {})[_measure(figure)] = _metric(figure)
    return found


def _measure(figure: Figure) -> str:
    """A slug of the measure; modelled joules are a measure of their own."""
    slug = figure.metric.replace("_", "-")
    return f"{slug}-modelled" if figure.modelled else slug


def _metric(figure: Figure) -> dict[str, Any]:
    if figure.uncertainty is None:
        return {"value": figure.value}
    return {
        "value": figure.value,
        "lower_value": figure.value - figure.uncertainty,
        "upper_value": figure.value + figure.uncertainty,
    }


def entries(run: ExportedRun) -> list[dict[str, Any]]:
    """One entry a figure; names hold the hardware, whose figures are a series of their own."""
    return [_entry(smaller_is_better(figure), run) for figure in run.figures]


def _entry(figure: Figure, run: ExportedRun) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": f"{figure.name} {figure.metric} [{run.hardware}]",
        "unit": f"{figure.unit} (modelled)" if figure.modelled else figure.unit,
        "value": figure.value,
    }
    if figure.uncertainty is not None:
        entry["range"] = f"± {figure.uncertainty:.3g}"
    facts = {
        "verdict": figure.verdict,
        "baseline": None if figure.baseline is None else f"{figure.baseline:.6g}",
        "method": figure.method,
        "windows": len(figure.values) or None,
        "workload": figure.workload,
        "device": ", ".join(dict.fromkeys(run.devices)),
    }
    entry["extra"] = "\n".join(f"{name}: {value}" for name, value in facts.items() if value)
    return entry
