"""Windows whose joules and times are given: what is counted, what is doubted, what is refused."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.metering import OpenWindow, TwoReadings, Window, begin_span, first_fault, window
from pytest_energy.meters import Conditions, Device, Method, Reading
from pytest_energy.meters.protocol import LATENCY_SECONDS, Measured, Unseen

LONG_AGO = 1000.0
"""Seconds before now that a meter's dates lie: however slow a test runs, it changes little."""


@dataclass
class DatedMeter:
    """Readings in order, each with the time and joules that the test says."""

    readings: Iterator[tuple[float, dict[str, float]]]
    faults: tuple[str, ...] = ()
    name: str = "dated"
    method: Method = "counter"
    devices: tuple[Device, ...] = (Device("gpu:0", "card", "GPU-0"),)
    update_period_seconds: float = 0.0
    resolution_joules: float = 0.0
    notes: Mapping[str, float] = field(default_factory=dict)

    def read(self) -> Reading:
        return Reading(*next(self.readings))

    def conditions(self) -> Conditions:
        return Conditions(self.faults, self.notes)

    def close(self) -> None:
        """Nothing to release."""


def dated(*readings: tuple[float, dict[str, float]], **settings: Any) -> DatedMeter:
    """A meter whose first reading, which a window throws away, shows other joules."""
    thrown_away = (readings[0][0], dict.fromkeys(readings[0][1], 7777.0))
    return DatedMeter(iter([thrown_away, *readings]), **settings)


@dataclass
class GivenSpan:
    """A meter's own window, which ends with what the test says."""

    started: float
    measured: Measured | EnergyError
    ended: float | None = None

    def end(self, ended: float) -> Measured:
        self.ended = ended
        if isinstance(self.measured, EnergyError):
            raise self.measured
        return self.measured


class GivenMeter(DatedMeter):
    """A meter that begins windows itself."""

    def __init__(self, measured: Measured | EnergyError, started: float = 0.0) -> None:
        super().__init__(iter(()))
        self.span = GivenSpan(started or time.monotonic() - LONG_AGO, measured)

    def begin(self) -> GivenSpan:
        return self.span


def test_joules_between_two_readings_and_how_far_they_may_be_off() -> None:
    """All that was read late counts as power over that time, as does an update of the source."""
    now = time.monotonic()
    meter = dated(
        (now - 100, {"gpu:0": 10.0, "cpu": 5.0}),
        (now - 60, {"gpu:0": 410.0, "cpu": 45.0}),
        update_period_seconds=0.5,
        resolution_joules=0.25,
        notes={"celsius": 61.0},
    )
    span = TwoReadings(meter)
    assert now <= span.started <= time.monotonic()
    late_at_start = span.started - (now - 100)

    measured = span.end(now - 63)

    watts = 440.0 / 40.0
    assert measured.joules_by_domain == {"gpu:0": 400.0, "cpu": 40.0}
    expected = watts * (0.5 + late_at_start + 3.0 + LATENCY_SECONDS) + 2 * 0.25
    assert measured.uncertainty_joules == pytest.approx(expected)
    assert measured.faults == ()
    assert measured.notes == {"celsius": 61.0}


def test_a_meter_without_windows_of_its_own_is_read_at_both_ends() -> None:
    now = time.monotonic()
    span = begin_span(dated((now - 2, {"cpu": 1.0}), (now - 1, {"cpu": 3.0})))
    assert isinstance(span, TwoReadings)
    assert span.end(now).joules_by_domain == {"cpu": 2.0}


def test_work_that_starts_later_is_counted_from_the_reading_then() -> None:
    now = time.monotonic()
    begun, started, ended = (now - 300, {"cpu": 0.0}), (now - 200, {"cpu": 50.0}), now - 100
    span = TwoReadings(dated(begun, started, (ended, {"cpu": 250.0})))

    span.work_started(now - 200)
    measured = span.end(ended)

    assert span.started == now - 200
    assert measured.joules_by_domain == {"cpu": 200.0}
    assert measured.uncertainty_joules == pytest.approx(2.0 * LATENCY_SECONDS)


def test_readings_dated_before_the_end_of_the_work_are_not_late() -> None:
    now = time.monotonic()
    span = TwoReadings(dated((now - 200, {"cpu": 0.0}), (now - 100, {"cpu": 200.0})))
    span.started = now - 250

    assert span.end(now).uncertainty_joules == pytest.approx(2.0 * LATENCY_SECONDS)


def test_a_domain_that_was_not_there_at_the_beginning_counts_from_nothing() -> None:
    now = time.monotonic()
    span = TwoReadings(dated((now - 2, {"cpu": 10.0}), (now - 1, {"cpu": 11.0, "dram": 3.0})))
    assert span.end(now).joules_by_domain == {"cpu": 1.0, "dram": 3.0}


def test_two_readings_at_one_time_break_nothing() -> None:
    now = time.monotonic()
    span = TwoReadings(dated((now - 1, {"cpu": 0.0}), (now - 1, {"cpu": 2.0})))
    span.started = now - 1
    assert span.end(now).uncertainty_joules == pytest.approx(2e9 * LATENCY_SECONDS)


class WatchingMeter(DatedMeter):
    """Keeps since when it was asked what it found."""

    asked = math.nan

    def faults_since(self, seconds: float) -> tuple[str, ...]:
        self.asked = seconds
        return ("d: between",)


@pytest.mark.parametrize(("ago", "is_ours"), [(0.25, True), (3600.0, True), (3600.25, False)])
def test_a_date_of_the_last_hour_is_taken_as_it_is(ago: float, is_ours: bool) -> None:
    meter = WatchingMeter(iter(3 * [(5000.0 - ago, {"cpu": 1.0})]))
    with real_time.simulated(lambda: 5000.0, time.sleep):
        TwoReadings(meter).end(5000.0)
    assert meter.asked == (5000.0 - ago if is_ours else 5000.0)


@pytest.mark.parametrize("ago", [-LONG_AGO, 5000.0, 1e9])
def test_a_date_by_another_clock_is_taken_for_now(ago: float) -> None:
    """A meter may go by a clock that a test has frozen or moved."""
    before = time.monotonic()
    meter = WatchingMeter(iter(3 * [(before - ago, {"cpu": 1.0})]))

    TwoReadings(meter).end(before)

    assert before <= meter.asked <= time.monotonic()


def test_what_is_wrong_at_either_end_is_told_once() -> None:
    now = time.monotonic()
    meter = dated((now - 2, {"cpu": 0.0}), (now - 1, {"cpu": 1.0}), faults=("a: x", "b: y"))
    span = TwoReadings(meter)
    meter.faults = ("b: y", "c: z")
    assert span.end(now).faults == ("a: x", "b: y", "c: z")


def test_what_was_found_between_the_readings_is_asked_for_since_the_first() -> None:
    now = time.monotonic()
    readings = [(now - 3000, {"cpu": 0.0}), (now - 2000, {"cpu": 0.0}), (now - 1, {"cpu": 1.0})]
    meter = WatchingMeter(iter(readings))

    assert TwoReadings(meter).end(now).faults == ("d: between",)
    assert meter.asked == now - 2000


@pytest.mark.parametrize(
    ("period", "joules", "faults", "told"),
    [
        (2.0, 0.0, (), ("no update: the source, renewed about every 2 s, did not move in 30 s;",)),
        (2.0, 0.5, (), ()),
        (0.0, 0.0, (), ()),
        (2.0, 0.0, ("device lost: gone",), ("device lost: gone",)),
    ],
)
def test_a_source_that_slept_says_so_unless_more_is_wrong(
    period: float, joules: float, faults: tuple[str, ...], told: tuple[str, ...]
) -> None:
    now = time.monotonic()
    meter = dated(
        (now - 60, {"cpu": 1.0, "dram": 1.0}),
        (now - 20, {"cpu": 1.0, "dram": 1.0 + joules}),
        update_period_seconds=period,
        faults=faults,
    )
    span = TwoReadings(meter)
    span.started = now - 50

    found = span.end(now - 20).faults

    assert len(found) == len(told)
    assert all(one.startswith(start) for one, start in zip(found, told, strict=True))


LIMITED = Device("gpu:0", "card", "GPU-0", power_limit_watts=300.0)
FREE = Device("gpu:1", "card", "GPU-1")


@pytest.mark.parametrize(
    ("joules", "doubt", "reason"),
    [
        # A limit may be passed by a tenth, and the doubt of the joules speaks for the window.
        ({"gpu:0": 3300.0}, 0.0, None),
        (
            {"gpu:0": 3300.5},
            0.0,
            "implausible: `gpu:0` shows 330 W over 10 s, and its limit is 300 W",
        ),
        ({"gpu:0": 3400.0}, 100.0, None),
        # Without a limit, 2,000 W for the time and the tenth of a second that a source may lag.
        ({"gpu:0": 1.0, "gpu:1": 22220.0}, 0.0, None),
        (
            {"gpu:0": 1.0, "gpu:1": 22221.0},
            0.0,
            "implausible: `gpu:1` shows 2222 W over 10 s, and nothing of its kind draws 2000 W",
        ),
        ({"cpu": 22221.0}, 0.0, "nothing of its kind draws 2000 W"),
        ({"dram": 22221.0}, 0.0, "nothing of its kind draws 2000 W"),
        ({"module": 44440.0}, 0.0, None),  # a processor with its GPUs and their memory
        ({"module": 44441.0}, 0.0, "nothing of its kind draws 4000 W"),
        ({"wall": 22221.0}, 0.0, None),
        ({"wall": 1_111_000.0}, 0.0, None),
        ({"wall": 1_111_001.0}, 0.0, "nothing of its kind draws 100000 W"),
        # Less than nothing is never so; nothing at all only of what rests.
        ({"gpu:0": 5.0, "cpu": 0.0}, 0.0, None),
        ({"gpu:0": 0.0, "cpu": 5.0}, 0.0, "implausible: `gpu:0` shows 0 J in 10 s"),
        ({"gpu:0": 5.0, "cpu": -0.25}, 0.0, "implausible: `cpu` shows -0.25 J in 10 s"),
        ({"cpu": 0.0}, 0.0, "implausible: 0 J in 10 s"),
        ({"wall": math.nan}, 0.0, "implausible: nan J in 10 s"),
        ({"wall": 5.0}, math.nan, "implausible: 5 J in 10 s"),
        ({"wall": 5.0}, math.inf, "implausible: 5 J in 10 s"),
        ({}, 0.0, "implausible: 0 J in 10 s"),
        # A tenth of the joules may be in doubt.
        ({"gpu:0": 50.0}, 5.0, None),
        (
            {"gpu:0": 50.0},
            5.1,
            "too short: 50 J in 10 s may be off by 5.1 J (more than 10 %); give",
        ),
        # What lies within the doubt may be anything.
        ({"gpu:0": 0.0, "cpu": 5.0}, 0.6, "too short: 5 J"),
        ({"gpu:0": 50.0, "gpu:1": -5.1}, 5.1, "too short: 44.9 J"),
        ({"gpu:0": 50.0, "gpu:1": -5.2}, 5.1, "implausible: `gpu:1` shows -5.2 J"),
        ({"gpu:0": 100.0, "gpu:1": -5.1}, 5.1, "implausible: `gpu:1` shows -5.1 J"),
        ({"gpu:0": 0.0}, 1.0, "too short: 0 J"),
        ({"cpu": -1.0}, 1.0, "too short: -1 J"),
        ({"cpu": -1.5, "dram": -0.4}, 1.6, "implausible: -1.9 J in 10 s"),
    ],
)
def test_what_joules_can_be(joules: dict[str, float], doubt: float, reason: str | None) -> None:
    devices = [device for device in (LIMITED, FREE) if device.domain in joules]

    found = first_fault(Measured(joules, doubt), 10.0, devices)

    assert (found is None) == (reason is None), found
    assert (reason or "") in (found or "")


def test_a_device_that_says_nothing_of_itself_shows_no_joules() -> None:
    assert first_fault(Measured({"gpu:0": 5.0}, 0.0), 10.0, [LIMITED, FREE]) == (
        "implausible: `gpu:1` shows 0 J in 10 s"
    )


def test_what_the_meter_saw_comes_before_what_its_joules_show() -> None:
    measured = Measured({"gpu:0": -5.0}, 0.0, ("throttled: hot", "foreign process: 7"))
    assert first_fault(measured, 10.0, [LIMITED]) == "throttled: hot; foreign process: 7"


def test_a_window_of_no_time_is_shown_with_a_power_all_the_same() -> None:
    found = first_fault(Measured({"gpu:0": 1.0}, 0.0), 0.0, [LIMITED])
    assert found == ("implausible: `gpu:0` shows 10000 W over 0 s, and its limit is 300 W")


def test_a_window_of_a_meters_own() -> None:
    measured = Measured(
        {"gpu:0": 900.0, "cpu": 100.0},
        2.0,
        notes={"celsius": 61.0},
        power=lambda: {"gpu:0": ((0.0, 9.0),)},
    )
    meter = GivenMeter(measured)

    before = time.time()
    with window(meter, "train", lambda: None) as w:
        w.count_tokens(100, 80)
        w.count_tokens(10, 5)

    record = w.record
    assert LONG_AGO <= w.seconds < 2 * LONG_AGO
    assert meter.span.ended == pytest.approx(meter.span.started + w.seconds)
    assert (record.name, record.method, record.valid) == ("train", "counter", True)
    assert (w.joules, w.mean_watts) == (1000.0, 1000.0 / w.seconds)
    assert w.joules_by_domain == {"gpu:0": 900.0, "cpu": 100.0}
    assert (w.uncertainty_joules, w.valid, w.invalid_reason) == (2.0, True, None)
    assert (record.tokens, record.real_tokens, record.notes) == (110, 85, {"celsius": 61.0})
    assert before <= record.started <= time.time()
    assert record.power_by_domain == {"gpu:0": ((0.0, 9.0),)}
    assert w.record is record  # put together once
    assert repr(w) == f"<window `train`: 1.000 ± 0.002 kJ in {w.seconds:.3g} s>"
    assert not hasattr(w, "watts")


def test_work_that_starts_later_begins_the_windows_seconds() -> None:
    class Restarted(GivenSpan):
        def work_started(self, started: float) -> None:
            self.started = started

    meter = GivenMeter(Measured({"gpu:0": 1.0}, 0.0))
    meter.span = span = Restarted(time.monotonic() - LONG_AGO, Measured({"gpu:0": 1.0}, 0.0))
    with window(meter, "waits", lambda: None) as w:
        w.work_started()

    assert span.ended is not None
    assert w.seconds == span.ended - span.started
    assert w.seconds < LONG_AGO


def test_a_span_without_a_later_start_keeps_its_seconds() -> None:
    with window(GivenMeter(Measured({"gpu:0": 1.0}, 0.0)), "waits", lambda: None) as w:
        w.work_started()
    assert w.seconds >= LONG_AGO


def test_joules_of_a_short_window_can_be_read_and_wrong_ones_cannot() -> None:
    with window(GivenMeter(Measured({"gpu:0": 10.0}, 5.0)), "short", lambda: None) as short:
        pass
    assert (short.valid, short.joules, short.record.is_too_short) == (False, 10.0, True)

    wrong = Measured({"gpu:0": 10.0}, 0.0, ("throttled: hot",))
    with window(GivenMeter(wrong), "wrong", lambda: None) as w:
        pass
    for figure in ("joules", "joules_by_domain", "mean_watts"):
        with pytest.raises(EnergyError, match=r"`wrong` has no joules to go by: throttled: hot; c"):
            getattr(w, figure)
    assert (w.uncertainty_joules, w.seconds > 0, w.record.is_too_short) == (0.0, True, False)
    assert repr(w).endswith(" s; invalid: throttled: hot>")


def test_a_meter_that_fails_leaves_each_device_without_joules() -> None:
    class Failing(GivenMeter):
        def begin(self) -> GivenSpan:
            raise EnergyError("device lost: gone before")

    before = time.monotonic()
    with window(Failing(EnergyError("")), "before", lambda: None) as lost_before:
        pass
    with window(GivenMeter(EnergyError("device lost: gone")), "in it", lambda: None) as lost:
        pass

    assert lost_before.invalid_reason == "device lost: gone before"
    assert lost_before.seconds <= time.monotonic() - before
    assert lost.invalid_reason == "device lost: gone"
    for record in (lost_before.record, lost.record):
        assert record.joules_by_domain == {"gpu:0": 0.0}
        assert record.uncertainty_joules == 0.0


def test_a_block_that_raised_has_no_figures_until_the_window_is_used_again() -> None:
    opened = OpenWindow(GivenMeter(Measured({"gpu:0": 1.0}, 0.0)), "train", lambda: None)
    with pytest.raises(EnergyError, match="`train` has not ended: read it after its block"):
        opened.seconds  # noqa: B018
    assert repr(opened) == "<window `train`: not ended>"
    with opened:
        pass
    assert opened.joules == 1.0
    with pytest.raises(KeyError), opened:
        raise KeyError
    assert repr(opened) == "<window `train`: its block raised KeyError>"
    with pytest.raises(EnergyError, match=r"no figures, because its block raised KeyError$"):
        opened.record  # noqa: B018
    with pytest.raises(ValueError, match="two"), opened:
        raise ValueError("two\nlines")
    assert repr(opened) == "<window `train`: its block raised ValueError: two\\nlines>"
    with opened:
        with pytest.raises(EnergyError, match="has not ended"):
            opened.joules  # noqa: B018
        assert repr(opened) == "<window `train`: not ended>"


def test_the_device_is_waited_for_before_the_first_reading_and_the_end() -> None:
    order: list[str] = []

    class Ordered(GivenMeter):
        def begin(self) -> GivenSpan:
            order.append("begin")
            return self.span

    with window(Ordered(Measured({"gpu:0": 1.0}, 0.0)), "train", lambda: order.append("wait")):
        order.append("work")
    assert order == ["wait", "begin", "work", "wait"]


def torch_with(initialised: bool, **private: Any) -> tuple[Any, list[int]]:
    """A torch that sees three cards, and the cards that were waited for."""
    synchronised: list[int] = []
    cuda = SimpleNamespace(
        is_initialized=lambda: initialised,
        device_count=lambda: 3,
        synchronize=synchronised.append,
    )
    return SimpleNamespace(cuda=cuda, _C=SimpleNamespace(**private)), synchronised


def measure_by_itself() -> None:
    with window(GivenMeter(Measured({"gpu:0": 1.0}, 0.0)), "train"):
        pass


@pytest.mark.parametrize(("initialised", "expected"), [(True, [0, 2, 0, 2]), (False, [])])
def test_cuda_is_synchronised_on_each_device_if_it_is_used(
    monkeypatch: pytest.MonkeyPatch, initialised: bool, expected: list[int]
) -> None:
    # A context on a card that nothing uses would draw power from then on.
    used = {"_cuda_hasPrimaryContext": lambda device: device != 1}
    torch, synchronised = torch_with(initialised, **used)
    monkeypatch.setitem(sys.modules, "torch", torch)
    measure_by_itself()
    assert synchronised == expected


def test_a_torch_that_does_not_say_which_cards_it_uses_waits_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch, synchronised = torch_with(True)
    monkeypatch.setitem(sys.modules, "torch", torch)
    measure_by_itself()
    assert synchronised == [0, 1, 2, 0, 1, 2]


def test_nothing_is_waited_for_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    measure_by_itself()
    assert "torch" not in sys.modules


def test_figures_of_a_window_are_ratios_and_nan_of_nothing() -> None:
    record = Window("train", "counter", {"cpu": 6.0, "dram": 2.0}, 4.0, 0.5, 0.0, None, 200, 100)
    figures = (
        record.joules,
        record.mean_watts,
        record.joules_per_token,
        record.joules_per_real_token,
        record.tokens_per_second,
    )
    assert figures == (8.0, 2.0, 0.04, 0.08, 50.0)
    empty = Window("train", "counter", {"cpu": 6.0}, 0.0, 0.5, 0.0)
    assert math.isnan(empty.mean_watts)
    assert math.isnan(empty.joules_per_token)


class InStep:
    """What a sensor that is in step with the work did not see; keeps the lengths it was asked."""

    def __init__(self) -> None:
        self.asked: list[float | None] = []

    def __call__(self, step_seconds: float | None) -> Unseen:
        self.asked.append(step_seconds)
        return Unseen(3.0, "in step: every second batch")


def test_what_a_sensor_did_not_see_of_a_windows_steps_is_in_doubt() -> None:
    """It is asked with the length of a step; a fault of it counts beside another."""
    unseen = InStep()

    with window(
        GivenMeter(Measured({"gpu:0": 100.0}, 2.0, unseen=unseen)), "train", lambda: None
    ) as w:
        w.count_steps(3)
        w.count_steps(5)
    assert w.invalid_reason == "in step: every second batch"
    assert (w.record.steps, w.record.uncertainty_joules) == (8, 5.0)
    assert unseen.asked == [w.seconds / 8]

    hot = Measured({"gpu:0": 100.0}, 2.0, ("throttled: hot",), unseen=unseen)
    with window(GivenMeter(hot), "train", lambda: None) as w:
        w.count_steps(8)
    assert w.invalid_reason == "throttled: hot; in step: every second batch"


def test_without_steps_nothing_that_a_sensor_did_not_see_is_a_fault() -> None:
    unseen = InStep()

    with window(
        GivenMeter(Measured({"gpu:0": 100.0}, 2.0, unseen=unseen)), "train", lambda: None
    ) as w:
        pass
    assert w.valid
    assert unseen.asked == []
    assert w.uncertainty_joules == 5.0
    assert unseen.asked == [None]
