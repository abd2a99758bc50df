"""Messages between the metering process and a side, and the meter that is asked through them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from multiprocessing import Pipe

import pytest

from pytest_energy.ab.messages import VERSION, expect
from pytest_energy.ab.remote_meter import MeterServer, RemoteMeter, facts_of
from pytest_energy.errors import EnergyError
from pytest_energy.ipc import Channel, ClosedError
from pytest_energy.metering import window
from pytest_energy.meters import Conditions, Device, Method, Reading
from pytest_energy.plugin import ab_side as worker


class Lamp:
    """A meter whose joules are set from outside; it is lost once they are negative."""

    name = "lamp"
    method: Method = "external"
    devices: tuple[Device, ...] = (Device("wall", "lamp", "lamp-1", 60.0),)
    update_period_seconds = 0.0
    resolution_joules = 0.0
    joules = 100.0

    def read(self) -> Reading:
        if self.joules < 0:
            raise EnergyError("device lost: the lamp is out")
        return Reading(1.0, {"wall": self.joules})

    def conditions(self) -> Conditions:
        return Conditions(("throttled: dim",) if self.joules == 7 else (), {"lux": 3.0})

    def close(self) -> None:
        raise AssertionError("it is the other process's to close")


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, two = map(Channel, Pipe())
    yield one, two
    one.close()
    two.close()


def test_another_message_than_the_one_due_is_refused() -> None:
    assert expect({"kind": "window", "run": 1}, "window")["run"] == 1
    with pytest.raises(EnergyError, match="sent `ready` where `window` was due"):
        expect({"kind": "ready"}, "window")


def test_a_sides_meter_is_the_other_processes(ends: tuple[Channel, Channel]) -> None:
    lamp, (ours, theirs) = Lamp(), ends
    calls = MeterServer(lamp, ours)
    thread = threading.Thread(target=_answer, args=(calls, ours))
    thread.start()
    meter = RemoteMeter(theirs, facts_of(lamp))

    with window(meter, "work", lambda: None) as opened:
        lamp.joules += 5.0

    assert (meter.name, meter.method, meter.devices) == ("lamp", "external", lamp.devices)
    assert opened.record.joules == 5.0
    assert opened.record.method == "external"
    assert meter.read() == Reading(1.0, {"wall": 105.0})
    lamp.joules = 7.0
    assert meter.conditions() == Conditions(("throttled: dim",), {"lux": 3.0})
    lamp.joules = -1.0
    with pytest.raises(EnergyError, match="device lost: the lamp is out"):
        meter.read()
    with window(meter, "dark", lambda: None) as dark:
        pass
    assert dark.invalid_reason == "device lost: the lamp is out"
    meter.close()
    theirs.close()
    thread.join()
    assert calls.ended == 1


def _answer(calls: MeterServer, channel: Channel) -> None:
    try:
        while (message := channel.receive(30)) is not None:
            calls.answer(message)
    except ClosedError:
        return


def test_a_worker_of_another_version_says_so() -> None:
    first, theirs = Pipe()
    ours = Channel(first)
    ours.send("settings", version=VERSION + 1)

    code = worker.main([str(os.dup(theirs.fileno()))])

    told = ours.receive(1) or {}
    assert (code, told["fault"]) == (1, "version")
    assert told["text"] == f"{VERSION}, not {VERSION + 1}"
    ours.close()
    theirs.close()
