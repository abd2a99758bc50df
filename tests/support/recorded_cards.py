"""What real cards showed of even and of switched work, found by what `qualify` finds it by.

Each file of `tests/qualify/recorded` holds the looks of one `pytest-energy qualify`: those of even
work, of 96 edges, and of five square loads. The latest is one that `--looks` has written, and can
be asked again by `replayed_cards`; the others have no idle stretch and no windows of even work.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

from pytest_energy.meters.sensors import Feed
from pytest_energy.qualify import Beat, Source
from pytest_energy.qualify.experiments import echo, feed_of
from pytest_energy.qualify.renewals import (
    Look,
    call_seconds,
    powers,
    quantum_joules,
    renewals,
    rhythm,
    shown,
)
from pytest_energy.qualify.response import Edge, Points, Response, beat, fit, scatters
from replayed_cards import looks

FOLDER = Path(__file__).parents[1] / "qualify" / "recorded"
CARDS = tuple(sorted(path.name.split(".")[0] for path in FOLDER.glob("*.json.gz")))


class Recorded(NamedTuple):
    """What was found of a card: call times (s), the step of its counter (J), and its sources.

    `response` is the counter's, `beats` are the square loads. `echoed` is how far the counter's
    power was from the readings under even work, as a share of their scatter.
    """

    card: str
    energy_call_seconds: float
    power_call_seconds: float
    quantum_joules: float
    counter: Source
    readings: Source
    response: Response
    beats: tuple[Beat, ...]
    echoed: float | None
    feed: Feed


def path_of(name: str) -> Path:
    """The file of one of `CARDS`."""
    return FOLDER / f"{name}.json.gz"


def recorded(name: str) -> Recorded:
    """Read one of `CARDS`."""
    document = json.loads(gzip.decompress(path_of(name).read_bytes()))
    if "stretches" in document:
        document = _parts(document)
    switched, edges = document["switched"], _edges(document["switched"])
    energy, power = looks(switched["energy"]), looks(switched["power"])
    counter, response = _source(edges, energy, _counted(energy))
    seen = renewals(power)
    readings, _ = _source(edges, power, shown(seen, is_even=rhythm(seen).is_even))
    beats = tuple(_beat(each, counter, response) for each in document["beats"])
    even = {what: looks(document["even"][what]) for what in ("energy", "power")}
    same = echo(_counted(even["energy"]), renewals(even["power"]), readings.period_seconds)
    scattered = scatters(beats, 0.0)
    return Recorded(
        document["card"],
        call_seconds(energy),
        call_seconds(power),
        quantum_joules([look.value for look in energy]),
        counter,
        readings,
        response,
        beats,
        same,
        feed_of(counter, readings, same, scattered),
    )


def _source(edges: list[Edge], looks: list[Look], points: Points) -> tuple[Source, Response]:
    line = rhythm(renewals(looks))
    response = fit(edges, points, line.period_seconds)
    found = response.window_seconds, response.lag_seconds
    source = Source(line.period_seconds, line.jitter_seconds, *found, is_even=line.is_even)
    return source, response


def _counted(looks: list[Look]) -> Points:
    """The counter's powers (W), at the even times at which it ticks."""
    seen = renewals(looks)
    line = rhythm(seen)
    return [(line.nearest(at), watts) for at, watts in powers(seen, line)]


def _beat(part: dict[str, Any], counter: Source, response: Response) -> Beat:
    edges = _edges(part)
    since = edges[0].seconds + counter.lag_seconds + 3 * counter.period_seconds
    points = [each for each in _counted(looks(part["energy"])) if each[0] > since]
    return beat(edges, points, part["step_seconds"], counter, response)


def _edges(part: dict[str, Any]) -> list[Edge]:
    return [Edge(at / 1e6, bool(on)) for at, on in part["edges"]]


def _parts(document: dict[str, Any]) -> dict[str, Any]:
    """What `--looks` wrote, in the parts that the other files have."""
    even = document["stretches"][1]  # the first is the idle one
    switched, *beats = (each for each in document["stretches"] if each["edges"])
    for beat_part in beats:
        first, *_, last = (at for at, _ in beat_part["edges"])
        beat_part["step_seconds"] = 2e-6 * (last - first) / (len(beat_part["edges"]) - 1)
    return {
        "card": document["device"]["name"],
        "even": even,
        "switched": switched,
        "beats": beats,
    }
