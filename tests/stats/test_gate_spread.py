"""What a baseline's sessions say of noise: devices, pooling, and the gap they resolve."""

from __future__ import annotations

import math
import random

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.gate.gates import SequentialGate
from pytest_energy.gate.sentences import gap_warning, smallest_gap
from pytest_energy.stats.noise import PairStats, Pooled, SessionStats, pool, spread


def drawn(
    count: int, between: float, level: float = 1.0, device: str | None = None, seed: int = 1
) -> list[SessionStats]:
    source = random.Random(seed)
    return [
        SessionStats(level * math.exp(source.gauss(0, between)), 0.003, 10, device=device)
        for _ in range(count)
    ]


def outcome(gate: SequentialGate, value: float) -> str:
    while gate.verdict is None:
        gate.add(value)
    return gate.verdict.outcome


def test_a_known_device_is_compared_with_its_own_sessions() -> None:
    stored = drawn(6, 0.003, 1.0, "A") + drawn(6, 0.003, 1.06, "B", seed=2)
    assert spread(stored, device="A").centre == pytest.approx(0.0, abs=0.004)
    assert spread(stored, device="B").centre == pytest.approx(math.log(1.06), abs=0.004)
    assert outcome(SequentialGate(stored, device="A"), 1.0) == "within"
    assert outcome(SequentialGate(stored, device="A"), 1.06) == "regression"
    assert outcome(SequentialGate(stored, device="B"), 1.06) == "within"


def test_the_spread_of_a_known_device_is_learnt_on_all_devices() -> None:
    stored = drawn(1, 0.003, 1.0, "A") + drawn(6, 0.003, 1.06, "B", seed=2)
    found = spread(stored, device="A")
    assert found.sessions == 1
    assert found.degrees == 5
    assert not found.assumed


def test_a_new_device_is_compared_with_the_spread_of_devices() -> None:
    stored = [s for n in range(6) for s in drawn(3, 0.003, 1 + 0.02 * n, f"D{n}", seed=n)]
    known, new = spread(stored, device="D2"), spread(stored, device="new")
    assert not new.device_known
    assert new.between > 20 * known.between
    assert new.centre == pytest.approx(math.log(1.05), abs=0.01)
    assert outcome(SequentialGate(stored, device="new"), 1.1) == "inconclusive"


def test_a_new_device_beside_a_single_known_one_fails_nothing_and_says_why() -> None:
    gate = SequentialGate(drawn(8, 0.003, device="A"), device="new")
    assert outcome(gate, 1.10) == "inconclusive"
    assert gate.verdict is not None
    assert "no session of the baseline is from this device" in gate.verdict.reason
    assert "record a session on this device with `--energy-update=append`" in gate.verdict.reason


@pytest.mark.parametrize(("labels", "device"), [(None, "A"), ("A", None), (None, None)])
def test_where_no_device_is_named_sessions_are_taken_for_one(
    labels: str | None, device: str | None
) -> None:
    found = spread(drawn(8, 0.003, device=labels), device=device)
    assert found.device_known
    assert found.sessions == 8


def test_pooling_joins_what_entries_know_and_is_worth_eight_degrees() -> None:
    entries = [drawn(8, 0.006, seed=seed) for seed in range(30)]
    found = pool(entries)
    assert found is not None
    assert math.sqrt(found.tau2) == pytest.approx(0.006, rel=0.15)
    assert found.degrees == 8
    assert found.sw2 == pytest.approx(0.003**2, rel=0.1)


def test_pooling_is_worth_no_more_than_it_rests_on() -> None:
    alone, beside = pool([drawn(3, 0.005)]), pool([drawn(3, 0.005), drawn(1, 0.005)])
    assert alone is not None
    assert beside is not None
    assert alone.degrees == beside.degrees == 2
    assert alone.tau2 == beside.tau2
    assert pool([drawn(1, 0.005), []]) is None
    assert pool([]) is None


def test_few_sessions_are_shrunk_to_the_pool_and_many_hardly() -> None:
    pooled = Pooled(tau2=0.01**2)
    few = spread(drawn(3, 0.002), pooled=pooled)
    many = spread(drawn(60, 0.002), pooled=pooled)
    assert math.sqrt(few.tau2) > 0.008
    assert math.sqrt(many.tau2) < 0.005
    assert few.degrees == 2 + 8
    assert not few.assumed


def test_a_spread_that_is_not_known_is_assumed() -> None:
    for count, degrees in ((1, 3), (2, 4), (3, 4), (5, 4)):
        found = spread(drawn(count, 0.002))
        assert found.degrees == degrees
        assert found.assumed == (count < 5)
    assert spread(drawn(1, 0.002)).tau2 == pytest.approx(0.01**2)
    gaps = [smallest_gap(drawn(count, 0.002)) for count in (1, 2, 3, 5, 8, 20)]
    assert gaps == sorted(gaps, reverse=True)


def test_no_sessions_have_no_spread() -> None:
    with pytest.raises(EnergyError, match="`sessions` is empty"):
        spread([])


def test_the_smallest_gap_is_about_four_spreads_for_eight_sessions() -> None:
    gaps = [smallest_gap(drawn(8, 0.01, seed=seed)) for seed in range(200)]
    expected = 4.2 * 0.01 * math.sqrt(1 + 1 / 8)
    assert sum(gaps) / len(gaps) == pytest.approx(expected, rel=0.06)


def test_a_gap_below_the_smallest_is_warned_of_with_what_to_do() -> None:
    stored = drawn(8, 0.012)
    held = smallest_gap(stored)
    assert held > 0.03
    text = gap_warning(stored, 0.02, 0.05)
    assert text is not None
    assert "`detect` 5 % is 3 % above `tolerance` 2 %" in text
    assert "8 sessions differ by" in text
    enough = float(text.partition("raise `detect` to ")[2].partition(" %")[0]) / 100
    assert enough - 0.02 >= held
    assert gap_warning(stored, 0.02, enough) is None


def test_the_warning_counts_the_sessions_that_would_do() -> None:
    stored = [SessionStats(math.exp(0.0075 * place), 0.003, 10) for place in (-1, -1, 0, 0, 1, 1)]
    text = gap_warning(stored, 0.02, 0.05)
    assert text is not None
    assert "record 3 more with `--energy-update=append`" in text
    assert gap_warning([*stored, *stored[::2]], 0.02, 0.05) is None


def test_what_few_days_resolve_is_not_told_because_nobody_knows() -> None:
    assert gap_warning(drawn(1, 0.01), 0.02, 0.05) == (
        "`detect` 5 % is 3 % above `tolerance` 2 %, but 1 session cannot say how sessions differ: "
        "record 4 more on other days with `--energy-update=append`, or settle it with "
        "`--energy-settle=auto`"
    )


def test_no_number_of_sessions_makes_up_for_a_wide_spread() -> None:
    text = gap_warning(drawn(8, 0.03), 0.02, 0.05)
    assert text is not None
    assert "more with" not in text
    assert "or settle it with `--energy-settle=auto`" in text


def test_the_gap_of_savings_is_in_points_of_what_is_saved() -> None:
    ratios = [0.0, 0.008, -0.008, 0.006, -0.006, 0.004, -0.004, 0.002]
    stored = [PairStats(1 - 0.5 * math.exp(x), 0.003, 10) for x in ratios]
    relative = [SessionStats(math.exp(x), 0.003, 10) for x in ratios]

    told = smallest_gap(stored, tolerance=0.01)

    # Half of the energy is spent: a change of what is spent is half as many points.
    assert told == pytest.approx(0.51 * smallest_gap(relative), rel=0.001)
    assert 0.008 < told < 0.02
    assert gap_warning(stored, 0.01, 0.03) is None
    text = gap_warning(stored, 0.01, 0.015)
    assert text is not None
    assert "`detect` 1.5 points is 0.5 points above `tolerance` 1 point, but" in text
    enough = float(text.partition("raise `detect` to ")[2].partition(" points")[0]) / 100
    assert enough == pytest.approx(0.01 + told, abs=0.0011)
    assert gap_warning(stored, 0.01, enough) is None
