"""Simulated seconds: threads take turns as they would, and figures are those of real seconds."""

from __future__ import annotations

import os
import threading
import time
from statistics import median

import pytest

from pytest_energy.clocks import real_time
from sensor_sim import Card, Host, Load, apart, simulate

STEPS = Load.steps(period=0.06, forward=450, backward=600, optimizer=250)


def looks_of_a_thread() -> tuple[list[float], bool, float]:
    """When a thread looked that looks every 0.1 s until it is closed, while another one sleeps."""
    with simulate(Card()):
        looks, closed = [], threading.Event()
        began = real_time.monotonic()

        def look() -> None:
            while not closed.wait(0.1):
                looks.append(real_time.monotonic() - began)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        real_time.sleep(1.05)
        closed.set()
        thread.join(2.0)
        return looks, thread.is_alive(), real_time.monotonic() - began


def test_a_thread_looks_while_another_sleeps_and_ends_when_it_is_told() -> None:
    looks, lives, seconds = apart(looks_of_a_thread)
    assert looks == pytest.approx([0.1 * (k + 1) for k in range(10)], abs=0.003)
    assert not lives
    assert 1.05 < seconds < 1.06


def a_call_under_a_lock() -> dict[str, float]:
    """One thread calls the driver under a lock, another one waits for it, a third one does not."""
    with simulate(Card(call_seconds=0.02)) as world:
        lock, ended = threading.Lock(), {}
        began = world.now()

        def call() -> None:
            with lock:
                world.power_watts()
            ended["call"] = world.now() - began

        def wait() -> None:
            real_time.sleep(0.005)
            with lock:
                ended["wait"] = world.now() - began

        def work() -> None:
            real_time.sleep(0.01)
            ended["work"] = world.now() - began

        def call_too() -> None:
            real_time.sleep(0.015)
            world.power_watts()
            ended["call too"] = world.now() - began

        threads = [threading.Thread(target=each) for each in (call, wait, work, call_too)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ended


def test_others_go_on_during_a_call_but_for_its_lock_and_the_driver() -> None:
    ended = apart(a_call_under_a_lock)
    assert ended == pytest.approx(
        {"work": 0.01, "call": 0.02, "wait": 0.02, "call too": 0.04}, abs=0.0005
    )


def test_a_lock_that_nobody_lets_go_of_is_said_to_be_one() -> None:
    with pytest.raises(RuntimeError, match="every simulated thread waits"):
        apart(a_lock_for_ever)


def a_thread_of_others() -> float:
    with simulate(Card()) as world:
        ours, theirs = os.pipe()
        thread = threading.Thread(target=os.read, args=(ours, 1))
        thread.start()
        began = world.now()
        world.rest(5)
        seconds = world.now() - began
        os.write(theirs, b".")
        thread.join()
        return seconds


def test_nobody_waits_for_a_thread_that_does_not_know_our_clock() -> None:
    assert apart(a_thread_of_others) == pytest.approx(5, abs=0.001)


def a_thread_of_before() -> tuple[float, float]:
    """Simulated seconds beside a thread that was there already, and real ones of its sleep."""
    slept = []
    begin, ended = threading.Event(), threading.Event()

    def sleep() -> None:
        begin.wait()
        began = time.monotonic()
        real_time.sleep(0.05)
        slept.append(time.monotonic() - began)
        ended.set()

    threading.Thread(target=sleep).start()
    with simulate(Card()) as world:
        began = world.now()
        begin.set()
        ended.wait()
        return world.now() - began, slept[0]


def test_a_thread_that_was_there_before_sleeps_real_seconds() -> None:
    simulated, real = apart(a_thread_of_before)
    assert simulated < 0.001
    assert real >= 0.05


def told_early() -> float:
    """When a thread that may wait for 10 s goes on if it is told after 0.1 s (s)."""
    with simulate(Card()) as world:
        told, went_on = threading.Event(), []
        began = world.now()

        def wait() -> None:
            told.wait(10)
            went_on.append(world.now() - began)

        thread = threading.Thread(target=wait)
        thread.start()
        world.rest(0.1)
        told.set()
        world.rest(1.0)
        thread.join()
        return went_on[0]


def test_a_thread_goes_on_when_it_is_told() -> None:
    assert apart(told_early) == pytest.approx(0.1, abs=0.001)


def sleeps(host: Host) -> list[float]:
    with simulate(Card(), host=host) as world:
        found = []
        for _ in range(500):
            began = world.now()
            world.rest(0.01)
            found.append(world.now() - began - 0.01)
        return found


def test_on_a_busy_host_some_sleeps_end_much_later() -> None:
    idle, busy = apart(sleeps, Host()), apart(sleeps, Host(0.1, 0.02))
    assert max(idle) < 0.0002
    assert 0.06 < sum(late > 0.0002 for late in busy) / len(busy) < 0.14
    assert 0.015 < max(busy) < 0.0203


def a_lock_for_ever() -> None:
    with simulate(Card()):
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()


def clocks_around() -> tuple[bool, float, float]:
    before = real_time.monotonic, real_time.sleep, threading.Lock, threading.Event
    began, real = time.monotonic(), real_time.monotonic()
    with simulate(Card()) as world:
        world.rest(1000)
    after = real_time.monotonic, real_time.sleep, threading.Lock, threading.Event
    return before == after, real_time.monotonic() - real, time.monotonic() - began


def test_real_seconds_are_back_afterwards() -> None:
    restored, by_ours, by_theirs = apart(clocks_around)
    assert restored
    assert by_ours == pytest.approx(by_theirs, abs=0.1)
    assert by_theirs < 900


def metered(card: Card, clock: str, windows: int) -> list[tuple[float, float, str | None]]:
    """Error and stated uncertainty of windows (shares), and why they are invalid."""
    with simulate(card, clock="virtual" if clock == "virtual" else "real") as world:
        found = world.windows(STEPS, [0.637] * windows, rest=0.13)
        return [(each.error, each.stated, each.record.invalid_reason) for each in found]


@pytest.mark.realtime
@pytest.mark.parametrize(
    "card",
    [
        Card(),
        Card(fall_seconds=0.05),
        Card(counter="sensor", update_seconds=0.1, window_seconds=0.1, tick_seconds=0.0),
        Card(counter="sensor", update_seconds=0.05, window_seconds=0.0125, tick_seconds=0.0),
        Card(lag_seconds=0.03),
        Card(counter="none", update_seconds=0.02, window_seconds=0.02, noise_watts=1),
    ],
    ids=["exact", "falls off", "whole sensor", "part-time sensor", "late", "no counter"],
)
def test_virtual_and_real_windows_agree(card: Card) -> None:
    """Their median errors do, within what the windows say of themselves."""
    virtual = apart(metered, card, "virtual", 30)
    real = apart(metered, card, "real", 5)
    errors = [median(error for error, *_ in found) for found in (virtual, real)]
    stated = median(stated for _, stated, _ in (*virtual, *real))
    assert abs(errors[0] - errors[1]) <= stated + 0.001
    for found in (virtual, real):
        assert sum(reason is None for *_, reason in found) >= 0.8 * len(found)
