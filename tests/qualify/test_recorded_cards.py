"""Three real cards, by the looks that `pytest-energy qualify` took: `docs/results-h200.md`."""

from __future__ import annotations

import pytest

from pytest_energy.qualify.experiments import qualified
from recorded_cards import CARDS, path_of, recorded
from replayed_cards import ReplayedCard


@pytest.mark.parametrize("name", CARDS)
def test_the_counter_of_an_h200_adds_up_more_than_its_readings_see(name: str) -> None:
    """One was driven to its power limit; the host of the second fed it unevenly."""
    card = recorded(name)
    counter, readings = card.counter, card.readings

    assert card.feed == "true power"
    assert counter.period_seconds == pytest.approx(0.1, rel=1e-4)
    assert counter.jitter_seconds < 1e-4
    assert counter.window_seconds + counter.window_seconds.doubt > 0.095
    assert counter.sensor.window_seconds > 0.085
    assert card.energy_call_seconds > 0.002 > 60 * card.power_call_seconds
    assert len(card.beats) == 5
    assert not readings.is_even
    assert readings.is_part
    assert readings.period_seconds == pytest.approx(0.102, abs=0.002)


def test_there_are_three_of_them() -> None:
    assert CARDS == ("h200-full", "h200-mild", "h200-third")


def test_the_command_finds_again_what_it_found_of_the_third() -> None:
    """As `docs/results-h200.md` has it."""
    found = qualified(ReplayedCard(path_of("h200-third")), lambda _: None)

    assert (found.feed, found.sees_all, found.mild) == ("true power", True, True)
    assert found.counter is not None
    assert found.counter.window_seconds == pytest.approx(0.0986, abs=0.0001)
    assert found.counter.window_seconds.doubt == pytest.approx(0.0011, abs=0.0001)
    assert found.counter_to_readings == pytest.approx(1.0, abs=0.001)
    assert found.even_work.windows == 20
