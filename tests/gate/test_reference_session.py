"""What a session's reference load says of a change beside the days of its baseline."""

from __future__ import annotations

import random

import pytest

from pytest_energy.gate.explanation import LoadChange

DAYS = (100.0, 100.3, 99.8, 100.1, 99.9, 100.2, 99.7, 100.0)


@pytest.mark.parametrize(
    ("joules", "of", "says"),
    [
        (102.4, 0.03, "takes 2.4 % more as well: the card, not the code."),
        (97.6, -0.03, "takes 2.4 % less as well: the card, not the code."),
        (102.4, 0.06, "takes 2.4 % more as well: the card has a part in it."),
        (100.1, 0.06, "takes as much as before (0.1 % more): not the card."),
        (97.6, 0.06, "takes 2.4 % less: not the card."),
        (100.1, 0.01, None),  # it is not known that well
    ],
)
def test_what_a_session_says(joules: float, of: float, says: str | None) -> None:
    change = LoadChange.of_session(DAYS, joules)

    assert change is not None
    assert change.sentence(of, "card") == (says and f"The reference load {says}")


def test_two_days_say_nothing_and_three_little() -> None:
    assert LoadChange.of_session(DAYS[:2], 105.0) is None
    three, eight = (LoadChange.of_session(DAYS[:count], 101.0) for count in (3, 8))
    assert three is not None
    assert eight is not None
    assert three.error > 3 * eight.error


@pytest.mark.parametrize("days", [3, 5, 8])
def test_a_card_that_stayed_is_hardly_ever_blamed(days: int) -> None:
    """Nor is one cleared that moved as the figure did: 4,000 trials, 1 % between days."""
    chance = random.Random(days)

    def drawn(level: float) -> str:
        before = [100 * (1 + 0.01 * chance.gauss(0, 1)) for _ in range(days)]
        now = 100 * level * (1 + 0.01 * chance.gauss(0, 1))
        return str((LoadChange.of_session(before, now) or LoadChange(0, 1)).sentence(0.2, "card"))

    stayed = sum("as well" in drawn(1.0) for _ in range(4000))
    moved = sum("not the card" in drawn(1.2) for _ in range(4000))
    assert stayed <= 14  # 0.135 % and three SD of chance
    assert moved <= 14
