"""Windows of even work on one card, by the meter that tests are metered with."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from statistics import fmean, median, stdev
from typing import Final

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.metering import Window, window
from pytest_energy.meters import Meter
from pytest_energy.meters.nvml import NvmlMeter
from pytest_energy.meters.nvml.card import Card
from pytest_energy.meters.sensors import Qualified
from pytest_energy.qualify import EvenWindow, EvenWork, Figure, Load

PASS_SECONDS: Final = 0.5
PAIRS: Final = 10
APART_SECONDS: Final = 0.3
LEAST_VALID: Final = 4
"""Windows of each length that have to be valid."""


def even_work(card: Card, load: Load, taken: Qualified) -> EvenWork:
    """Windows of one and of two passes in turn, metered as those of tests will be."""
    found: list[tuple[Window, float]] = []
    with closing(NvmlMeter({card.device.uuid or "": taken})) as meter:
        for number in range(2 * PAIRS):
            real_time.sleep(APART_SECONDS)
            found.append(_window(meter, load, PASS_SECONDS * (1 + number % 2)))
    counted = [w for w, _ in found if _tells(w)]
    valid = [[w for w, _ in found[first::2] if _tells(w)] for first in (0, 1)]
    if min(map(len, valid)) < LEAST_VALID:
        reasons = [window.invalid_reason for window, _ in found if window.invalid_reason]
        raise EnergyError(f"too many windows of even work were invalid: {reasons[-1]}; mend that")
    ones, twos = valid
    means = [fmean(window.mean_watts for window in each) for each in valid]
    watts = [w.mean_watts / means[i % 2] for i, (w, _) in enumerate(found) if _tells(w)]
    cv, deviations = stdev(watts), [each - 1 for each in watts]
    alike = sum(a * b for a, b in pairwise(deviations)) / sum(d * d for d in deviations)
    return EvenWork(
        windows=len(watts),
        invalid=len(found) - len(watts),
        cv=cv,
        autocorrelation=alike,
        intercept_joules=_intercept(ones, twos),
        doubt_joules=max(median(w.uncertainty_joules for w in each) for each in valid),
        cpu_seconds=median(seconds for _, seconds in found),
        each=tuple(EvenWindow(w.seconds, w.joules, w.uncertainty_joules) for w in counted),
    )


def _tells(window: Window) -> bool:
    """Whether a window's joules are right within what it states."""
    return window.valid or window.is_too_short


def _window(meter: Meter, load: Load, seconds: float) -> tuple[Window, float]:
    """A window of work for so long, and the CPU time that metering it took here (s)."""
    clock = real_time.thread_seconds
    began = clock()
    with window(meter, "qualify", _already_in_step) as opened:
        spent = clock() - began
        load.on()
        try:
            real_time.sleep(seconds)
        finally:
            load.off()
        ended = clock()
    return opened.record, spent + clock() - ended


def _already_in_step() -> None:
    """The load waits for its card by itself."""


def _intercept(ones: list[Window], twos: list[Window]) -> Figure:
    """What a window has beside its work's power times its length (J), as if there were two lines.

    With lengths that are exactly one and two passes this is 2 J1 - J2.
    """
    (j1, s1, d1), (j2, s2, d2) = (_mean(each) for each in (ones, twos))
    share = s1 / (s2 - s1)
    doubt = 2 * ((d1 * (1 + share)) ** 2 + (d2 * share) ** 2) ** 0.5
    return Figure(j1 - (j2 - j1) * share, doubt)


def _mean(windows: list[Window]) -> tuple[float, float, float]:
    """Mean joules, mean seconds, and the standard error of the joules."""
    joules = [window.joules for window in windows]
    return fmean(joules), fmean(w.seconds for w in windows), stdev(joules) / len(joules) ** 0.5
