"""What predicts energy: pieces of work whose joules follow one count or another."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from paper.predictors import PREDICTORS, Piece, explained, plot, spreads, table
from pytest_energy import EnergyError

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


@pytest.mark.parametrize("examples", [1, 64, 4096])
def test_energy_by_tokens(examples: int) -> None:
    shares = explained(
        [
            pieces(lambda tokens, _: 0.03 * tokens, tokens=4096),
            pieces(lambda tokens, _: 0.03 * tokens, examples=examples),
        ]
    )

    # Length explains the energy of as many examples, and nothing of as many tokens: a half.
    assert list(shares) == list(PREDICTORS)
    assert list(shares.values()) == pytest.approx([1.0, 0.5, 0.0])


def test_energy_by_examples() -> None:
    shares = explained(tuple(families(lambda _, examples: 0.03 * examples).values()))

    assert list(shares.values()) == pytest.approx([0.0, 0.5, 1.0])


def test_short_sequences_may_cost_more_a_token() -> None:
    # 18 % from the longest to the shortest, the most that the paper's figures show.
    power = math.log(1.18) / math.log(8)
    cost = lambda tokens, n: 0.03 * tokens * (tokens / n) ** -power  # noqa: E731

    tokens, length, examples = explained(tuple(families(cost).values())).values()

    assert tokens > 0.98
    assert tokens - length > 0.4
    assert length - examples > 0.3


def test_among_the_same_tokens_length_and_examples_are_one() -> None:
    # Hence the second family: the one is the other's inverse, so either explains as much.
    shares = explained([pieces(lambda tokens, n: 0.03 * tokens * n**0.1, tokens=4096)])

    assert list(shares.values()) == pytest.approx([0.0, 1.0, 1.0])


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
    assert rows[0][1:4] == pytest.approx((1.0, 1.0, 1.0))
    assert rows[2][2:4] == pytest.approx((8.0, 8.0))
    assert [row[4] for row in rows] == [None, None, "7.6 (derived)"]
    assert len(drawn.series) == 6
    assert drawn.logarithmic
    for x, y in drawn.series[0].points + drawn.series[1].points:
        assert math.log(y / x) == pytest.approx(math.log(0.03 * 1024))
