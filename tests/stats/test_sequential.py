"""The sequential test by hand: evidence, bounds, when it stops, and how errors are shared out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy import stats

from pytest_energy.errors import EnergyError
from pytest_energy.stats.noise import Spread
from pytest_energy.stats.sequential import (
    ErrorBudget,
    Look,
    SequentialTest,
    distance,
    look_at_pairs,
    look_at_session,
)

RULE = SequentialTest(0.02, 0.05, alpha=0.01, beta=0.03)
LOW, HIGH = math.log(1.02), math.log(1.05)
FAILS, PASSES, UNCHANGED = math.log(0.97 / 0.01), math.log(0.99 / 0.03), math.log(10 / 0.01)

SPREAD = Spread(
    centre=0.5,
    between=1e-4,
    tau2=1e-4,
    degrees=8.0,
    noise=1e-6,
    sw2=4e-5,
    within_degrees=72.0,
    rho=0.0,
    sessions=8,
    assumed=False,
    device_known=True,
)


def around(level: float, apart: float, count: int) -> list[float]:
    """Values above and below a level in turns; so many, one of them on it if they are odd."""
    values = [level + apart * (-1) ** i for i in range(count)]
    return values if count % 2 == 0 else [*values[:-1], level]


def evidence(x: float, level: float, other: float, variance: float, degrees: float) -> float:
    """The log of how much likelier `other`, or what is beyond it, is than `level`.

    Of a normal distribution, or of a Student's t with its tail's power: `degrees` / 2.
    """
    nearest = max(x, other) if other > level else min(x, other)
    if math.isinf(degrees):
        at = [stats.norm.logpdf(x, where, math.sqrt(variance)) for where in (nearest, level)]
        return float(at[0] - at[1])
    odds = [math.log1p((x - where) ** 2 / variance / degrees) for where in (nearest, level)]
    return degrees / 2 * (odds[1] - odds[0])


@pytest.mark.parametrize("degrees", [2.0, 5.0, 30.0, math.inf])
@pytest.mark.parametrize("variance", [1e-6, 1e-5, 1e-4, 1e-3])
def test_an_estimate_lies_at_its_distance_where_the_evidence_reaches_the_bound(
    degrees: float, variance: float
) -> None:
    gap = HIGH - LOW
    for bound in (0.3, FAILS, 12.0):
        far = distance(gap, variance, degrees, bound)
        found = evidence(LOW + far, LOW, HIGH, variance, degrees)
        assert found == pytest.approx(bound, rel=1e-6)
        assert distance(gap, variance, degrees, 1.01 * bound) > far


def test_a_far_change_is_told_as_soon_as_chance_explains_it_no_longer() -> None:
    """However far it is: the evidence against the tolerance is all that counts."""
    for sd in (0.02, 0.05, 0.1):
        _, changed = RULE.edges(sd**2)
        assert (changed - LOW) / sd == pytest.approx(math.sqrt(2 * FAILS), abs=0.6)
        assert changed / sd >= math.sqrt(2 * UNCHANGED) - 1e-9


def test_levels_are_relative_to_the_base() -> None:
    halved = SequentialTest(0.02, 0.05, 0.01, 0.03, base=0.5)
    assert (halved.allowed, halved.caught) == pytest.approx((math.log(1.04), math.log(1.1)))
    assert (halved.tolerance, halved.detect) == (0.02, 0.05)


@pytest.mark.parametrize("degrees", [3.0, 12.0, math.inf])
@pytest.mark.parametrize("height", [1.0, 1 / 3])
@pytest.mark.parametrize("sd", [0.001, 0.003, 0.01, 0.05])
def test_edges_are_the_changes_of_which_all_evidence_is_at_its_bound(
    sd: float, height: float, degrees: float
) -> None:
    within, changed = RULE.edges(sd**2, degrees, height, doubt=1.5)
    half = (1.959964 if math.isinf(degrees) else stats.t.ppf(0.975, degrees)) * sd
    excess = [
        evidence(changed, LOW, HIGH, sd**2, degrees) / (height * FAILS) - 1,
        evidence(changed, 0.0, HIGH, sd**2, degrees) / (1.5 * UNCHANGED) - 1,
        (changed - half) / LOW - 1,
    ]
    assert min(excess) == pytest.approx(0.0, abs=1e-6)
    if within is None:
        assert evidence(0.0, HIGH, LOW, sd**2, degrees) < height * PASSES or half > HIGH
        return
    excess = [
        evidence(within, HIGH, LOW, sd**2, degrees) / (height * PASSES) - 1,
        HIGH / (within + half) - 1,
    ]
    assert min(excess) == pytest.approx(0.0, abs=1e-6)


def test_what_is_said_is_what_the_edges_say() -> None:
    for change, outcome in ((0.1, "regression"), (-0.1, "improvement"), (0.02, "within"),
                            (-0.02, "within"), (0.05, None)):  # fmt: skip
        assert Look(change, 1e-6, within=0.02, changed=0.1).said == outcome
    assert Look(0.0, 1e-6, changed=0.1).said is None


def test_two_levels_are_resolved_if_no_interval_holds_both_by_far() -> None:
    for degrees, reach in ((math.inf, 1.959964), (4.0, stats.t.ppf(0.975, 4))):
        sd = (HIGH - LOW) / 1.6 / reach
        assert RULE.resolves((0.999 * sd) ** 2, degrees)
        assert not RULE.resolves((1.001 * sd) ** 2, degrees)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((0.05, 0.05, 0.01, 0.03), r"`detect` \(0.05\) must be above `tolerance` \(0.05\), and"),
        ((-0.01, 0.05, 0.01, 0.03), r"`detect` \(0.05\) must be above `tolerance` \(-0.01\)"),
        ((0.02, math.inf, 0.01, 0.03), r"`detect` \(inf\)"),
        ((0.02, 0.05, 0.0, 0.03), "`alpha` is 0; choose an error rate from 0 to 0.5"),
        ((0.02, 0.05, 0.5, 0.03), "`alpha` is 0.5;"),
        ((0.02, 0.05, 0.01, 0.0), "`beta` is 0;"),
        ((0.02, 0.05, 0.01, 0.5), "`beta` is 0.5;"),
    ],
)
def test_levels_that_make_no_test(levels: tuple[float, ...], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        SequentialTest(*levels)


def test_levels_at_the_edge_make_one() -> None:
    assert SequentialTest(0.0, 1e-9, 0.4999, 1e-9).allowed == 0.0


def session(values: list[float], spread: Spread = SPREAD, most: int = 30) -> Look:
    return look_at_session(values, spread, RULE, most)


@pytest.mark.parametrize(("within_degrees", "worth"), [(72.0, 10.0), (4.0, 4.0), (0.0, 1.0)])
@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_a_look_at_a_session(within_degrees: float, worth: float, rho: float) -> None:
    """The baseline's variance of windows counts for as many values as it rests on, at most 10."""
    values = around(0.53, 0.005, 5)
    found = session(values, replace(SPREAD, within_degrees=within_degrees, rho=rho))
    s2 = (worth * 4e-5 + 4 * 25e-6) / (5 + worth - 1)
    g = 1 + 2 * sum((1 - k / 5) * rho**k for k in range(1, 5))
    variance = 1e-4 + s2 * g / 5
    assert found.change == pytest.approx(0.03)
    assert found.variance == pytest.approx(variance)
    assert (found.within, found.changed) == pytest.approx(RULE.edges(variance, doubt=8 / 6))
    assert (found.degrees, found.noise) == (math.inf, None)


def test_a_baseline_of_few_days_takes_more_to_say_that_anything_changed() -> None:
    """Where sessions differ much, the evidence of a change at all is what counts."""
    values = around(0.53, 0.005, 5)
    for degrees, doubt in ((4.0, 2.0), (22.0, 1.1)):
        found = session(values, replace(SPREAD, between=2.5e-3, degrees=degrees))
        _, plain = RULE.edges(found.variance)
        assert found.changed == pytest.approx(RULE.edges(found.variance, doubt=doubt)[1])
        assert found.changed > 1.01 * plain


def test_three_of_ten_windows_may_lie_far_out_and_four_may_not() -> None:
    three, four = [1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]
    assert session(7 * [0.5] + three, most=10).outcome != "invalid"
    assert session(6 * [0.5] + four, most=10).outcome == "invalid"


def test_two_windows_decide_nothing_however_clear() -> None:
    for count in (1, 2):
        found = session(count * [5.0])
        assert found.changed == math.inf
        assert found.variance == pytest.approx(1e-4 + 4e-5 * 10 / (count + 9) / count)
        assert (found.outcome, found.exhausted) == (None, False)
    assert session(3 * [5.0]).outcome == "regression"


def test_a_session_goes_on_until_more_windows_are_no_longer_worth_it() -> None:
    """What they could take off is a fifth (0.21) of what they cannot, or they are the most."""
    values = around(0.5 + math.log(1.035), 0.005, 6)
    s2 = (10 * 4e-5 + 6 * 25e-6) / 15
    for share, exhausted in ((0.212, False), (0.208, True)):
        found = session(values, replace(SPREAD, between=s2 / 6 / share))
        assert found.exhausted == exhausted
        assert found.outcome == ("inconclusive" if exhausted else None)
    last = session(values, replace(SPREAD, between=s2 / 6 / 0.212), most=6)
    assert (last.outcome, last.exhausted) == ("inconclusive", False)


def test_what_an_outlying_session_may_add_counts_on_the_side_of_a_change_alone() -> None:
    """That is above the middle of what is allowed and what must be caught."""
    s2 = (10 * 4e-5 + 6 * 25e-6) / 15
    between = s2 / 6 / 0.23
    middle = (LOW + HIGH) / 2
    for share, worth in ((0.9, True), (1.1, False)):
        for sign in (1, -1):
            values = around(0.5 + sign * share * middle, 0.005, 6)
            found = session(values, replace(SPREAD, between=between, tail=0.2 * between))
            assert found.exhausted != worth


def noisy(ratio: float, count: int, rho: float = 0.0) -> list[float]:
    """Windows whose variance, freed from their ties, is so many times the baseline's."""
    g = 1 + 2 * sum((1 - k / count) * rho**k for k in range(1, count))
    squares = ratio * 4e-5 * (count - g)
    return around(0.5, math.sqrt(squares / (count - count % 2)), count)


@pytest.mark.parametrize("rho", [0.0, 0.4])
@pytest.mark.parametrize("count", [6, 9, 12])
def test_the_own_noise_counts_of_a_session_noisier_than_the_baseline(
    rho: float, count: int
) -> None:
    """Beyond the 95 % quantile of F, with as many degrees as the tied values are worth."""
    share = (1 - rho) / (1 + rho)
    most = stats.f.ppf(0.95, share * (count - 1), share * 72)
    known = replace(SPREAD, rho=rho)

    below = session(noisy(0.99 * most, count, rho), known)
    above = session(noisy(1.01 * most, count, rho), known)

    assert below.variance < above.variance
    g = 1 + 2 * sum((1 - k / count) * rho**k for k in range(1, count))
    degrees = max(share * (count - 1), 2.5)
    own = 1.01 * most * 4e-5 * degrees / (degrees - 2) * g / count
    assert above.variance == pytest.approx(1e-4 + own)
    assert above.noise is None  # only beyond 99.9 % is it held against the session


@pytest.mark.parametrize("count", [6, 12])
def test_noise_beyond_chance_is_told_and_decides_nothing_before_the_tenth(count: int) -> None:
    """Beyond the 99.9 % quantile of F."""
    most = stats.f.ppf(0.999, count - 1, 72)
    wide = replace(SPREAD, between=1e-3)

    usual = session([value + 0.034 for value in noisy(0.99 * most, count)], wide)
    noisier = session([value + 0.034 for value in noisy(1.01 * most, count)], wide)

    assert usual.noise is None
    assert noisier.noise == pytest.approx(math.sqrt(1.01 * most * 4e-5))
    assert usual.outcome == noisier.outcome == ("inconclusive" if count >= 10 else None)


@pytest.mark.parametrize("count", [4, 9, 10, 12])
def test_windows_that_lie_far_out_again_and_again_are_no_evidence(count: int) -> None:
    """The baseline's windows vary by 0.63 %: 4 SD are 2.5 %."""
    found = session(around(0.5, 0.05, count))
    assert found.outcome == ("invalid" if count >= 10 else None)
    assert found.noise is not None
    assert found.noise > 0.04


def test_the_last_window_is_judged_even_before_the_tenth() -> None:
    assert session(around(0.5, 0.05, 4), most=4).outcome == "invalid"
    assert session(around(0.5, 0.05, 4), most=5).outcome is None


def test_an_outlier_counts_as_four_standard_deviations() -> None:
    near, far = (session([0.5, 0.5, 0.5, 0.5 + by]) for by in (4 * math.sqrt(4e-5), 1.0))
    assert far.change == pytest.approx(near.change)
    assert far.outcome == near.outcome == "within"
    alone = session([0.5, 0.5, 1.5])
    assert alone.outcome is None  # one of three may be no outlier


def test_what_an_outlying_session_may_be_is_left_open_where_pairs_follow() -> None:
    values = [0.5 + math.log(1.08)] * 4
    assert session(values).outcome == "regression"
    assert session(values, replace(SPREAD, tail=4e-4)).outcome != "regression"
    unmoved = session([0.5] * 4), session([0.5] * 4, replace(SPREAD, tail=4e-4))
    assert unmoved[0].within == unmoved[1].within


def test_a_noisy_session_that_is_still_open_is_not_judged() -> None:
    values = [value + math.log(1.035) for value in noisy(50.0, 6)]
    found = session(values, replace(SPREAD, between=1e-7))
    assert (found.outcome, found.noise) == (None, None)


def test_a_baseline_of_single_windows_holds_no_noise_against_a_session() -> None:
    found = session(noisy(50.0, 12), replace(SPREAD, within_degrees=0.0))
    assert found.outcome == "within"


def pairs(values: list[float], spread: Spread | None = SPREAD, most: int = 30) -> Look:
    return look_at_pairs(values, spread, RULE, most)


@pytest.mark.parametrize(("within_degrees", "worth"), [(72.0, 10.0), (4.0, 4.0), (0.0, 1.0)])
@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_a_look_at_pairs(within_degrees: float, worth: float, rho: float) -> None:
    """A difference of two windows varies twice, less what ties neighbours."""
    values = [0.041, 0.035, 0.029, 0.035]
    found = pairs(values, replace(SPREAD, within_degrees=within_degrees, rho=rho))
    single = (worth * 2 * 4e-5 * (1 - rho) + 2 * 36e-6) / (worth + 2)
    variance = single * (1 + rho * (1 - rho)) / 4 + 1e-6
    assert found.change == pytest.approx(0.035)
    assert (found.variance, found.degrees) == pytest.approx((variance, worth + 2))
    assert found.noise == pytest.approx(0.006)
    expected = RULE.edges(variance, worth + 2, doubt=(worth + 2) / worth)
    assert (found.within, found.changed) == pytest.approx(expected)


def alone(count: int, squares: float) -> float:
    """The variance of a mean of pairs by themselves: the worst of ties."""
    return squares / (count - 2) * 1.25 / count + 1e-6


def test_pairs_alone_take_four() -> None:
    for count in (1, 2, 3):
        found = pairs(around(5.0, 0.001, count), None)
        assert (found.outcome, found.changed, found.variance) == (None, math.inf, math.inf)
    found = pairs([0.045, 0.035, 0.025, 0.035], None)
    assert (found.variance, found.degrees) == pytest.approx((alone(4, 2e-4), 2))
    assert found.within is not None


def test_pairs_alone_take_six_if_the_first_four_vary_by_more_than_two_per_cent() -> None:
    for apart, count in ((0.0199, 4), (0.0201, 6)):
        values = [apart, 0.0, -apart, 0.0, 0.0, 0.0]  # an SD of `apart` about the orders' means
        decided = [pairs(values[:n], None).changed < math.inf for n in range(1, 7)]
        assert decided.index(True) == count - 1


def test_four_pairs_alone_fail_nothing_and_five_do_if_the_first_four_are_calm() -> None:
    """By five the bound of no change is the plain one; of others it rises as their tail does."""
    for apart, doubt in ((0.0049, 1.0), (0.0051, 3.0)):
        values = [0.2 + apart, 0.2, 0.2 - apart, 0.2, 0.2]
        squares = 2 * apart**2
        assert pairs(values[:4], None).outcome is None
        found = pairs(values, None)
        variance = squares / 3 * 1.25 * (1 / 3 + 1 / 2) / 4 + 1e-6
        assert found.variance == pytest.approx(variance)
        assert found.changed == pytest.approx(RULE.edges(variance, 3, doubt=doubt)[1])


@pytest.mark.parametrize(("renewed", "inflation"), [(False, 1.25), (True, 1.1)])
def test_what_is_known_of_other_windows_is_the_least_that_pairs_vary_by(
    renewed: bool, inflation: float
) -> None:
    known = 2 * 4e-5
    for apart in (0.001, 0.02):
        found = look_at_pairs([apart, 0.0, -apart, 0.0], SPREAD, RULE, 30, least=True,
                              renewed=renewed)  # fmt: skip
        assert found.variance == pytest.approx(max(known, apart**2) * inflation / 4 + 1e-6)
        assert found.degrees == 2
    assert look_at_pairs([0.0, 0.0, 0.0], SPREAD, RULE, 30, least=True).variance == math.inf


def test_what_the_order_does_is_taken_out() -> None:
    order = [0.05 * (-1) ** i for i in range(5)]
    for count in (4, 5):
        found = pairs(order[:count], None)
        assert found.change == pytest.approx(0.0, abs=1e-12)
        assert found.order == pytest.approx(0.05)
        assert found.outcome == "within"
    for count in (2, 3):  # too few to decide anything, and enough to show it
        assert pairs(order[:count], None).order == pytest.approx(0.05)


@pytest.mark.parametrize(("within_degrees", "worth"), [(72.0, 10.0), (0.0, 1.0)])
@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_pairs_noisier_than_the_baseline_explains_stand_alone(
    rho: float, within_degrees: float, worth: float
) -> None:
    count = 6
    most = stats.f.ppf(0.999, count - 2, max(within_degrees, 1) * (1 - rho) / (1 + rho))
    known = replace(SPREAD, rho=rho, within_degrees=within_degrees)
    for share in (0.99, 1.01):
        squares = share * most * 2 * 4e-5 * (1 - rho) * (count - 2)
        apart = math.sqrt(squares / 4)
        values = [0.035 + apart * sign for sign in (1, 1, -1, -1, 0, 0)]
        found = pairs(values, known)
        single = (worth * 2 * 4e-5 * (1 - rho) + squares) / (worth + 4)
        joined = single * (1 + rho * (1 - rho)) / 6 + 1e-6
        assert found.variance == pytest.approx(joined if share < 1 else alone(6, squares))


def test_a_first_pair_decides_nothing_and_neither_does_a_second() -> None:
    for count in (1, 2):
        found = pairs(count * [5.0])
        assert (found.outcome, found.noise, found.changed) == (None, None, math.inf)
        assert found.variance == pytest.approx(8e-5 / count + 1e-6)
    assert pairs(3 * [5.0]).outcome == "regression"
    assert pairs(3 * [-5.0]).outcome == "improvement"
    assert pairs(3 * [0.0]).outcome == "within"


def test_the_last_pair_is_decided_by_a_third_of_the_evidence_if_pairs_resolve_the_levels() -> None:
    reach = stats.t.ppf(0.975, 6)
    for halves, height in ((1.61, 1 / 3), (1.59, 1.0)):
        sd = (HIGH - LOW) / halves / reach
        squares = (sd**2 - 1e-6) * 8 / 1.25 * 6
        apart = math.sqrt(squares / 8)
        values = [0.03 + apart * sign for sign in (1, 1, -1, -1, 1, 1, -1, -1)]
        last, before = (pairs(values, None, most=most) for most in (8, 9))
        assert last.variance == pytest.approx(sd**2)
        doubt = 6 / 4
        expected = RULE.edges(sd**2, 6, height, doubt)
        assert (last.within, last.changed) == pytest.approx(expected)
        assert (before.within, before.changed) == pytest.approx(RULE.edges(sd**2, 6, 1.0, doubt))
        assert (last.outcome is None, before.outcome) == (False, None)


def test_a_run_shares_its_errors_between_its_tests() -> None:
    for tests, share in ((1, 0.01), (5, 0.002), (0, 0.01)):
        budget = ErrorBudget(tests)
        assert budget.taken("a") == pytest.approx(0.9 * share)  # before it checks
        taken = [budget.take("a") for _ in range(4)]
        assert taken == pytest.approx([s * share for s in (0.9, 0.05, 0.025, 0.0125)])
        assert budget.taken("a") == taken[-1]
        assert budget.take("b") == pytest.approx(0.9 * share)
    assert ErrorBudget().take("a") == pytest.approx(0.009)
    whole = ErrorBudget()
    assert sum(whole.take("a") for _ in range(50)) <= 0.01 + 1e-12
