"""What predicts energy: pieces of work whose joules follow one count or another."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.predictors import PREDICTORS, Piece, explained, plot, spreads, table

LENGTHS = (16, 32, 64, 128)


def pieces(
    cost: Callable[[int, int], float], *, tokens: int | None = None, examples: int | None = None
) -> list[Piece]:
    """One piece of each length, all of the same tokens or of the same examples."""
    found = []
    for length in LENGTHS:
        number = examples or (tokens or 0) // length
        found.append(Piece(cost(number * length, number), number * length, number))
    return found


def families(cost: Callable[[int, int], float]) -> dict[str, list[Piece]]:
    """As many examples at each length, and as many tokens."""
    return {"tokens": pieces(cost, tokens=4096), "examples": pieces(cost, examples=64)}


def both(cost: Callable[[int, int], float]) -> list[Piece]:
    """The two families together."""
    return [piece for family in families(cost).values() for piece in family]


def test_energy_by_tokens() -> None:
    shares = explained(both(lambda tokens, _: 0.03 * tokens))

    assert shares["processed tokens"] == pytest.approx(1.0)
    # Length explains the energy of as many examples, and nothing of as many tokens.
    assert shares["sequence length"] == pytest.approx(0.5, abs=0.1)
    assert shares["examples"] == pytest.approx(0.0, abs=0.1)
    assert list(shares) == list(PREDICTORS)


def test_energy_by_examples() -> None:
    shares = explained(both(lambda _, examples: 0.03 * examples))

    assert shares["examples"] == pytest.approx(1.0)
    assert max(shares["processed tokens"], shares["sequence length"]) < 0.6


def test_a_count_that_stays_the_same_explains_nothing() -> None:
    shares = explained(pieces(lambda tokens, _: 0.03 * tokens, examples=8))

    assert shares["examples"] == 0.0
    assert shares["sequence length"] == pytest.approx(1.0)


def test_among_the_same_tokens_length_and_examples_are_one() -> None:
    # Hence the second family: the one is the other's inverse, so either explains as much.
    shares = explained(pieces(lambda tokens, n: 0.03 * tokens * n**0.1, tokens=4096))

    assert shares["sequence length"] == pytest.approx(shares["examples"])


def test_spreads() -> None:
    found = spreads(pieces(lambda tokens, _: 0.03 * tokens, examples=8))

    assert found["processed tokens"] == pytest.approx(1.0)
    assert found["sequence length"] == pytest.approx(1.0)
    assert found["examples"] == pytest.approx(8.0)
    with pytest.raises(EnergyError, match="no pieces of work"):
        spreads([])


def test_the_table_and_the_plot_say_the_same() -> None:
    found = families(lambda tokens, _: 0.03 * tokens)

    columns, rows = table(found, {"examples": "7.6 (derived)"})
    drawn = plot(found)

    assert columns == ("predictor", "R²", "max/min, tokens", "max/min, examples", "paper's tasks")
    assert [row[0] for row in rows] == list(PREDICTORS)
    assert rows[0][1:] == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0), None)
    assert rows[2][2:] == (pytest.approx(8.0), pytest.approx(8.0), "7.6 (derived)")
    assert len(drawn.series) == 6
    assert drawn.logarithmic
    for x, y in drawn.series[0].points + drawn.series[1].points:
        assert math.log(y / x) == pytest.approx(math.log(0.03 * 1024))
