"""A card by the looks that `pytest-energy qualify --looks FILE` kept, asked again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from pytest_energy.meters.protocol import Device
from pytest_energy.meters.sensors import Qualified
from pytest_energy.qualify import EvenWindow, EvenWork, Figure
from pytest_energy.qualify.renewals import Look
from pytest_energy.qualify.response import Edge
from pytest_energy.qualify.switching import Looks, Stretch, SwitchedCard


class ReplayedCard(SwitchedCard):
    """What was read of a card, given again in the order in which it was asked for."""

    def __init__(self, path: Path) -> None:
        document = json.loads(gzip.decompress(path.read_bytes()))
        self.device = Device(**document["device"])
        self.date, self._is_sharp = document["date"], document["is_sharp"]
        self._seconds, self._kept_even = document["took_seconds"], document["even_work"]
        self._stretches = iter(document["stretches"])

    def is_sharp(self) -> bool:
        return bool(self._is_sharp)

    def idle(self, seconds: float) -> Looks:
        return self._next().looks

    def worked(self, warm_seconds: float, seconds: float, *, mild: bool = False) -> Looks:
        return self._next().looks

    def steps(self, lengths: Sequence[float], *, mild: bool) -> Stretch:
        return self._next()

    def even_work(self, taken: Qualified) -> EvenWork:
        intercept = Figure(**self._kept_even["intercept_joules"])
        each = tuple(EvenWindow(**window) for window in self._kept_even["each"])
        return EvenWork(**{**self._kept_even, "intercept_joules": intercept, "each": each})

    def took_seconds(self) -> float:
        return float(self._seconds)

    def _next(self) -> Stretch:
        kept = next(self._stretches)
        edges = [Edge(at / 1e6, bool(on)) for at, on in kept["edges"]]
        return Stretch(edges, Looks(looks(kept["energy"]), looks(kept["power"])))


def looks(differences: Sequence[Sequence[int]]) -> list[Look]:
    """Looks at a value (J or W), from differences in us and thousandths."""
    columns: list[list[Any]] = [list(accumulate(each)) for each in zip(*differences, strict=True)]
    return [Look(a / 1e6, b / 1e6, c / 1e3) for a, b, c in zip(*columns, strict=True)]
