"""What real cards showed of work that was switched on and off, read as `qualify` reads it.

Each file of `tests/qualify/recorded` holds the looks of one `pytest-energy qualify`: those of even
work, and those of 96 edges.
"""

from __future__ import annotations

import gzip
import json
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from pytest_energy.meters.sensors import Feed
from pytest_energy.qualify import Source
from pytest_energy.qualify.feed import echo, feed_of
from pytest_energy.qualify.renewals import (
    Look,
    call_seconds,
    powers,
    quantum_joules,
    renewals,
    rhythm,
    shown,
)
from pytest_energy.qualify.response import Edge, Points, fit

FOLDER = Path(__file__).parents[1] / "qualify" / "recorded"
CARDS = tuple(sorted(path.name.split(".")[0] for path in FOLDER.glob("*.json.gz")))


class Recorded(NamedTuple):
    """What was found of a card: call times (s), the step of its counter (J), and its sources.

    `echoed` is how far the counter's power was from the readings, as a share of their scatter.
    """

    card: str
    energy_call_seconds: float
    power_call_seconds: float
    quantum_joules: float
    counter: Source
    readings: Source
    echoed: float | None
    feed: Feed


def recorded(name: str) -> Recorded:
    """Read one of `CARDS`."""
    document = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    edges = [Edge(at / 1e6, bool(on)) for at, on in document["edges"]]
    switched, even = (_looks(document[part]) for part in ("switched", "even"))
    seen = renewals(switched["energy"])
    line = rhythm(seen)
    counted = [(line.nearest(at), watts) for at, watts in powers(seen, line)]
    counter = _source(edges, switched["energy"], counted)
    seen = renewals(switched["power"])
    readings = _source(edges, switched["power"], shown(seen, is_even=rhythm(seen).is_even))
    seen = renewals(even["energy"])
    same = echo(powers(seen, rhythm(seen)), renewals(even["power"]), counter.period_seconds)
    return Recorded(
        document["card"],
        call_seconds(switched["energy"]),
        call_seconds(switched["power"]),
        quantum_joules([look.value for look in switched["energy"]]),
        counter,
        readings,
        same,
        feed_of(counter, readings, same, beats_scatter=False),
    )


def _source(edges: list[Edge], looks: list[Look], points: Points) -> Source:
    line = rhythm(renewals(looks))
    response = fit(edges, points, line.period_seconds)
    found = response.window_seconds, response.lag_seconds
    return Source(line.period_seconds, line.jitter_seconds, *found, is_even=line.is_even)


def _looks(part: dict[str, Any]) -> dict[str, list[Look]]:
    """Looks of the counter (J) and of the readings (W), from differences in us, mJ and mW."""
    found = {}
    for what, rows in part.items():
        columns = [list(accumulate(column)) for column in zip(*rows, strict=True)]
        found[what] = [Look(a / 1e6, b / 1e6, c / 1e3) for a, b, c in zip(*columns, strict=True)]
    return found
