"""What predicts energy: its tokens, the length of its sequences, or its examples; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pytest_energy import Cell, EnergyError, Plot, Series, through_origin


@dataclass(frozen=True)
class Piece:
    """A piece of work: joules, processed tokens (padding included) and examples."""

    joules: float
    tokens: int
    examples: int

    @property
    def sequence_length(self) -> float:
        """Processed tokens of an example, on average."""
        return self.tokens / self.examples


PREDICTORS: Mapping[str, Callable[[Piece], float]] = {
    "processed tokens": lambda piece: piece.tokens,
    "sequence length": lambda piece: piece.sequence_length,
    "examples": lambda piece: piece.examples,
}


def explained(families: Sequence[Sequence[Piece]]) -> dict[str, float]:
    """For each predictor the share of the variance of ln J that its logarithm explains.

    Each may have any power, so that it does its best, and both are taken about their means in each
    family, so that how much work a family is does not matter. What never varies explains nothing.
    """
    joules = _within(families, lambda piece: piece.joules)
    shares = {}
    for name, predictor in PREDICTORS.items():
        values = _within(families, predictor)
        shares[name] = through_origin(values, joules).r_squared if any(values) else 0.0
    return shares


def spreads(pieces: Sequence[Piece]) -> dict[str, float]:
    """For each predictor max/min of J per unit of it; 1 where J is proportional to it."""
    if not pieces:
        raise EnergyError("no pieces of work to compare: measure some")
    found = {}
    for name, predictor in PREDICTORS.items():
        rates = [piece.joules / predictor(piece) for piece in pieces]
        found[name] = max(rates) / min(rates)
    return found


def table(
    families: Mapping[str, Sequence[Piece]], beside: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """Columns and rows: what each predictor explains, its spread in each family, and `beside`."""
    shares = explained(tuple(families.values()))
    of_family = [spreads(pieces) for pieces in families.values()]
    columns = ("predictor", "R²", *(f"max/min, {name}" for name in families), "paper's tasks")
    rows = [
        (name, shares[name], *(spread[name] for spread in of_family), beside.get(name))
        for name in PREDICTORS
    ]
    return columns, tuple(rows)


def plot(families: Mapping[str, Sequence[Piece]]) -> Plot:
    """Joules over each predictor, as a multiple of its least: on a line where it predicts."""
    everything = [piece for pieces in families.values() for piece in pieces]
    series = []
    for name, predictor in PREDICTORS.items():
        least = min(map(predictor, everything))
        for family, pieces in families.items():
            points = tuple((predictor(piece) / least, piece.joules) for piece in pieces)
            series.append(Series(f"{name}, {family}", points))
    return Plot(
        "What predicts energy", "predictor / its least", "J", tuple(series), logarithmic=True
    )


def _within(families: Sequence[Sequence[Piece]], figure: Callable[[Piece], float]) -> list[float]:
    """Logarithms of a figure about their mean in each family."""
    found = []
    for pieces in families:
        logs = [math.log(figure(piece)) for piece in pieces]
        level = fmean(logs)
        # Rounding apart: what is the same in all of a family does not vary.
        found += [one - level if max(logs) > min(logs) else 0.0 for one in logs]
    return found
