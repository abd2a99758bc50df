"""For Bencher: its Metric Format, measures with bounds by benchmark (bencher.dev/bmf.json)."""

from __future__ import annotations

from typing import Any

from pytest_energy.exports.run import ExportedRun, Figure

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
