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
    look_at_pairs,
    look_at_session,
)

RULE = SequentialTest(0.02, 0.05, alpha=0.01, beta=0.03)
LOW, HIGH = math.log(1.02), math.log(1.05)
FAILS, PASSES = math.log(0.97 / 0.01), -math.log(0.99 / 0.03)

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


def evidence(change: float, variance: float) -> float:
    """The log of how much likelier the change is at `detect` than at `tolerance`."""
    at = [stats.norm.logpdf(abs(change), level, math.sqrt(variance)) for level in (HIGH, LOW)]
    return float(at[0] - at[1])


def test_the_evidence_is_a_log_likelihood_ratio_in_either_direction() -> None:
    for change in (0.0, 0.03, 0.06):
        for sign in (1, -1):
            expected = evidence(change, 3e-4)
            assert RULE.evidence(sign * change, 3e-4) == pytest.approx(expected)


def test_levels_are_relative_to_the_base() -> None:
    halved = SequentialTest(0.02, 0.05, 0.01, 0.03, base=0.5)
    assert (halved.allowed, halved.caught) == pytest.approx((math.log(1.04), math.log(1.1)))
    assert (halved.tolerance, halved.detect) == (0.02, 0.05)


def test_an_outcome_takes_evidence_at_a_bound() -> None:
    for height in (1.0, 0.5):
        assert RULE.decide(0.1, height * FAILS + 1e-9, height) == "regression"
        assert RULE.decide(-0.1, height * FAILS + 1e-9, height) == "improvement"
        assert RULE.decide(0.1, height * FAILS - 1e-9, height) is None
        assert RULE.decide(0.1, height * PASSES + 1e-9, height) is None
        assert RULE.decide(0.1, height * PASSES - 1e-9, height) == "within"
    assert RULE.decide(0.1, RULE.fails_at) == "regression"
    assert RULE.decide(0.1, RULE.passes_at) == "within"


@pytest.mark.parametrize("height", [1.0, 1 / 3])
def test_edges_are_the_changes_of_which_the_evidence_is_at_a_bound(height: float) -> None:
    within, changed = RULE.edges(1e-5, height)
    assert within is not None
    assert evidence(within, 1e-5) == pytest.approx(height * PASSES)
    assert evidence(changed, 1e-5) == pytest.approx(height * FAILS)
    never, far = RULE.edges(1e-2)
    assert never is None
    assert evidence(far, 1e-2) == pytest.approx(FAILS)
    # A bound right at no change is one.
    scale = RULE.caught - RULE.allowed
    exact = (RULE.allowed + RULE.caught) / 2 / -RULE.passes_at * scale
    assert RULE.edges(exact * (1 - 1e-9))[0] == pytest.approx(0.0, abs=1e-9)


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
    assert found.evidence == pytest.approx(evidence(0.03, variance))
    assert (found.height, found.noise) == (1.0, None)


def test_two_windows_decide_nothing_however_clear() -> None:
    for count in (1, 2):
        found = session(count * [5.0])
        assert found.evidence > FAILS
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
    assert unmoved[0].evidence == unmoved[1].evidence


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
    values = around(0.035, 0.005, 4)
    found = pairs(values, replace(SPREAD, within_degrees=within_degrees, rho=rho))
    single = (worth * 2 * 4e-5 * (1 - rho) + 4 * 25e-6) / (4 + worth - 1)
    variance = single * (1 + rho * (1 - rho)) / 4 + 1e-6
    assert found.change == pytest.approx(0.035)
    assert found.variance == pytest.approx(variance)
    assert found.evidence == pytest.approx(evidence(0.035, variance))
    assert found.noise == pytest.approx(math.sqrt(4 * 25e-6 / 3))
    assert (found.outcome, found.exhausted, found.height) == (None, False, 1.0)


def alone(count: int, squares: float) -> float:
    """The variance of a mean of pairs by themselves: the tails of few, the worst of ties."""
    degrees = count - 1
    return squares / degrees * degrees / (degrees - 2) * 1.25 / count + 1e-6


def test_pairs_alone_take_four() -> None:
    for count in (1, 2, 3):
        found = pairs(around(5.0, 0.001, count), None)
        assert (found.outcome, found.evidence, found.variance) == (None, 0.0, math.inf)
    found = pairs(around(0.035, 0.01, 4), None)
    assert found.variance == pytest.approx(alone(4, 4e-4))
    assert found.evidence == pytest.approx(evidence(0.035, found.variance))


@pytest.mark.parametrize("rho", [0.0, 0.4])
def test_pairs_noisier_than_the_baseline_explains_stand_alone(rho: float) -> None:
    count = 6
    most = stats.f.ppf(0.999, count - 1, 72 * (1 - rho) / (1 + rho))
    known = replace(SPREAD, rho=rho)
    for share in (0.99, 1.01):
        squares = share * most * 2 * 4e-5 * (1 - rho) * (count - 1)
        found = pairs(around(0.035, math.sqrt(squares / count), count), known)
        single = (10 * 2 * 4e-5 * (1 - rho) + squares) / 15 * (1 + rho * (1 - rho)) / 6 + 1e-6
        assert found.variance == pytest.approx(single if share < 1 else alone(6, squares))


def test_pairs_are_compared_with_a_baseline_of_single_windows_as_with_one_value() -> None:
    most = stats.f.ppf(0.999, 1, 1)
    known = replace(SPREAD, within_degrees=0.0)
    for share, alone_ in ((0.99, False), (1.01, True)):
        half = math.sqrt(share * most * 2 * 4e-5 / 2)
        assert (pairs([half, -half], known).variance == math.inf) == alone_


def test_a_first_pair_decides_nothing_and_neither_does_a_second() -> None:
    for count in (1, 2):
        found = pairs(count * [5.0])
        assert found.evidence > FAILS
        assert found.variance == pytest.approx(8e-5 * 10 / (count + 9) / count + 1e-6)
        assert (found.outcome, found.noise) == (None, None)
    assert pairs(3 * [5.0]).outcome == "regression"
    assert pairs(3 * [-5.0]).outcome == "improvement"
    assert pairs(3 * [0.0]).outcome == "within"


def test_the_last_pair_is_decided_by_a_third_of_the_evidence_if_pairs_resolve_the_levels() -> None:
    """They do if the levels are four standard deviations of the mean apart."""
    for sds, height in ((4.01, 1 / 3), (3.99, 1.0)):
        sd = (HIGH - LOW) / sds
        squares = (sd**2 - 1e-6) * 6 / 1.25 * 3
        values = around(0.0, math.sqrt(squares / 6), 6)
        middle = (LOW + HIGH) / 2
        near = middle + 0.5 * FAILS * sd**2 / (HIGH - LOW)
        last = pairs([near + value for value in values], None, most=6)
        assert last.height == pytest.approx(height)
        assert last.variance == pytest.approx(sd**2)
        assert last.outcome == ("regression" if height < 1 else "inconclusive")
        before = pairs([near + value for value in values], None, most=7)
        assert (before.height, before.outcome) == (1.0, None)


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
