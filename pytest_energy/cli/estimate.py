"""`pytest-energy estimate`: what full fine-tuning runs cost on a hardware with a baseline."""

from __future__ import annotations

import argparse
import math

from pytest_energy.baselines import baseline_path
from pytest_energy.baselines.reading import read
from pytest_energy.cli import add_baselines_option, describe, say
from pytest_energy.errors import EnergyError
from pytest_energy.reports.tables import aligned
from pytest_energy.reports.wording import counted
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

_MOST = 10**12
_NO_GRID = "install `codecarbon` for gCO2e"


def add_estimate(parser: argparse.ArgumentParser) -> None:
    """Register the arguments."""
    describe(
        parser,
        "Estimate what full fine-tuning runs cost on a hardware with a baseline: kWh, gCO2e, hours "
        "and money.",
        "pytest-energy estimate sst2 --hw h200 --region DEU --price 0.30",
    )
    parser.add_argument("task", metavar="TASK", help="a task such as `sst2`, or `all`")
    parser.add_argument("--hw", metavar="KEY", required=True, help="hardware with a baseline")
    parser.add_argument("--model", default="bert-base-uncased", help="(bert-base-uncased)")
    parser.add_argument("--epochs", metavar="N", type=int, help="(the task's standard)")
    parser.add_argument("--examples", metavar="N", type=int, help="(the task's training set)")
    parser.add_argument("--batch-size", metavar="N", type=int, help="(the task's standard)")
    parser.add_argument("--region", metavar="ISO3", help="country of the grid (world's mean)")
    parser.add_argument("--price", metavar="PER_KWH", type=float, help="what a kWh costs")
    add_baselines_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the estimate of one task, or a row for each that has a baseline; always 0."""
    price = options.price
    if price is not None and not 0 <= price < math.inf:
        raise EnergyError(f"`--price` is {price:g}: give what a kWh costs, 0 or more")
    for name in ("examples", "epochs", "batch_size"):
        if (getattr(options, name) or 0) > _MOST:
            raise EnergyError(f"`--{name.replace('_', '-')}` is too large; give at most {_MOST:,}")
    grid = intensity(options.region)
    place = f"{options.model} on {options.hw}"
    if options.task == "all":
        lines = _table(_estimates(options, FINE_TUNING_TASKS), place, grid, price)
    else:
        (found,) = _estimates(options, (get_task(options.task).name,))
        lines = _sheet(found, place, grid, price)
    say(*lines)
    return 0


def _estimates(options: argparse.Namespace, names: tuple[str, ...]) -> list[Estimate]:
    path = baseline_path(options.baselines, options.hw)
    stored = read(path) if path.is_file() else None
    found = []
    for name in names:
        run = full_run(
            get_task(name),
            examples=options.examples,
            epochs=options.epochs,
            batch_size=options.batch_size,
        )
        known = rate(stored, f"{name}/{options.model}") if stored else None
        if known is not None:
            found.append(estimate(run, known))
    if not found:
        asked = f"{names[0] if len(names) == 1 else '*'}/{options.model}"
        raise missing(options.hw, str(path), asked)
    return found


def _sheet(found: Estimate, place: str, grid: Grid | None, price: float | None) -> list[str]:
    run, rate = found.run, found.rate
    per_token = _text(rate.joules_per_token * 1000, "mJ")
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
        f"{run.task.name}/{place}: {run.examples:,} examples, "
        f"{counted(run.epochs, 'epoch')}, batches of {run.batch_size}",
        *aligned(list(rows.items()), indent=2),
    ]


def _table(found: list[Estimate], place: str, grid: Grid | None, price: float | None) -> list[str]:
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
    known = {one.run.task.name for one in found}
    without = [name for name in FINE_TUNING_TASKS if name not in known]
    return [
        f"{place}, {grid.source if grid else _NO_GRID}",
        *aligned(list(zip(*columns.values(), strict=True)), list(columns)),
        *([f"no J/token of {', '.join(without)}"] if without else []),
    ]


def _text(figure: Interval, unit: str = "") -> str:
    value, low, high = (_digits(edge) for edge in (figure.value, figure.low, figure.high))
    return f"{value} ({low} to {high}) {unit}".rstrip()


def _digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if value < 999.5 else f"{value:,.0f}"
