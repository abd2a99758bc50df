"""For github-action-benchmark: an array of entries for its tool `customSmallerIsBetter`.

Its reader wants `name`, `unit` and `value` of each, and takes `range` and `extra` as text
(github.com/benchmark-action/github-action-benchmark, `src/extract.ts`).
"""

from __future__ import annotations

from typing import Any

from pytest_energy.exports.run import ExportedRun, Figure, smaller_is_better


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
