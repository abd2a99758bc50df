"""What two real cards showed of switched work, read as `pytest-energy qualify` reads it.

The looks are those of `pytest-energy qualify` on two H200 (driver 580.159.04): one driven to its
power limit, one with work that its host fed unevenly. `docs/results-h200.md` tells of both.
"""

from __future__ import annotations

import gzip
import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.qualify import Source
from pytest_energy.qualify.feed import echo, feed_of
from pytest_energy.qualify.renewals import Look, powers, renewals, rhythm, shown
from pytest_energy.qualify.response import Edge, fit

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        gzip.decompress((RECORDED / f"{name}.json.gz").read_bytes())
    )
    return document


def looks(differences: list[list[int]], unit: float = 1000.0) -> list[Look]:
    before, after, value = (accumulate(column) for column in zip(*differences, strict=True))
    return [Look(b / 1e6, a / 1e6, v / unit) for b, a, v in zip(before, after, value, strict=True)]


@pytest.mark.parametrize("name", ["h200-full", "h200-mild"])
def test_the_counter_of_an_h200_adds_up_more_than_its_readings_see(name: str) -> None:
    card = recorded(name)
    edges = [Edge(at / 1e6, bool(on)) for at, on in card["edges"]]
    seen = renewals(looks(card["switched"]["energy"]))
    line = rhythm(seen)
    even = [(line.nearest(at), watts) for at, watts in powers(seen, line)]
    response = fit(edges, even, line.period_seconds)
    found = response.window_seconds, response.lag_seconds
    counter = Source(line.period_seconds, line.jitter_seconds, *found)

    seen = renewals(looks(card["switched"]["power"]))
    asked = rhythm(seen)
    response = fit(edges, shown(seen, is_even=asked.is_even), asked.period_seconds)
    found = response.window_seconds, response.lag_seconds
    readings = Source(asked.period_seconds, asked.jitter_seconds, *found, is_even=asked.is_even)

    seen = renewals(looks(card["even"]["energy"]))
    same = echo(powers(seen, rhythm(seen)), renewals(looks(card["even"]["power"])), 0.1)

    assert counter.period_seconds == pytest.approx(0.1, rel=1e-4)
    assert counter.jitter_seconds < 1e-4
    assert counter.window_seconds + counter.window_seconds.doubt > 0.095
    assert counter.sensor.window_seconds > 0.085
    assert not readings.is_even
    assert readings.is_part
    assert readings.period_seconds == pytest.approx(0.103, abs=0.001)
    assert same is not None
    assert feed_of(counter, readings, same, beats_scatter=False) == "true power"
