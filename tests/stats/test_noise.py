"""What a baseline's sessions say of noise, by hand: the documented formulas on few figures."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import fmean, variance

import pytest

from pytest_energy.errors import EnergyError
from pytest_energy.stats.noise import PairStats, Pooled, Session, SessionStats, pool, spread
from pytest_energy.stats.steadiness import autocorrelation, halves, is_stationary


def at(
    log_mean: float,
    *,
    log_variance: float = 1e-4,
    count: int = 1,
    lag: float = 0.0,
    device: str | None = None,
) -> SessionStats:
    """A session whose logarithms have this mean and variance."""
    mean = math.exp(log_mean + log_variance / 2)
    return SessionStats(mean, math.sqrt(math.expm1(log_variance)), count, lag, device)


def inflation(count: int, rho: float) -> float:
    return 1 + 2 * sum((1 - k / count) * rho**k for k in range(1, count))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0], 0.0),  # too few to say
        ([5.0, 5.0, 5.0, 5.0], 0.0),
        ([1.0, 2.0, 3.0, 4.0], (0.75 - 0.25 + 0.75) / 5),
        ([1.0, -1.0, 1.0, -1.0], -0.75),
    ],
)
def test_lag_one_autocorrelation(values: list[float], expected: float) -> None:
    assert autocorrelation(values) == pytest.approx(expected)


def test_halves_are_compared_on_the_log_scale_in_both_directions() -> None:
    for up in (1.0, -1.0):
        values = [1.0, 1.0, math.exp(0.02 * up), math.exp(0.02 * up)]
        assert tuple(halves(values)) == pytest.approx((0.02 * up, 0.0))
    assert halves([1.0, 9.0, 2.0]).off == pytest.approx(math.log(5.5))  # the middle is the second's
    assert tuple(halves([2.0, 2.0])) == (0.0, 0.0)


def test_halves_differ_by_more_than_chance_in_one_of_twenty_if_nothing_moves() -> None:
    chance = random.Random(1)
    for cv in (0.003, 0.03):
        found = [halves([chance.gauss(1, cv) for _ in range(10)]) for _ in range(4000)]
        beyond = sum(abs(each.off) > each.by_chance for each in found)
        assert beyond / len(found) == pytest.approx(0.05, abs=0.01)
    rising = halves([1 + 0.009 * number for number in range(10)])
    assert rising.off > rising.by_chance > 0.015


@pytest.mark.parametrize(
    ("steps", "steady"),
    [
        ([0.0099], True),
        ([0.0101], False),
        ([-0.0099], True),
        ([-0.0101], False),
        ([0.006, 0.005], False),  # together more than 1 %
        ([0.004, 0.005], True),
        ([-0.006, -0.005], False),
        ([0.0, 0.009], True),
        ([0.0, 0.011], False),  # one step is no turn
        ([0.5, 0.0], False),
        ([0.5, -1e-6], True),  # it turned back
        ([-0.5, 0.3], True),
        ([0.5, 0.004, 0.005], True),  # the last three windows count
        ([-0.5, 0.006, 0.005], False),
    ],
)
def test_windows_are_steady_if_they_do_not_climb(steps: list[float], steady: bool) -> None:
    logs = [0.0]
    for step in steps:
        logs.append(logs[-1] + step)
    assert is_stationary([5 * math.exp(log) for log in logs]) == steady


def test_sessions_on_the_log_scale() -> None:
    """A lognormal's mean and variation are those of its logarithms, and back."""
    session = SessionStats(5.0, 0.3, 10)
    assert session.log_variance == pytest.approx(math.log(1.09))
    assert session.log_mean == pytest.approx(math.log(5.0) - math.log(1.09) / 2)
    pairs = PairStats(0.25, 0.3, 10)
    assert (pairs.log_mean, pairs.log_variance) == pytest.approx((math.log(0.75), 0.09))


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SessionStats, (1.0, math.nan, 10), "`cv` is nan, but must be 0 or more; record the"),
        (SessionStats, (1.0, math.inf, 10), "`cv` is inf"),
        (SessionStats, (math.inf, 0.1, 10), "`mean` is inf, but must be positive and finite; rec"),
        (SessionStats, (1.0, 0.1, 0), "a session of 0 windows says nothing; record at least one"),
        (SessionStats, (1.0, 0.1, 9, -1.1), "`autocorrelation` is -1.1, but lies between -1 and"),
        (PairStats, (-math.inf, 0.1, 10), "`mean` is -inf, but a saved fraction is below 1; rec"),
    ],
)
def test_impossible_sessions(
    kind: type[Session], arguments: tuple[float, ...], message: str
) -> None:
    with pytest.raises(EnergyError, match=message):
        kind(*arguments)  # type: ignore[arg-type]


def test_sessions_at_the_edge_are_possible() -> None:
    for lag in (-1.0, 1.0):
        assert SessionStats(1.0, 0.0, 1, lag).log_variance == 0.0
    assert PairStats(0.0, 0.0, 1).log_mean == 0.0


@pytest.mark.parametrize("count", [2, 4])
def test_the_autocorrelation_of_few_windows_is_assumed(count: int) -> None:
    """0.5, whatever was measured: fewer than 5 windows say nothing about it."""
    g = inflation(count, 0.5)
    found = spread([at(0.3, log_variance=4e-4, count=count, lag=0.9)])
    assert found.rho == 0.5
    assert found.within_degrees == count - 1
    assert found.sw2 == pytest.approx(4e-4 * (count - 1) / (count - g))
    assert found.noise == pytest.approx(found.sw2 * g / count)


@pytest.mark.parametrize(
    ("lags", "rho"),
    [
        # Freed from its bias, and weighted by windows: (r + 1/n) / (1 - 3/n).
        ([(10, 0.2)], 3 / 7),
        ([(5, 0.0)], 0.5),
        ([(10, 0.2), (5, 0.0), (4, 0.9)], (10 * 3 / 7 + 5 * 0.5) / 15),
        ([(10, -0.5)], 0.0),
        ([(10, 0.9)], 0.9),
        ([(10, 0.9), (10, -0.5)], (10 / 7 - 4 / 7) / 2),
    ],
)
def test_autocorrelation_is_that_of_the_sessions(lags: list[tuple[int, float]], rho: float) -> None:
    assert spread([at(0.0, count=n, lag=r) for n, r in lags]).rho == pytest.approx(rho)


def test_the_variance_of_windows_is_pooled_over_sessions() -> None:
    rho = 3 / 7
    first = at(0.0, log_variance=1e-4, count=10, lag=0.2)
    second = at(0.0, log_variance=9e-4, count=20, lag=(rho * 17 - 1) / 20)
    found = spread([first, second])
    squares = 9 * 1e-4 + 19 * 9e-4
    assert found.rho == pytest.approx(rho)
    assert found.within_degrees == 28
    assert found.sw2 == pytest.approx(squares / (30 - inflation(10, rho) - inflation(20, rho)))
    each = [found.sw2 * inflation(n, rho) / n for n in (10, 20)]
    assert found.noise == pytest.approx(fmean(each))


def test_windows_vary_by_a_tenth_of_a_percent_at_least() -> None:
    assert spread(8 * [SessionStats(1.0, 0.0, 10)]).sw2 == pytest.approx(1e-6)
    assert spread(8 * [SessionStats(1.0, 0.0011, 10)]).sw2 > 1.2e-6


def test_single_windows_vary_by_what_is_assumed_or_known_of_others() -> None:
    assert spread([at(0.0)]).sw2 == pytest.approx(0.02**2)
    assert spread([at(0.0)], pooled=Pooled(1e-4)).sw2 == pytest.approx(0.02**2)
    assert spread([at(0.0)], pooled=Pooled(1e-4, sw2=9e-4)).sw2 == pytest.approx(9e-4)
    assert spread([at(0.0)], pooled=Pooled(1e-4, sw2=1e-9)).sw2 == pytest.approx(1e-6)
    # What the sessions know themselves goes before it.
    own = spread([at(0.0, count=10)], pooled=Pooled(1e-4, sw2=9.0))
    assert own.sw2 < 2e-4
    assert spread([at(0.0)]).within_degrees == 0


LEVELS = [0.00, 0.03, 0.06, 0.01, 0.05]


def test_sessions_of_one_device_spread_about_their_mean() -> None:
    """Single windows with a variance of 0.02² leave it all in the means."""
    found = spread([at(level) for level in LEVELS])
    raw = variance(LEVELS)
    assert found.centre == pytest.approx(fmean(LEVELS))
    assert found.degrees == 4
    assert found.tau2 == pytest.approx(raw - 1e-6)  # what windows leave, the least there is
    assert not found.assumed
    assert found.sessions == 5
    assert found.between == pytest.approx(2 * (found.tau2 + found.noise) * 1.2 - found.noise)


def test_a_spread_below_that_of_the_windows_is_none() -> None:
    found = spread([at(level / 100, log_variance=0.01, count=10) for level in LEVELS])
    assert found.tau2 == 0.0
    assert found.between == pytest.approx(found.noise * (2 * 1.2 - 1))


def test_few_degrees_are_topped_up_with_what_is_assumed() -> None:
    one, three = spread([at(0.0)]), spread([at(0.0), at(0.1), at(0.2)])
    assert (one.degrees, one.assumed) == (3, True)
    assert one.tau2 == pytest.approx(1e-4)
    assert one.between == pytest.approx(3 * (1e-4 + 4e-4) * 2 - 4e-4)
    assert (three.degrees, three.assumed) == (4, True)
    assert three.tau2 == pytest.approx((2 * (0.01 - 1e-6) + 2 * 1e-4) / 4)


def test_what_is_pooled_joins_by_its_degrees() -> None:
    found = spread([at(0.0), at(0.1), at(0.2)], pooled=Pooled(0.04, 6.0))
    assert found.degrees == 8
    assert found.tau2 == pytest.approx((2 * (0.01 - 1e-6) + 6 * 0.04) / 8)
    assert not found.assumed
    short = spread([at(0.0)], pooled=Pooled(0.04, 2.0))
    assert (short.degrees, short.assumed) == (4, True)
    assert short.tau2 == pytest.approx((2 * 0.04 + 2 * 1e-4) / 4)


def test_the_spread_is_that_within_devices() -> None:
    """Devices differ by far more, and one of a single session says nothing."""
    groups = {"A": [0.00, 0.02, 0.04], "B": [1.00, 1.06], "C": [2.0]}
    sessions = [at(x, device=name) for name, levels in groups.items() for x in levels]
    raw = (2 * variance(groups["A"]) + variance(groups["B"])) / 3
    tau2 = (3 * (raw - 1e-6) + 1e-4) / 4

    own = spread(sessions, device="B")
    assert own.device_known
    assert (own.sessions, own.degrees, own.assumed) == (2, 4, True)
    assert own.centre == pytest.approx(1.03)
    assert own.tau2 == pytest.approx(tau2)
    assert own.between == pytest.approx(2 * (tau2 + own.noise) * 1.5 - own.noise)


def test_windows_of_a_device_with_one_session_say_nothing_of_the_others_means() -> None:
    """Two single windows carry all the variance of a window, whatever a third session averages."""
    long = at(0.0, log_variance=4e-4, count=20, lag=-1 / 20, device="C")
    found = spread([at(0.0, device="A"), at(0.1, device="A"), long], device="A")
    assert found.sw2 == pytest.approx(4e-4)
    assert found.tau2 == pytest.approx((0.005 - 4e-4 + 3 * 1e-4) / 4)


def test_a_device_of_its_own_is_compared_with_the_mean_of_devices() -> None:
    """Three devices leave two degrees, which an assumed 3 % tops up to four."""
    groups = {"A": [0.00, 0.02, 0.04], "B": [1.00, 1.06], "C": [2.0]}
    sessions = [at(x, device=name) for name, levels in groups.items() for x in levels]
    known = spread(sessions, device="B")
    own = known.tau2 + known.noise

    new = spread(sessions, device="D")

    means = [fmean(levels) for levels in groups.values()]
    share = fmean([1 / 3, 1 / 2, 1.0])
    devices2 = (2 * (variance(means) - own * share) + 2 * 0.03**2) / 4
    assert (new.device_known, new.sessions, new.assumed) == (False, 6, True)
    assert new.centre == pytest.approx(fmean(means))
    sessions_term = 2 * own * (1 + share / 3) - new.noise
    assert new.between == pytest.approx(sessions_term + 2 * devices2 * (1 + 1 / 3))


def test_devices_that_differ_no_more_than_sessions_add_what_is_assumed_alone() -> None:
    sessions = [at(x, device=name) for name in "AB" for x in (0.0, 0.1, 0.2, 0.3)]
    new = spread(sessions, device="new")
    devices2 = (1 * 0.0 + 3 * 0.03**2) / 4
    own = new.tau2 + new.noise
    expected = 6 / 4 * own * (1 + 1 / 8) - new.noise + 2 * devices2 * (1 + 1 / 2)
    assert new.between == pytest.approx(expected)
    assert new.assumed


def test_from_five_devices_on_nothing_is_assumed() -> None:
    def beside(names: str) -> bool:
        sessions = [at(x, device=name) for name in names for x in (0.0, 0.1, 0.2)]
        return spread(sessions, device="new").assumed

    assert beside("ABCD")
    assert not beside("ABCDE")


@pytest.mark.parametrize(
    ("labels", "device", "known"),
    [
        ((None, None), "new", True),  # nothing says that it is another
        (("A", "A"), None, True),
        (("A", "B"), None, False),
        (("A", None), "new", False),
        (("A", None), "A", True),
        (("A", "A"), "new", False),
    ],
)
def test_which_sessions_are_of_this_device(
    labels: tuple[str | None, ...], device: str | None, known: bool
) -> None:
    assert spread([at(0.0, device=name) for name in labels], device=device).device_known == known


def test_more_sessions_narrow_what_a_new_one_is_compared_with() -> None:
    found = spread([at(level) for level in LEVELS])
    own = found.tau2 + found.noise
    assert found.between_with(0) == pytest.approx(found.between)
    assert found.between_with(5) == pytest.approx(9 / 7 * own * 1.1 - found.noise)
    one = spread([at(0.0)])
    assert one.between_with(0) == pytest.approx(2 * 5e-4 * 2 - 4e-4)  # of four degrees at least


def test_a_pool_joins_entries_by_their_degrees() -> None:
    entries = [
        [at(0.0), at(0.2)],
        [at(1.0), at(1.1), at(1.2)],
        [],
        [at(5.0, log_variance=4e-4, count=4)],
    ]
    found = pool(entries)
    assert found is not None
    assert found.degrees == 3
    assert found.tau2 == pytest.approx((0.02 - 1e-6 + 2 * (0.01 - 1e-6)) / 3)
    assert found.sw2 == pytest.approx(4e-4 * 3 / (4 - inflation(4, 0.5)))


def test_a_pool_of_windows_weighs_them_by_their_degrees() -> None:
    entries = [2 * [at(0.0, log_variance=1e-4, count=3)], 2 * [at(0.0, log_variance=9e-4, count=4)]]
    found = pool(entries)
    first = 1e-4 * 4 / (6 - 2 * inflation(3, 0.5))
    second = 9e-4 * 6 / (8 - 2 * inflation(4, 0.5))
    assert found is not None
    assert found.sw2 == pytest.approx((4 * first + 6 * second) / 10)
    assert found.tau2 == 0.0


def test_a_pool_of_single_windows_says_nothing_of_windows() -> None:
    found = pool([[at(0.0), at(0.2)]])
    assert found is not None
    assert found.sw2 is None
    assert pool([5 * [at(0.0)], 6 * [at(0.0)]]) == Pooled(0.0, 8.0, None)


def test_a_session_far_out_is_granted_more_only_where_pairs_can_settle_it() -> None:
    """1.6 %, beside what sessions differ by."""
    sessions = [at(level) for level in LEVELS]
    settled = spread(sessions, settled=True)
    assert settled.tail == pytest.approx(0.016**2)
    assert spread(sessions) == replace(settled, tail=0.0)
