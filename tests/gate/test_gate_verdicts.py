"""Verdicts field by field: what a gate keeps of its windows, shows of its test, and advises."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.gate import Verdict
from pytest_energy.gate.gates import Gate, PairedGate, SavingsGate, SequentialGate, worst
from pytest_energy.stats.noise import PairStats, Pooled, SessionStats, spread
from pytest_energy.stats.sequential import SequentialTest, look_at_pairs, look_at_session

RULE = SequentialTest(0.02, 0.05, 0.01, 0.03)
POINTS = SequentialTest(0.01, 0.03, 0.01, 0.03, base=0.5)
MIDDLE = (RULE.allowed + RULE.caught) / 2
NOISY = [SessionStats(0.005, 0.02, 10) for _ in range(200)]
"""Sessions that hardly differ, of windows that do: a figure between the levels stays open."""
NOISY_PAIRS = [PairStats(0.5, 0.02, 10) for _ in range(200)]


def open_logs(count: int, middle: float = MIDDLE) -> list[float]:
    """Changes about the middle of both levels, where the evidence is none."""
    return [middle + 0.02 * (-1) ** i for i in range(count)]


def fed(gate: Gate, values: Sequence[float]) -> Verdict:
    """Its verdict on windows of so many J/token, or on as many against 0.005."""
    for number, value in enumerate(values, start=1):
        if isinstance(gate, SequentialGate):
            verdict = gate.add(value)
        else:
            assert isinstance(gate, SavingsGate | PairedGate)
            verdict = gate.add(0.005, value)
        if verdict is not None:
            assert verdict is gate.verdict
            assert number == len(verdict.windows)
            return verdict
    raise AssertionError("still open")


def verdict(outcome: str, change: float | None) -> Verdict:
    return Verdict(outcome, "", 0.02, 0.05, change=change)  # type: ignore[arg-type]


def test_the_worst_of_several_verdicts_counts_then_the_largest_change() -> None:
    within, small, large = (
        verdict("within", 0.3),
        verdict("regression", 0.1),
        verdict("regression", -0.2),
    )
    assert worst([within, small, large]) is large
    assert worst([small, within]) is small
    assert worst([verdict("missing", None), within]).outcome == "missing"
    none, some = verdict("within", None), verdict("within", 0.01)
    assert worst([none, some]) is some


def test_what_the_gates_ask_for_if_nobody_says() -> None:
    """2 % and 5 %, or 1 and 3 points; errors of 1 % and 3 %; 30 windows, or pairs."""
    values = [0.005 * math.exp(log) for log in open_logs(30)]
    plain = fed(SequentialGate(NOISY), values)
    assert plain == fed(SequentialGate(NOISY, 0.02, 0.05, 0.01, 0.03, 30, unit="J/token"), values)
    assert (plain.outcome, len(plain.windows)) == ("inconclusive", 30)

    middle = (POINTS.allowed + POINTS.caught) / 2
    saved = [0.0025 * math.exp(log) for log in open_logs(30, middle)]
    plain = fed(SavingsGate(NOISY_PAIRS), saved)
    assert plain == fed(SavingsGate(NOISY_PAIRS, 0.01, 0.03, 0.01, 0.03, 30), saved)
    assert (plain.outcome, len(plain.windows), plain.unit) == ("inconclusive", 30, "fraction")

    values = [0.005 * math.exp(MIDDLE + 0.1 * (-1) ** i) for i in range(30)]
    plain = fed(PairedGate(), values)
    assert plain == fed(PairedGate(None, 0.02, 0.05, 0.01, 0.03, 30, unit="J/token"), values)
    assert (plain.outcome, len(plain.windows), plain.unit) == ("inconclusive", 30, "J/token")


def test_three_windows_may_be_the_most() -> None:
    assert fed(SequentialGate(NOISY, max_windows=3), 3 * [0.00517]).outcome == "inconclusive"
    for most in (2, 0):
        with pytest.raises(EnergyError, match=f"`max_windows` is {most}, but nothing is decided"):
            SequentialGate(NOISY, max_windows=most)


def test_a_verdict_of_a_session_in_figures() -> None:
    logs = open_logs(7)
    values = [0.005 * math.exp(log) for log in logs]
    known = spread(NOISY)
    look = look_at_session([math.log(value) for value in values], known, RULE, 7)

    found = fed(SequentialGate(NOISY, max_windows=7), values)

    half = 1.959964 * math.sqrt(look.variance)
    assert (found.tolerance, found.detect) == (0.02, 0.05)
    assert found.value == pytest.approx(0.005 * math.exp(fmean(logs)))
    assert found.baseline == pytest.approx(0.005, rel=1e-3)
    assert found.windows == pytest.approx(values)
    assert found.change == pytest.approx(math.expm1(look.change))
    assert found.interval == pytest.approx(
        (math.expm1(look.change - half), math.expm1(look.change + half))
    )
    assert found.drift is None
    assert found.reason.startswith(f"{found.facts}, ")
    assert " against 4.999 mJ/token of the baseline, +3.8 % (95 % interval " in found.facts
    assert found.facts.endswith(", 7 windows)")
    # Each point of the trace is the look after so many windows.
    assert [point.windows for point in found.trace] == [1, 2, 3, 4, 5, 6, 7]
    for count, point in enumerate(found.trace, start=1):
        then = look_at_session([math.log(v) for v in values[:count]], known, RULE, 7)
        assert point.change == pytest.approx(math.expm1(then.change))
        if count < 3:
            assert (point.within, point.changed) == (None, None)
            continue
        within, changed = RULE.edges(then.variance)
        assert point.changed == pytest.approx((math.expm1(-changed), math.expm1(changed)))
        expected = None if within is None else (math.expm1(-within), math.expm1(within))
        assert point.within == (None if expected is None else pytest.approx(expected))


def test_the_last_pair_of_a_trace_shows_the_lower_bounds() -> None:
    values = [0.005 * math.exp(MIDDLE + 0.01 * (-1) ** i) for i in range(8)]
    found = fed(PairedGate(max_pairs=8), values)
    look = look_at_pairs([math.log(v / 0.005) for v in values], None, RULE, 8)
    within, changed = look.within, look.changed
    assert changed < RULE.edges(look.variance, look.degrees)[1]
    assert within is not None
    assert found.trace[-1].changed == pytest.approx((math.expm1(-changed), math.expm1(changed)))
    assert found.trace[-1].within == pytest.approx((math.expm1(-within), math.expm1(within)))


def test_a_verdict_of_savings_in_figures() -> None:
    """Half is saved: a change of what is spent is half as many points, the other way round."""
    middle = (POINTS.allowed + POINTS.caught) / 2
    logs = open_logs(5, middle)
    known = spread(NOISY_PAIRS)
    found = fed(SavingsGate(NOISY_PAIRS, max_pairs=5), [0.0025 * math.exp(log) for log in logs])
    look = look_at_session([math.log(0.5) + log for log in logs], known, POINTS, 5)
    half = 1.959964 * math.sqrt(look.variance)
    assert found.value == pytest.approx(1 - 0.5 * math.exp(fmean(logs)))
    assert found.baseline == pytest.approx(0.5)
    assert found.windows == pytest.approx([1 - 0.5 * math.exp(log) for log in logs])
    assert found.change == pytest.approx(-0.5 * math.expm1(look.change))
    assert found.interval == pytest.approx(
        [-0.5 * math.expm1(look.change + sign * half) for sign in (1, -1)]
    )


def test_a_verdict_of_pairs_in_figures() -> None:
    """Base first, head first, in turns: by how much the second windows are up, on average."""
    gate = PairedGate(max_pairs=4)
    pairs = [(0.005, 0.00502), (0.00502, 0.005), (0.005, 0.00504), (0.00506, 0.005)]
    for base, head in pairs:
        gate.add(base, head)
    found = gate.verdict
    assert found is not None
    sides = [fmean(map(math.log, side)) for side in zip(*pairs, strict=True)]
    assert (found.baseline, found.value) == pytest.approx(tuple(map(math.exp, sides)))
    assert found.windows == pytest.approx([head for _, head in pairs])
    ups = [1.004, 1.004, 1.008, 1.012]
    assert found.drift == pytest.approx(math.prod(ups) ** 0.25 - 1)


def test_what_is_refused_is_named() -> None:
    pairs = {SavingsGate: ("baseline", "candidate"), PairedGate: ("base", "head")}
    for kind, (first, second) in pairs.items():
        for values, name in (((0.0, 1.0), first), ((1.0, math.inf), second)):
            with pytest.raises(EnergyError, match=rf"`{name}_joules_per_token` is .*, but energy"):
                kind([]).add(*values)
    gate = SequentialGate([])
    gate.add(1.0)
    with pytest.raises(EnergyError, match="`add` came after the verdict `missing`; make a new"):
        gate.add(1.0)


def test_a_first_value_without_a_baseline_is_all_there_is() -> None:
    found = fed(SequentialGate([]), [0.004])
    assert found.value == pytest.approx(0.004)
    assert found.baseline is None
    assert (found.change, found.interval, found.trace) == (None, None, ())
    saved = fed(SavingsGate([]), [0.004])
    assert saved.value == pytest.approx(0.2)
    assert saved.baseline is None


FAR = [SessionStats(0.005 * math.exp(0.03 * (-1) ** n), 0.004, 10, device="A") for n in range(8)]
NEAR = [SessionStats(0.005 * math.exp(0.002 * (-1) ** n), 0.02, 10, device="A") for n in range(8)]
SETTLE = "settle it by A/B in one session with `--energy-settle=auto`."
OPEN = [0.005 * math.exp(log) for log in open_logs(30)]
QUIETLY_OPEN = [0.005 * math.exp(MIDDLE + 0.003 * (-1) ** i) for i in range(30)]


@pytest.mark.parametrize(
    ("gate", "cause", "remedy"),
    [
        # Sessions that differ so much that no number of them would do.
        (
            lambda: SequentialGate(FAR),
            "the baseline's 8 sessions differ by 3.2 %, so more windows cannot decide",
            f"; raise `--energy-detect` to 18 (percent), or {SETTLE}",
        ),
        # Sessions that resolve the levels: more of them would not help, more windows would.
        (
            lambda: SequentialGate(NEAR, max_windows=4),
            "4 windows, the most allowed, were not enough at a noise of 2.03 %",
            f"; {SETTLE}",
        ),
        # Of one session, what it tells is not known.
        (
            lambda: SequentialGate(NEAR[:1], max_windows=4),
            "1 session cannot say how sessions differ, so more windows cannot decide",
            f"; record 4 more on other days with `--energy-update=append`, or {SETTLE}",
        ),
        # Another device.
        (
            lambda: SequentialGate(NEAR, device="B"),
            "no session of the baseline is from this device, and devices differ, so more",
            f"; record a session on this device with `--energy-update=append`, or {SETTLE}",
        ),
        # A baseline that each run adds to.
        (
            lambda: SequentialGate(FAR, local=True),
            "so more windows cannot decide",
            "; run it again, so that this machine's own baseline learns more, "
            f"raise `--energy-detect` to 18 (percent), or {SETTLE}",
        ),
    ],
)
def test_what_an_open_verdict_says_and_advises(
    gate: Callable[[], SequentialGate], cause: str, remedy: str
) -> None:
    found = fed(gate(), QUIETLY_OPEN)
    assert found.outcome == "inconclusive"
    assert cause in found.reason
    assert found.reason.endswith(remedy)


def test_levels_that_a_baseline_holds_decide() -> None:
    assert fed(SequentialGate(FAR, detect=0.18), QUIETLY_OPEN).outcome == "within"


def test_savings_that_stay_open_are_recorded_again() -> None:
    spread_out = [PairStats(1 - 0.5 * math.exp(0.03 * (-1) ** n), 0.004, 10) for n in range(8)]
    middle = (POINTS.allowed + POINTS.caught) / 2
    values = [0.0025 * math.exp(middle + 0.003 * (-1) ** i) for i in range(30)]
    again = "record it again on a quieter device."
    found = fed(SavingsGate(spread_out), values)
    assert "so more pairs cannot decide; " in found.reason
    assert found.reason.endswith(f"; {again}")
    own = fed(SavingsGate(spread_out, local=True), values)
    assert own.reason.endswith(f"own baseline learns more, or {again}")


def test_sessions_that_would_do_are_counted() -> None:
    """With a gap of 3 %, and 6 sessions that differ by 0.7 %, a few more resolve it."""
    stored = [SessionStats(0.005 * math.exp(0.0075 * n), 0.003, 10) for n in (-1, -1, 0, 0, 1, 1)]
    found = fed(SequentialGate(stored), QUIETLY_OPEN)
    assert found.reason.endswith(
        "; record 3 more with `--energy-update=append`, raise `--energy-detect` to 6 (percent), "
        f"or {SETTLE}"
    )


def test_a_noisy_session_says_by_how_much() -> None:
    quiet = [SessionStats(0.005 * math.exp(0.004 * (-1) ** n), 0.004, 10) for n in range(8)]
    for gate, counted in (
        (SequentialGate(quiet), "windows"),
        (SavingsGate([PairStats(0.5, 0.004, 10)] * 8), "pairs"),
    ):
        level = 0.005 if counted == "windows" else 0.0025
        found = fed(gate, [level * math.exp(0.05 * (-1) ** i) for i in range(10)])
        assert found.outcome == "invalid"
        assert found.reason == (
            f"noisier than the baseline: 10 {counted} vary by 5.36 %, the baseline's by 0.41 %; "
            "stop other work on the device, let it warm up, and run again."
        )


def test_open_pairs_say_by_how_much_they_vary() -> None:
    found = fed(PairedGate(max_pairs=5), [0.005 * math.exp(0.15 * s) for s in (1, 1, -1, -1, 1)])
    assert "5 pairs, the most allowed, were not enough because they vary by 18.7 %" in found.reason
    assert found.reason.endswith("or raise `--energy-max-windows`.")


def test_pairs_that_do_not_vary_say_so() -> None:
    found = fed(PairedGate(NEAR, max_pairs=3), 3 * [0.005 * math.exp(MIDDLE)])
    assert "3 pairs, the most allowed, were not enough because they vary by 0 %; " in found.reason


def test_what_a_gate_is_given_reaches_its_baseline() -> None:
    pooled = Pooled(tau2=0.03**2)
    few = NEAR[:2]
    assert fed(SequentialGate(few, pooled=pooled), OPEN).reason.count("differ by 2.") == 1
    saved = [PairStats(0.5, 0.02, 10, device="A")] * 8
    values = [0.0025 * math.exp(log) for log in open_logs(30)]
    assert "devices differ" in fed(SavingsGate(saved, device="B"), values).reason
    pooled_savings = fed(SavingsGate(saved[:2], pooled=pooled, device="A"), values)
    assert "sessions differ by 2." in pooled_savings.reason
    loose = fed(SavingsGate(saved, 0.2, 0.4, 0.001, 0.002, 30), 3 * [0.0025])
    assert (loose.tolerance, loose.detect, loose.outcome) == (0.2, 0.4, "within")
    assert fed(PairedGate(unit="J"), OPEN).unit == "J"


CALM = [SessionStats(0.005, 0.003, 10) for _ in range(8)]
CALM_PAIRS = [PairStats(0.5, 0.003, 10) for _ in range(8)]


def test_the_value_is_as_far_from_the_baseline_as_the_change_says() -> None:
    """Of an outlier among the windows both show as much as was judged."""
    found = fed(SequentialGate(CALM), [0.006, *(9 * [0.005])])
    assert found.value is not None
    assert found.baseline is not None
    assert found.change is not None
    assert found.value == pytest.approx(found.baseline * (1 + found.change))
    assert found.value < fmean(found.windows)
    saved = fed(SavingsGate(CALM_PAIRS), [0.003, *(9 * [0.0025])])
    assert saved.value is not None
    assert saved.baseline is not None
    assert saved.value - saved.baseline == pytest.approx(saved.change)
    assert saved.value > fmean(saved.windows)


@pytest.mark.parametrize("settled", [False, True])
def test_a_change_that_an_outlying_session_may_be_is_left_to_pairs_that_can_settle_it(
    settled: bool,
) -> None:
    gate, saved = SequentialGate(CALM, settled=settled), SavingsGate(CALM_PAIRS, settled=settled)
    for _ in range(4):
        if gate.verdict is None:
            gate.add(0.005 * 1.06)
        if saved.verdict is None:
            saved.add(0.005, 0.0025 * 1.06)
    for verdict in (gate.verdict, saved.verdict):
        said = None if verdict is None else verdict.outcome
        assert (said == "regression") != settled


def test_pairs_take_a_fourth_if_a_baseline_says_no_more_than_the_least() -> None:
    """As one that a machine keeps for itself does, or one for pairs of new processes."""
    same = 9 * [0.005]
    assert len(fed(PairedGate(CALM), same).windows) == 3
    local = fed(PairedGate(CALM, local=True), same)
    renewed = fed(PairedGate(CALM, renewed=True), same)
    assert len(local.windows) == len(renewed.windows) == 4
    assert local.interval is not None
    assert renewed.interval is not None
    assert renewed.interval[1] < local.interval[1]  # new processes have less in common


def test_what_was_found_names_the_other_side_and_what_was_counted() -> None:
    pairs = fed(PairedGate(), 9 * [0.0051])
    assert pairs.facts.startswith(
        "5.100 mJ/token against 5.000 mJ/token of the base, +2.0 % (95 % "
    )
    assert pairs.facts.endswith(f", {len(pairs.windows)} interleaved pairs)")
    saved = fed(SavingsGate(CALM_PAIRS), 9 * [0.0025])
    assert " saved against 50.0 % of the baseline, " in saved.facts
    assert saved.facts.endswith(f", {len(saved.windows)} pairs)")
    missing = fed(SequentialGate([]), [0.005])
    assert (missing.outcome, missing.facts) == ("missing", "")
    assert missing.value == pytest.approx(0.005)
