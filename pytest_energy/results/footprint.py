"""Joules to kWh, gCO2e and hours: of a run, and of a full fine-tuning run before it is made.

Figures for the grid are CodeCarbon's own, if it is installed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from statistics import fmean
from typing import Any

from pytest_energy.baselines import Baseline, Entry, pooled_of, session_stats
from pytest_energy.errors import EnergyError, check_count, informing
from pytest_energy.stats.distributions import NORMAL_95
from pytest_energy.stats.noise import spread
from pytest_energy.workloads.tasks import Task

JOULES_PER_KWH = 3.6e6
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Grid:
    """Carbon intensity of a grid in gCO2e per kWh, and where the figure comes from."""

    grams_per_kwh: float
    source: str


@dataclass(frozen=True)
class Footprint:
    """What some joules amount to; `grams` is None if no grid figure is at hand."""

    joules: float
    grams: float | None
    source: str

    @property
    def kwh(self) -> float:
        """Kilowatt hours (kWh)."""
        return self.joules / JOULES_PER_KWH


def footprint(joules: float, region: str | None) -> Footprint:
    """Grams of CO2e for some joules in a region (ISO 3166 alpha-3, None: the world's mean)."""
    grid, why = None, ["install `codecarbon` for gCO2e"]
    what = "no gCO2e, CodeCarbon's data cannot be used"
    with informing(what, why.append, passing=(EnergyError,)):
        grid = intensity(region)
    if grid is None:
        return Footprint(joules, None, why[-1])
    return Footprint(joules, joules / JOULES_PER_KWH * grid.grams_per_kwh, grid.source)


def intensity(region: str | None) -> Grid | None:
    """A grid's intensity from CodeCarbon's data; None without it, `EnergyError` if not known.

    The world's mean weighs each country by the electricity it generates.
    """
    mix = _energy_mix()
    if mix is None:
        return None
    if region is None:
        rows = [row for row in mix.values() if row.get("total_TWh") and row.get("carbon_intensity")]
        total = sum(float(row["total_TWh"]) for row in rows)
        mean = sum(float(row["total_TWh"]) * float(row["carbon_intensity"]) for row in rows) / total
        return Grid(mean, "world mean, CodeCarbon's data")
    row = mix.get(region.upper())
    if row is None or not row.get("carbon_intensity"):
        raise EnergyError(
            f"`{region}` is no country that CodeCarbon's data know; "
            f"give an ISO 3166 code of three letters such as `USA` or `DEU`"
        )
    return Grid(float(row["carbon_intensity"]), f"{row['country_name']}, CodeCarbon's data")


def _energy_mix() -> dict[str, dict[str, Any]] | None:
    spec = util.find_spec("codecarbon")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "data" / "private_infra" / "global_energy_mix.json"
    if not path.is_file():
        return None
    mix: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return mix


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds it lies between."""

    value: float
    low: float
    high: float

    def __mul__(self, factor: float) -> Interval:
        return Interval(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Rate:
    """J/token of a hardware, where it is from, and its mean watts or else tokens per second."""

    joules_per_token: Interval
    source: str
    mean_watts: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True)
class FullRun:
    """A fine-tuning run from its first epoch to its last; lengths are the task's measured ones."""

    task: Task
    examples: int
    epochs: int
    batch_size: int

    @property
    def mean_length(self) -> float:
        """Tokens of an example, special ones included, cut at the task's cap."""
        return self.task.lengths.mean

    @property
    def padding_overhead(self) -> float:
        """Processed tokens over real tokens in random batches of this size."""
        return self.task.lengths.overhead_in_batches_of(self.batch_size)

    @property
    def tokens(self) -> float:
        """Processed tokens, padding included."""
        return self.examples * self.epochs * self.mean_length * self.padding_overhead


@dataclass(frozen=True)
class Estimate:
    """What a run costs; `hours` is None if the baseline says neither power nor speed."""

    run: FullRun
    rate: Rate
    kwh: Interval
    hours: Interval | None

    def grams(self, grams_per_kwh: float) -> Interval:
        """gCO2e on a grid of that intensity."""
        return self.kwh * grams_per_kwh

    def money(self, price_per_kwh: float) -> Interval:
        """The price of the energy, in the currency of `price_per_kwh`."""
        return self.kwh * price_per_kwh


def full_run(
    task: Task,
    *,
    examples: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
) -> FullRun:
    """The run that is meant: the task's training set, epochs and batch if none are given."""
    examples = task.train_examples if examples is None else examples
    epochs = task.epochs if epochs is None else epochs
    batch_size = task.batch_size if batch_size is None else batch_size
    for name, value in (("examples", examples), ("epochs", epochs), ("batch_size", batch_size)):
        check_count(name, value)
    return FullRun(task, examples, epochs, batch_size)


def rate(stored: Baseline, identifier: str) -> Rate | None:
    """J/token of a figure: from its sessions, else from a band stated for it; None without both.

    Sessions give a 95 % interval for one session more, whose width is how they differ.
    """
    entry = stored.entries.get(("joules_per_token", identifier))
    if entry is not None and entry.sessions:
        return _measured(stored, entry)
    band = stored.band(identifier)
    if band is None or band.mean is None:
        return None
    interval = Interval(band.mean, band.low, band.high)
    source = "measured elsewhere" if band.source == "measured" else f"{band.source}, not measured"
    return Rate(interval, source, band.mean_watts)


def estimate(run: FullRun, rate: Rate) -> Estimate:
    """What a run costs at a rate; the interval is the rate's, tokens count as known."""
    joules = rate.joules_per_token * run.tokens
    hours = None
    if rate.mean_watts:
        hours = joules * (1 / (rate.mean_watts * _SECONDS_PER_HOUR))
    elif rate.tokens_per_second:
        alone = run.tokens / (rate.tokens_per_second * _SECONDS_PER_HOUR)
        hours = joules * (alone / joules.value)
    return Estimate(run, rate, joules * (1 / JOULES_PER_KWH), hours)


def missing(hardware: str, path: str, identifier: str) -> EnergyError:
    """Why there is no estimate, and what to do: record the baseline that it rests on."""
    return EnergyError(
        f"`{hardware}` has no J/token of `{identifier}` in `{path}`; record it on an idle machine "
        f"with `pytest benchmarks/ --energy-hw={hardware} --energy-update=new`"
    )


def _measured(stored: Baseline, entry: Entry) -> Rate:
    rows = entry.sessions
    mean = fmean(row.mean for row in rows)
    between = spread(session_stats(entry), pooled=pooled_of(stored, entry)).between
    factor = math.exp(NORMAL_95 * math.sqrt(between))
    watts = [row.mean_watts for row in rows if row.mean_watts]
    speeds = [row.tokens_per_second for row in rows if row.tokens_per_second]
    count = f"{len(rows)} session{'' if len(rows) == 1 else 's'}"
    return Rate(
        Interval(mean, mean / factor, mean * factor),
        f"measured, {count}",
        fmean(watts) if watts else None,
        fmean(speeds) if speeds else None,
    )
