"""A qualification as rows for a person, and as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import log, sqrt
from statistics import fmean
from typing import Any, Final, NamedTuple

from pytest_energy.meters.nvml.part_time import WIDEST_SHARE, Load, Swing, lock_joules
from pytest_energy.qualify import SCHEMA, Figure, Qualification, Source
from pytest_energy.stats.distributions import variance_inflation

WINDOW_SECONDS: Final = 10.0
"""Steps that keep step with the sensor are told for windows of this length."""
COMPARED: Final = 10
"""Windows a side of a comparison."""
MOST_RANGES: Final = 6
FINEST_MS, COARSE_MS = 0.001, 0.01
CLOSE: Final = 0.03
"""Ranges of steps that are no further apart than this share are shown as one."""
SHORTEST_STEP, LONGEST_STEP = 0.005, 0.5
FINER: Final = 1.002
FEEDS: Final = {
    "sensor": "fed by the sensor",
    "true power": "fed by the true power",
    "unknown": "cannot be told",
    "no counter": "no counter",
}


class Row(NamedTuple):
    """A quantity, its value, and what follows from it."""

    quantity: str
    value: str
    follows: str = ""


def rows(found: Qualification) -> list[Row]:
    """What was found, and what follows from it."""
    return [*_sources(found), *_power(found), *_windows(found)]


def _sources(found: Qualification) -> Iterator[Row]:
    for name, source, call in (
        ("counter", found.counter, found.energy_call_seconds),
        ("power reading", found.readings, found.power_call_seconds),
    ):
        if call is not None:
            yield Row(f"call of the {name}", f"{1000 * call:.3g} ms")
        if source is not None:
            period, jitter = _ms(source.period_seconds), 1000 * source.jitter_seconds
            when = "it jitters" if source.is_even else "it is renewed when asked for, and jitters"
            yield Row(f"{name}: period", period, f"{when} by {jitter:.2g} ms (SD)")
            yield Row(f"{name}: window", _ms(source.window_seconds), _looks(source))
            yield Row(f"{name}: lag", _ms(source.lag_seconds))
    if found.quantum_joules is not None:
        yield Row("counter: quantum", f"{found.quantum_joules:g} J")
    if found.counter_to_readings is not None:
        off = 100 * (found.counter_to_readings - 1)
        yield Row("counter to readings", f"{off:+.2f} %", "of the same even work")
    yield Row("counter: feed", FEEDS[found.feed], _consequence(found))


def _looks(source: Source) -> str:
    if source.sees_all:
        return "it looks at each moment once"
    share = 100 * source.window_seconds / source.period_seconds
    return f"it looks {share:.0f} % of the time" if source.is_part else ""


def _consequence(found: Qualification) -> str:
    """What joules of a window have for it."""
    if found.feed == "no counter":
        return "windows are made of the power readings"
    if found.sees_all:
        return "joules miss nothing, however the power swings"
    is_part = found.counter is not None and found.counter.is_part
    return "joules are off by what the looks missed" if is_part else ""


def _power(found: Qualification) -> Iterator[Row]:
    yield Row("power", f"{found.idle_watts:.1f} W idle, {found.loaded_watts:.1f} W loaded")
    after = found.fall_seconds * (found.loaded_watts - found.idle_watts)
    rise, fall = 1000 * found.rise_seconds, 1000 * found.fall_seconds
    follows = f"{after:.1f} J are drawn after full load has ended"
    yield Row("power: rise, fall", f"{rise:.3g} ms, {fall:.3g} ms", follows)
    beat = max(found.beats, key=lambda each: each.seen - each.if_all_seen)
    told = f"{100 * beat.if_all_seen:.0f} % if all were seen"
    follows = f"at steps of {1000 * beat.step_seconds:.0f} ms; {told}"
    yield Row("scatter of a square load", f"{100 * beat.seen:.0f} % of its swing", follows)


def _windows(found: Qualification) -> Iterator[Row]:
    even = found.even_work
    invalid = f", {even.invalid} invalid" if even.invalid else ""
    yield Row(
        f"windows of even work: {even.windows}{invalid}",
        f"CV {100 * even.cv:.2g} %, autocorrelation {even.autocorrelation:+.2f}",
        f"{COMPARED} a side tell apart {100 * told_apart(found):.2g} %",
    )
    whole = even.doubt_joules / found.loaded_watts  # s under full load that are all in doubt
    shortest = ", ".join(f"{100 * whole / p:.2g} s for {p} %" for p in (1, 5))
    yield Row("a window may be off by", f"{even.doubt_joules:.3g} J", f"shortest: {shortest}")
    intercept = even.intercept_joules
    yield Row(
        "2 J1 - J2",
        f"{intercept:.2g} ± {intercept.doubt:.2g} J",
        "joules that do not grow with the work",
    )
    yield Row("metering a window", f"{1000 * even.cpu_seconds:.2g} ms of CPU time")
    if found.feed in ("sensor", "no counter"):
        ranges = locked_steps(found)
        told = f"windows of {WINDOW_SECONDS:g} s would be no evidence" if ranges else ""
        yield Row("steps to keep away from", _ranges(ranges), told)


def told_apart(found: Qualification, windows: int = COMPARED) -> float:
    """The change (a share) that so many windows of even work a side tell from none, about."""
    even = found.even_work
    inflation = variance_inflation(windows, min(0.9, max(0.0, even.autocorrelation)))
    return 2 * even.cv * sqrt(2 / windows * inflation)


def locked_steps(found: Qualification) -> list[tuple[float, float]]:
    """Lengths of steps (s, from and to) that may keep step with what joules are made of."""
    return lock_prone(found.counter or found.readings, found.idle_watts, found.loaded_watts)


def lock_shares(source: Source | None, idle: float, loaded: float) -> list[tuple[float, float]]:
    """Lengths of steps (s), and the share that a window's joules may be off for keeping step.

    The steps swing between both powers (W), evenly; none for a source that looks all the time.
    """
    if source is None or not source.is_part:
        return []
    load, swing = Load(fmean((idle, loaded)), idle, WINDOW_SECONDS), Swing(loaded - idle)
    steps = int(log(LONGEST_STEP / SHORTEST_STEP) / log(FINER))
    found = [SHORTEST_STEP * FINER**i for i in range(1 + steps)]
    joules = load.mean_watts * load.seconds
    return [(each, lock_joules(source.sensor, load, each, swing) / joules) for each in found]


def lock_prone(source: Source | None, idle: float, loaded: float) -> list[tuple[float, float]]:
    """Lengths of steps (s, from and to) of which a window is no evidence.

    The steps swing between both powers (W), evenly.
    """
    ranges: list[tuple[float, float]] = []
    for step, share in lock_shares(source, idle, loaded):
        if share <= WIDEST_SHARE:
            continue
        if ranges and step <= (1 + CLOSE) * ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], step)
        else:
            ranges.append((step, step))
    return ranges


def _ranges(ranges: Sequence[tuple[float, float]]) -> str:
    """The widest as shares of themselves, from the shortest on."""
    widest = sorted(ranges, key=lambda each: each[0] / each[1])[:MOST_RANGES]
    told = ", ".join(f"{1000 * low:.4g} to {1000 * high:.4g}" for low, high in sorted(widest))
    more = f" ms, and {len(ranges) - len(widest)} more" if len(ranges) > len(widest) else " ms"
    return told + more if told else "none"


def _ms(figure: Figure) -> str:
    doubt = max(1000 * figure.doubt, FINEST_MS)
    value = round(1000 * figure, 3 if doubt < COARSE_MS else 1) + 0.0  # and no -0.0
    return f"{value:.6g} ± {doubt:.2g} ms"


def document(found: Qualification) -> dict[str, Any]:
    """The same as an object of JSON; a number that is in doubt has `value` and `doubt`."""
    steps = [list(each) for each in locked_steps(found)]
    return {"schema": SCHEMA, **plain(asdict(found)), "locked_steps": steps}


def plain(value: Any) -> Any:
    """A value as JSON has it; a number that is in doubt as `value` and `doubt`."""
    if isinstance(value, Figure):
        return {"value": float(value), "doubt": value.doubt}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
