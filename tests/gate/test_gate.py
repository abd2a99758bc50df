"""The sequential gate: what it decides of windows, and the sentence that says so."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.gate import Verdict
from pytest_energy.gate.gates import SequentialGate
from pytest_energy.stats.noise import Pooled, SessionStats
from pytest_energy.stats.noise import spread as spread_of
from pytest_energy.stats.sequential import SequentialTest, look_at_session

LEVEL = 0.00512


def sessions(count: int, between: float = 0.005, cv: float = 0.004) -> list[SessionStats]:
    """Sessions of 10 windows whose means are spread evenly, `between` apart on average."""
    places = [2 * (index + 0.5) / count - 1 for index in range(count)]
    return [SessionStats(LEVEL * (1 + 1.7 * between * place), cv, 10) for place in places]


def verdict_of(gate: SequentialGate, windows: Callable[[int], float]) -> Verdict:
    """Feed the gate until it has decided."""
    for number in range(31):
        verdict = gate.add(windows(number))
        if verdict is not None:
            assert gate.verdict is verdict
            return verdict
    raise AssertionError("asked for more windows than it may")


def steady(change: float, noise: float = 0.003) -> Callable[[int], float]:
    """Windows that alternate around a level changed by `change`."""
    return lambda number: LEVEL * (1 + change) * (1 + (noise if number % 2 else -noise))


def test_asks_for_three_windows_before_it_says_anything() -> None:
    gate = SequentialGate(sessions(8))
    assert gate.add(LEVEL) is None
    assert gate.add(LEVEL * 1.002) is None
    assert gate.verdict is None
    verdict = gate.add(LEVEL)
    assert verdict is not None
    assert verdict.outcome == "within"
    assert len(verdict.windows) == len(verdict.trace) == 3


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (0.0, "within"),
        (0.01, "within"),
        (-0.01, "within"),
        (0.06, "regression"),
        (-0.06, "improvement"),
    ],
)
def test_decides_both_directions(change: float, outcome: str) -> None:
    verdict = verdict_of(SequentialGate(sessions(8)), steady(change))
    assert verdict.outcome == outcome
    assert verdict.change == pytest.approx(change, abs=0.003)


def test_improvements_mirror_regressions_on_the_log_scale() -> None:
    worse = verdict_of(SequentialGate(sessions(8)), lambda _: LEVEL * 1.06)
    better = verdict_of(SequentialGate(sessions(8)), lambda _: LEVEL / 1.06)
    centre = math.log(worse.baseline or 0.0) - math.log(LEVEL)
    assert abs(centre) < 1e-4
    assert worse.change is not None
    assert better.change is not None
    assert math.log1p(better.change) == pytest.approx(-math.log1p(worse.change), rel=0.02)
    assert len(better.windows) == len(worse.windows)
    assert better.trace[-1].changed == worse.trace[-1].changed


def test_the_bounds_of_the_evidence_are_walds() -> None:
    rule = SequentialTest(0.02, 0.05, alpha=0.01, beta=0.03)
    assert rule.fails_at == pytest.approx(math.log(0.97 / 0.01))
    assert rule.passes_at == pytest.approx(math.log(0.99 / 0.03))
    shared = SequentialTest(0.02, 0.05, alpha=0.01 / 5, beta=0.03)
    assert shared.fails_at - rule.fails_at == pytest.approx(math.log(5))


def test_a_verdict_states_what_it_rests_on() -> None:
    verdict = verdict_of(SequentialGate(sessions(8), alpha=0.01, beta=0.03), steady(0.06))
    assert verdict.interval is not None
    assert verdict.change is not None
    assert verdict.interval[0] < verdict.change < verdict.interval[1]
    assert verdict.value == pytest.approx(LEVEL * 1.06, rel=0.003)
    assert verdict.baseline == pytest.approx(LEVEL, rel=0.001)


def test_evidence_follows_the_documented_formula() -> None:
    means = [math.log(LEVEL) + step for step in (-0.006, -0.002, 0.0, 0.004, 0.004, 0.006)]
    cv, windows, r1 = 0.01, 10, 0.2
    stored = [SessionStats(math.exp(m) * (1 + cv**2) ** 0.5, cv, windows, r1) for m in means]
    values = [LEVEL * factor for factor in (1.01, 1.02, 1.015)]

    def inflation(n: int, rho: float) -> float:
        return 1 + 2 * sum((1 - k / n) * rho**k for k in range(1, n))

    rho = (r1 + 1 / windows) / (1 - 3 / windows)
    g = inflation(windows, rho)
    sw2 = math.log(1 + cv**2) * (windows - 1) / (windows - g)
    centre = sum(means) / 6
    spread = sum((m - centre) ** 2 for m in means) / 5
    between = 5 / 3 * max(spread, sw2 * g / windows) * (1 + 1 / 6) - sw2 * g / windows
    logs = [math.log(v) for v in values]
    mean = sum(logs) / 3
    s2 = (10 * sw2 + sum((y - mean) ** 2 for y in logs)) / (3 + 9)
    variance = between + s2 * inflation(3, rho) / 3
    low, high = math.log(1.02), math.log(1.05)
    middle, gap = (low + high) / 2, high - low
    # Closer than the other level, the evidence is the ratio of both; beyond it, of the distance.
    near = [middle + sign * bound * variance / gap for sign, bound in ((1, 4.575), (-1, 3.497))]
    far = (
        low + math.sqrt(2 * math.log(97) * variance),
        high - math.sqrt(2 * math.log(33) * variance),
    )
    changed = near[0] if near[0] <= high else far[0]
    within = near[1] if near[1] >= low else far[1]

    look = look_at_session(logs, spread_of(stored), SequentialTest(0.02, 0.05, 0.01, 0.03), most=30)
    assert look.variance == pytest.approx(variance, rel=1e-9)
    assert look.within == pytest.approx(within, rel=1e-3)
    assert look.changed == pytest.approx(changed, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (0.002, ["within the tolerance of 2 %", "nothing to do"]),
        (0.06, ["a regression beyond the tolerance of 2 %", "--energy-update=replace"]),
        (-0.06, ["an improvement", "--energy-update=replace", "--energy-improvement=pass"]),
    ],
)
def test_a_decided_sentence_names_everything(change: float, words: list[str]) -> None:
    gate = SequentialGate(sessions(8))
    verdict = verdict_of(gate, steady(change))
    for word in [
        "mJ/token against 5.120 mJ/token of the baseline",
        f"{100 * (verdict.change or 0):+.1f} %",
        "95 % interval",
        f"{len(verdict.windows)} windows",
        *words,
    ]:
        assert word in verdict.reason


def test_within_says_so_when_the_estimate_is_above_the_tolerance() -> None:
    verdict = verdict_of(SequentialGate(sessions(20, 0.002)), lambda _: LEVEL * 1.022)
    assert verdict.outcome == "within"
    assert "nearer to the tolerance of 2 % than to the 5 % that must be caught" in verdict.reason


def test_inconclusive_where_sessions_differ_and_windows_cannot_help() -> None:
    verdict = verdict_of(SequentialGate(sessions(8, 0.012)), steady(0.035))
    assert verdict.outcome == "inconclusive"
    assert len(verdict.windows) == 3
    assert "differ by 1.2" in verdict.reason
    assert "more windows cannot decide" in verdict.reason
    assert "`--energy-settle=auto`" in verdict.reason


def test_inconclusive_at_the_most_windows() -> None:
    stored = sessions(20, 0.001, cv=0.02)
    verdict = verdict_of(SequentialGate(stored, max_windows=4), steady(0.034, 0.02))
    assert verdict.outcome == "inconclusive"
    assert "4 windows, the most allowed, were not enough" in verdict.reason


def test_a_noisier_session_is_invalid_once_it_has_had_time_to_settle() -> None:
    verdict = verdict_of(SequentialGate(sessions(8)), steady(0.0, 0.05))
    assert verdict.outcome == "invalid"
    assert len(verdict.windows) == 10
    assert "noisier than the baseline: 10 windows vary by 5.3" in verdict.reason
    assert "the baseline's by 0.4" in verdict.reason
    assert "run again" in verdict.reason


def test_one_outlier_is_outweighed_by_more_windows() -> None:
    verdict = verdict_of(
        SequentialGate(sessions(8)), lambda number: LEVEL * (1.022 if number == 0 else 1.0)
    )
    assert verdict.outcome == "within"
    assert 3 < len(verdict.windows) < 10


def test_without_sessions_the_baseline_is_missing() -> None:
    verdict = SequentialGate([]).add(LEVEL)
    assert verdict is not None
    assert verdict.outcome == "missing"
    assert verdict.value == pytest.approx(LEVEL)
    assert verdict.baseline is None
    assert "there is no baseline to compare with" in verdict.reason
    assert "--energy-update=new" in verdict.reason


def test_nothing_is_added_after_the_verdict() -> None:
    gate = SequentialGate([])
    gate.add(LEVEL)
    with pytest.raises(EnergyError, match="after the verdict"):
        gate.add(LEVEL)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_sessions_say_how_many_to_record(count: int) -> None:
    verdict = verdict_of(SequentialGate(sessions(count)), steady(0.035))
    assert verdict.outcome == "inconclusive"
    assert f"{count} session{'s' if count > 1 else ''} cannot say how sessions" in verdict.reason
    assert f"record {5 - count} more on other days with `--energy-update=append`" in verdict.reason


def test_one_session_passes_nothing_and_fails_only_what_no_noise_explains() -> None:
    outcomes = [
        verdict_of(SequentialGate(sessions(1)), steady(change)).outcome
        for change in (0.0, 0.05, 0.10, 0.5, -0.4)
    ]
    assert outcomes == [*3 * ["inconclusive"], "regression", "improvement"]


@pytest.mark.parametrize("count", [8, 20])
def test_many_sessions_decide(count: int) -> None:
    gates = [SequentialGate(sessions(count)) for _ in range(2)]
    assert verdict_of(gates[0], steady(0.0)).outcome == "within"
    assert verdict_of(gates[1], steady(0.05)).outcome == "regression"


def test_what_other_entries_know_lets_one_session_decide() -> None:
    pooled = Pooled(tau2=0.004**2)
    verdict = verdict_of(SequentialGate(sessions(1), pooled=pooled), steady(0.0))
    assert verdict.outcome == "within"


def test_autocorrelated_baselines_are_believed_less() -> None:
    plain = [SessionStats(s.mean, 0.015, 10, 0.0) for s in sessions(8)]
    tied = [SessionStats(s.mean, 0.015, 10, 0.4) for s in sessions(8)]
    spent = [
        len(verdict_of(SequentialGate(s), steady(0.015, 0.015)).windows) for s in (plain, tied)
    ]
    assert spent[0] < spent[1]


def test_a_smaller_share_of_the_error_budget_asks_for_more_evidence() -> None:
    alone = verdict_of(SequentialGate(sessions(8)), steady(0.05))
    shared = verdict_of(SequentialGate(sessions(8), alpha=0.01 / 5), steady(0.05))
    edges = [verdict.trace[2].changed for verdict in (alone, shared)]
    assert edges[0] is not None
    assert edges[1] is not None
    assert edges[1][1] > edges[0][1]


def test_a_metric_of_ones_own() -> None:
    stored = [SessionStats(523.0 * (1 + 0.001 * n), 0.004, 10) for n in range(8)]
    gate = SequentialGate(stored, unit="J")
    verdict = verdict_of(gate, lambda number: 600.0 + number)
    assert verdict.outcome == "regression"
    assert verdict.unit == "J"
    assert "601.0 J against 524.8 J of the baseline" in verdict.reason


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_energy_is_positive_and_finite(value: float) -> None:
    gate = SequentialGate(sessions(8))
    with pytest.raises(EnergyError, match=r"`joules_per_token` is .* positive and finite"):
        gate.add(value)
    assert gate.verdict is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.05, "detect": 0.05}, "`detect` .* must be above `tolerance`"),
        ({"tolerance": -0.01}, "`detect` .* must be above `tolerance`"),
        ({"detect": math.nan}, "`detect`"),
        ({"alpha": 0.0}, "`alpha`"),
        ({"beta": 0.7}, "`beta`"),
        ({"max_windows": 2}, "`max_windows` is 2"),
    ],
)
def test_impossible_questions_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        SequentialGate(sessions(8), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.01, 10), "`mean`"),
        ((math.nan, 0.01, 10), "`mean`"),
        ((1.0, -0.01, 10), "`cv`"),
        ((1.0, 0.01, 0), "0 windows"),
        ((1.0, 0.01, 10, 1.5), "`autocorrelation`"),
    ],
)
def test_impossible_sessions_are_refused(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        SessionStats(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("windows", [1, 2, 4])
def test_sessions_of_few_windows_are_usable(windows: int) -> None:
    stored = [SessionStats(s.mean, 0.0 if windows == 1 else 0.004, windows) for s in sessions(8)]
    assert verdict_of(SequentialGate(stored, detect=0.1), steady(0.0)).outcome == "within"


def test_a_baseline_without_noise_is_not_believed_to_have_none() -> None:
    stored = 8 * [SessionStats(LEVEL, 0.0, 10)]
    random_source = random.Random(1)
    gate = SequentialGate(stored)
    verdict = verdict_of(gate, lambda _: LEVEL * (1 + random_source.gauss(0, 0.001)))
    assert verdict.outcome == "within"
    assert verdict.interval is not None
    assert verdict.interval[1] - verdict.interval[0] > 0.001
