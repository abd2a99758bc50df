"""Messages between the metering process and a side, and the meter that is asked through them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest

from pytest_energy.ab.protocol import (
    VERSION,
    MeterServer,
    RemoteMeter,
    SideFaultError,
    expect,
    facts_of,
)
from pytest_energy.ab.side_place import SidePlace
from pytest_energy.ab.sides import SideProcess, stop_sides
from pytest_energy.channels import Channel, ClosedError, Message
from pytest_energy.errors import EnergyError
from pytest_energy.metering import window
from pytest_energy.metering.hardware import Budget
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


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "begin", "colour": "red"},
        {"kind": "end", "number": 7, "ended": 1.0},
        {"kind": "work_started", "number": [], "seconds": 1.0},
    ],
)
def test_what_no_side_asks_for_is_an_error_of_the_side(
    ends: tuple[Channel, Channel], message: Message
) -> None:
    ours, theirs = ends
    MeterServer(Lamp(), ours).answer(message)
    answer = theirs.receive(5)
    assert answer is not None
    assert "does its code write to our pipe?" in answer["error"]


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


# Stands in for a side's interpreter, which is called with `-m`, a module and a descriptor.
IMPOSTOR = """#!{python}
import os, sys, time
from multiprocessing.connection import Connection
side = Connection(int(sys.argv[3]))
print("what it printed", flush=True)
"""


@pytest.mark.attack(
    "plugs and pipes",
    "code under test writes into a side's channel without an end, or garbage",
    "given up within its time limit",
)
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("time.sleep(60)", r"hangs: it comes to no check within 1 s \(`--energy-side-timeout`\)"),
        ("while True: side.send_bytes(b'{\"kind\": \"read\"}'); side.recv_bytes()",
         "comes to no check within 1 s"),
        ("os.write(side.fileno(), b'hello, world'); time.sleep(60)", "no message"),
        ("os.write(side.fileno(), bytes(3)); time.sleep(60)", "no message"),
        ("os.write(side.fileno(), bytes([0, 1, 0, 0]))\n"
         "while True: time.sleep(0.05), os.write(side.fileno(), b' ')", "no message"),
        ("os.lseek(1, 1 << 29, 0); os.write(1, b'\\n' * 20_000 + b'what it printed')\n"
         "time.sleep(60)", "died: it printed more than 256 MiB, so it was ended"),
        ("side.send_bytes(b'{\"kind\": \"window\"}')", "`window` where `ready` was due"),
        ("side.close(); sys.exit(3)", "died: its process ended with code 3"),
    ],
    ids=["nothing", "calls without end", "garbage", "half a message", "a byte now and then",
         "a flood", "another", "its end"],
)  # fmt: skip
def test_whatever_a_side_sends_it_is_given_up_in_time(
    tmp_path: Path, code: str, message: str
) -> None:
    program = tmp_path / "python"
    program.write_text(IMPOSTOR.format(python=sys.executable) + code)
    program.chmod(0o755)
    place = SidePlace("base", "HEAD", str(program), tmp_path, tmp_path, ())
    side = SideProcess(place, ["test_mine.py"], Budget(1000), 1.0, Lamp())

    with pytest.raises(EnergyError, match=message) as said:
        side.come_to(0, ())
    stop_sides([side])

    if isinstance(said.value, SideFaultError):
        assert said.value.tail == "what it printed"


def test_a_side_that_cannot_start_is_named(tmp_path: Path) -> None:
    place = SidePlace("base", "HEAD", str(tmp_path / "none"), tmp_path, tmp_path, ())

    with pytest.raises(SideFaultError, match=r"the base \(`HEAD`\) does not start: .*none"):
        SideProcess(place, [], Budget(1000), 1.0, Lamp())


def test_the_page_has_the_version_that_is_spoken() -> None:
    page = Path(__file__).parents[2] / "docs" / "comparing.md"

    assert f"\nVersion {VERSION}.\n" in page.read_text(encoding="utf-8")
