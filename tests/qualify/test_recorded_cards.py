"""Two real cards, by the looks that `pytest-energy qualify` took: `docs/results-h200.md`."""

from __future__ import annotations

import pytest

from recorded_cards import CARDS, recorded


@pytest.mark.parametrize("name", CARDS)
def test_the_counter_of_an_h200_adds_up_more_than_its_readings_see(name: str) -> None:
    """One was driven to its power limit; the host of the other fed it unevenly."""
    card = recorded(name)
    counter, readings = card.counter, card.readings

    assert card.feed == "true power"
    assert counter.period_seconds == pytest.approx(0.1, rel=1e-4)
    assert counter.jitter_seconds < 1e-4
    assert counter.window_seconds + counter.window_seconds.doubt > 0.095
    assert counter.sensor.window_seconds > 0.085
    assert card.energy_call_seconds > 0.002 > 100 * card.power_call_seconds / 1.5
    assert len(card.beats) == 5
    assert not readings.is_even
    assert readings.is_part
    assert readings.period_seconds == pytest.approx(0.103, abs=0.001)


def test_there_are_two_of_them() -> None:
    assert CARDS == ("h200-full", "h200-mild")
