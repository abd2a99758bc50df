"""`pytest-energy estimate`: what full fine-tuning runs cost on a hardware with a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.baselines import baseline_path
from pytest_energy.baselines.reading import read
from pytest_energy.errors import EnergyError
from pytest_energy.results.footprint import (
    Estimate,
    Grid,
    Interval,
    estimate,
    full_run,
    intensity,
    missing,
    rate,
)
from pytest_energy.workloads.tasks import FINE_TUNING_TASKS, get_task

_NO_GRID = "install `codecarbon` for gCO2e"


@dataclass(frozen=True)
class Question:
    """What is asked: a task or `all`, the hardware's key, and what differs from the standard."""

    task: str
    hardware: str
    model: str = "bert-base-uncased"
    epochs: int | None = None
    examples: int | None = None
    batch_size: int = 32
    region: str | None = None
    price_per_kwh: float | None = None
    baselines: Path = Path("baselines")


def run(question: Question) -> int:
    """Print the estimate of one task, or a row for each that has a baseline; always 0."""
    price = question.price_per_kwh
    if price is not None and not 0 <= price < math.inf:
        raise EnergyError(f"`--price` is {price:g}: give what a kWh costs, 0 or more")
    grid = intensity(question.region)
    if question.task == "all":
        print("\n".join(_table(_estimates(question, FINE_TUNING_TASKS), question, grid)))
    else:
        (found,) = _estimates(question, (get_task(question.task).name,))
        print("\n".join(_sheet(found, question, grid)))
    return 0


def _estimates(question: Question, names: tuple[str, ...]) -> list[Estimate]:
    path = baseline_path(question.baselines, question.hardware)
    stored = read(path) if path.is_file() else None
    found = []
    for name in names:
        run = full_run(
            get_task(name),
            examples=question.examples,
            epochs=question.epochs,
            batch_size=question.batch_size,
        )
        known = rate(stored, f"{name}/{question.model}") if stored else None
        if known is not None:
            found.append(estimate(run, known))
    if not found:
        asked = f"{names[0] if len(names) == 1 else '*'}/{question.model}"
        raise missing(question.hardware, str(path), asked)
    return found


def _sheet(found: Estimate, question: Question, grid: Grid | None) -> list[str]:
    run, rate, price = found.run, found.rate, question.price_per_kwh
    per_token = _text(rate.joules_per_token * 1000, "mJ")
    epochs = f"{run.epochs} epoch{'' if run.epochs == 1 else 's'}"
    lengths = f"{run.mean_length:.1f} an example, x {run.padding_overhead:.2f} with padding"
    rows = {"tokens": f"{run.tokens:,.0f} ({lengths})"}
    rows["a token"] = f"{per_token}, {rate.source}"
    rows["energy"] = _text(found.kwh, "kWh")
    rows["carbon"] = _NO_GRID
    if grid:
        rows["carbon"] = f"{_text(found.grams(grid.grams_per_kwh), 'gCO2e')}, {grid.source}"
    if price is not None:
        rows["money"] = _text(found.money(price), f"at {price:g} a kWh")
    rows["time"] = _text(found.hours, "h") if found.hours else "no power or speed is stored"
    return [
        f"{run.task.name}/{question.model} on {question.hardware}: {run.examples:,} examples, "
        f"{epochs}, batches of {run.batch_size}",
        *(f"  {name:<8}{text}" for name, text in rows.items()),
    ]


def _table(found: list[Estimate], question: Question, grid: Grid | None) -> list[str]:
    price = question.price_per_kwh
    columns = {
        "task": [one.run.task.name for one in found],
        "tokens": [f"{one.run.tokens / 1e6:,.2f} M" for one in found],
        "kWh": [_text(one.kwh) for one in found],
    }
    if grid:
        columns["gCO2e"] = [_text(one.grams(grid.grams_per_kwh)) for one in found]
    if price is not None:
        columns["money"] = [_text(one.money(price)) for one in found]
    columns["h"] = [_text(one.hours) if one.hours else "" for one in found]
    columns["J/token"] = [one.rate.source for one in found]
    padded = []
    for head, cells in columns.items():
        width = max(map(len, (head, *cells)))
        padded.append([cell.ljust(width) for cell in (head, *cells)])
    known = {one.run.task.name for one in found}
    without = [name for name in FINE_TUNING_TASKS if name not in known]
    return [
        f"{question.model} on {question.hardware}, {grid.source if grid else _NO_GRID}",
        *("  ".join(row).rstrip() for row in zip(*padded, strict=True)),
        *([f"no J/token of {', '.join(without)}"] if without else []),
    ]


def _text(figure: Interval, unit: str = "") -> str:
    value, low, high = (_digits(edge) for edge in (figure.value, figure.low, figure.high))
    return f"{value} ({low} to {high}) {unit}".rstrip()


def _digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if value < 999.5 else f"{value:,.0f}"
