"""Why J/token changed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.gate.explanation import Operating, explain
from pytest_energy.units import percent

OLD = Operating(mean_watts=500.0, tokens_per_second=100_000.0)
SAME: dict[str, str] = {"torch": "2.13.0", "driver": "580.1"}


def test_throughput_and_the_upgrade_that_came_with_it() -> None:
    new = Operating(mean_watts=500.5, tokens_per_second=96_100.0)
    found = explain(OLD, new, SAME, {**SAME, "torch": "2.15.0"})
    assert found.sentence == (
        "+4.2 % J/token: same power, -3.9 % tokens/s (throughput); torch 2.13.0 -> 2.15.0."
    )


def test_power() -> None:
    found = explain(OLD, replace(OLD, mean_watts=530.0), SAME, SAME)
    assert found.sentence == "+6.0 % J/token: +6.0 % power, same throughput; same environment."


@pytest.mark.parametrize(
    ("watts", "speed", "overhead"), [(550.0, 80_000.0, 3.3), (410.0, 130_000.0, 2.0)]
)
def test_the_factors_multiply_to_the_change_exactly(
    watts: float, speed: float, overhead: float
) -> None:
    old, new = replace(OLD, padding_overhead=3.0), Operating(watts, speed, overhead)
    found = explain(old, new, {}, {})
    before, after = 500.0 / 100_000.0 * 3.0, watts / speed * overhead
    change, power, throughput, padding = (
        percent(ratio - 1, signed=True)
        for ratio in (after / before, watts / 500.0, speed / 100_000.0, overhead / 3.0)
    )
    assert found.sentence == (
        f"{change} J/real token: {power} power, {throughput} tokens/s (throughput), "
        f"{padding} padding; environment not recorded."
    )


def test_padding_counts_only_where_both_sides_know_it() -> None:
    old = replace(OLD, padding_overhead=2.0)
    found = explain(old, replace(OLD, padding_overhead=2.2), SAME, SAME)
    assert found.sentence.startswith(
        "+10.0 % J/real token: same power, same throughput, +10.0 % padding; "
    )
    assert "padding" not in explain(old, OLD, SAME, SAME).sentence


def test_nothing_moved() -> None:
    found = explain(OLD, replace(OLD, mean_watts=501.0), SAME, SAME)
    assert "same power, same throughput" in found.sentence


def test_likely_causes_come_first() -> None:
    old = {
        "zlib": "1",
        "driver": "1",
        "torch": "1",
        "attention": "sdpa",
        "power_limit_watts": 700.0,
    }
    new = {
        "zlib": "2",
        "driver": "2",
        "torch": "2",
        "attention": "eager",
        "power_limit_watts": 500.0,
    }
    slower = explain(OLD, replace(OLD, tokens_per_second=90_000.0), old, new)
    assert slower.differences[0] == "attention sdpa -> eager"
    assert slower.differences[-1] == "zlib 1 -> 2"
    hotter = explain(OLD, replace(OLD, mean_watts=600.0), old, new)
    assert hotter.differences[0] == "power limit 700 W -> 500 W"


def test_only_four_differences_are_shown_and_the_rest_counted() -> None:
    old = {f"package{n}": "1" for n in range(6)}
    new = {f"package{n}": "2" for n in range(6)}
    found = explain(OLD, OLD, old, new)
    assert len(found.differences) == 6
    assert found.sentence.endswith("package3 1 -> 2 and 2 more.")


def test_what_appeared_and_what_went() -> None:
    found = explain(
        OLD, OLD, {"flash_attn": "2.7", "torch": "2"}, {"xformers": "0.1", "torch": "2"}
    )
    assert set(found.differences) == {"flash attn 2.7 -> none", "xformers none -> 0.1"}


def test_an_environment_that_was_not_kept_is_not_made_up() -> None:
    found = explain(OLD, OLD, {}, {"torch": "2.13.0"})
    assert found.differences == ()
    assert "environment not recorded" in found.sentence


@pytest.mark.parametrize("watts", [0.0, -1.0, math.nan, math.inf])
def test_impossible_figures_are_refused(watts: float) -> None:
    with pytest.raises(EnergyError, match="`mean_watts` is"):
        Operating(watts, 1.0)
