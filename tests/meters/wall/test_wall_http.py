"""Smart plugs over HTTP, through a real server on the loopback."""

from __future__ import annotations

import itertools
import json
import math
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pytest_energy import window
from pytest_energy.errors import MeterUnavailableError
from pytest_energy.meters.wall import WallMeter, open_wall
from pytest_energy.meters.wall.http import WallPlug
from pytest_energy.meters.wall.trace import WallTrace

INTERVAL = 0.02

Answer = Callable[[], Any]
"""What a path answers: an object sent as JSON, text sent as it is, or an exception to hang."""


def _gen2(watts: float = 150.5, watt_hours: float = 1000.125) -> dict[str, Any]:
    return {"id": 0, "output": True, "apower": watts, "aenergy": {"total": watt_hours}}


def _gen1(watts: float = 150.5, watt_minutes: int = 5000, valid: bool = True) -> dict[str, Any]:
    return {"power": watts, "is_valid": valid, "total": watt_minutes, "counters": [1.0]}


def _tasmota(watts: int = 150, kilowatt_hours: float = 3.185) -> dict[str, Any]:
    energy = {"Total": kilowatt_hours, "Power": watts, "Voltage": 230}
    return {"StatusSNS": {"Time": "2026-11-24T12:00:00", "ENERGY": energy}}


PATHS = {
    "Shelly Gen2": "/rpc/Switch.GetStatus?id=0",
    "Shelly Gen1": "/meter/0",
    "Tasmota": "/cm?cmnd=Status%208",
}


@contextmanager
def _plug(
    answers: dict[str, Answer], authorizations: list[str | None] | None = None
) -> Iterator[str]:
    """Serve answers by path on 127.0.0.1; gives the server's address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if authorizations is not None:
                authorizations.append(self.headers["Authorization"])
            if self.path not in answers:
                self.send_error(404)
                return
            answer = answers[self.path]()
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(200)
            self.end_headers()
            with suppress(BrokenPipeError):  # whoever asked has given up
                self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _until(ready: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not ready() and time.monotonic() < give_up:
        time.sleep(0.005)
    assert ready()


@pytest.mark.parametrize(
    ("path", "answer", "watts", "joules", "digit"),
    [
        (PATHS["Shelly Gen2"], _gen2(), 150.5, 3_600_450, 3.6),
        (PATHS["Shelly Gen1"], _gen1(), 150.5, 300_000, 60),
        (PATHS["Tasmota"], _tasmota(), 150, 11_466_000, 3600),
    ],
)
def test_the_form_of_a_plug_is_found_by_asking(
    path: str, answer: dict[str, Any], watts: float, joules: float, digit: float
) -> None:
    trace = WallTrace()
    with _plug({path: lambda: answer}) as url:
        plug = WallPlug(url, INTERVAL)
        try:
            plug.refresh(trace)
        finally:
            plug.close()

    assert trace.watts.values[0] == watts
    assert trace.energy.values[0] == pytest.approx(joules)
    assert trace.energy.digit == pytest.approx(digit)


def test_a_whole_address_is_asked_as_it_is() -> None:
    asked = "/rpc/PM1.GetStatus?id=3"
    with _plug({asked: _gen2, PATHS["Shelly Gen2"]: lambda: _gen2(9)}) as url:
        plug = WallPlug(url + asked, INTERVAL)
        trace = WallTrace()
        plug.refresh(trace)
        plug.close()

    assert trace.watts.values[0] == 150.5
    assert plug.shown == url.removeprefix("http://")


def test_a_window_on_a_plug() -> None:
    opened = time.monotonic()
    with _plug({PATHS["Shelly Gen2"]: lambda: _gen2(200.0)}) as url:
        meter = open_wall(url, INTERVAL)
        with window(meter, "work") as w:
            time.sleep(0.3)
        meter.close()
    taken = time.monotonic() - opened

    assert w.valid, w.invalid_reason
    assert w.joules_by_domain.keys() == {"wall"}
    assert w.joules == pytest.approx(200 * w.seconds, abs=1.0)
    assert w.seconds < taken
    assert w.record.method == "external"


def test_energy_of_a_fine_counter_is_taken_where_power_flickers() -> None:
    began = time.time()
    flicker = itertools.cycle([600.0, 0.0])

    def answer() -> dict[str, Any]:
        return _gen2(next(flicker), 400 * (time.time() - began) / 3600)

    with _plug({PATHS["Shelly Gen2"]: answer}) as url:
        meter = open_wall(url, INTERVAL)
        with window(meter, "work") as w:
            time.sleep(0.5)
        meter.close()

    assert w.valid, w.invalid_reason
    # Watts alone would say 300 W; an answer is on its way for a moment.
    assert abs(w.joules - 400 * w.seconds) <= w.uncertainty_joules + 400 * 0.01


@pytest.mark.parametrize(
    ("path", "good", "later", "trouble"),
    [
        ("Shelly Gen2", _gen2(), "<html>busy</html>", "answers with something that is no JSON"),
        ("Shelly Gen2", _gen2(), [1, 2], "answers with no JSON object"),
        ("Shelly Gen2", _gen2(), {"output": True}, "has no `apower` in its answer"),
        ("Shelly Gen2", _gen2(), _gen2(math.nan), "answers with a figure that is none: `NaN`"),
        ("Shelly Gen1", _gen1(), _gen1(valid=False), "says that its figures are not valid"),
    ],
)
def test_answers_that_go_wrong_are_named_and_give_no_reading(
    path: str, good: Any, later: Any, trouble: str
) -> None:
    now: list[Any] = [good]
    trace = WallTrace()
    with _plug({PATHS[path]: lambda: now[-1]}) as url:
        plug = WallPlug(url, INTERVAL)
        now.append(later)
        _until(lambda: plug.trouble is not None)
        named = plug.trouble
        plug.refresh(trace)
        count = trace.readings
        time.sleep(3 * INTERVAL)
        plug.refresh(trace)
        plug.close()

    assert trouble in str(named)
    assert trace.readings == count


def test_a_plug_that_hangs_makes_a_window_invalid() -> None:
    hang = threading.Event()
    release = threading.Event()

    def answer() -> dict[str, Any]:
        if hang.is_set():
            release.wait(30)
        return _gen2()

    with _plug({PATHS["Shelly Gen2"]: answer}) as url:
        meter = WallMeter(WallPlug(url, INTERVAL, timeout_seconds=0.2))
        hang.set()
        with window(meter, "work") as w:
            time.sleep(0.05)
        meter.close()
        release.set()

    assert w.invalid_reason is not None
    assert w.invalid_reason.startswith("wall reading missing: `127.0.0.1:")
    assert "does not answer (timed out)" in w.invalid_reason


def test_a_plug_that_comes_back_is_read_again() -> None:
    now: list[Any] = [_gen2()]
    with _plug({PATHS["Shelly Gen2"]: lambda: now[-1]}) as url:
        plug = WallPlug(url, INTERVAL)
        now.append("rebooting")
        _until(lambda: plug.trouble is not None)
        now.append(_gen2(77.0))
        _until(lambda: plug.trouble is None)
        trace = WallTrace()
        plug.refresh(trace)
        plug.close()

    assert trace.watts.values[-1] == 77.0


def test_nobody_there() -> None:
    with _plug({}) as url:
        pass

    with pytest.raises(MeterUnavailableError, match=r"plug `127\S+` does not answer .*refused"):
        open_wall(url)


def test_somebody_else_is_there() -> None:
    with (
        _plug({PATHS["Tasmota"]: lambda: "<html>router</html>"}) as url,
        pytest.raises(MeterUnavailableError) as caught,
    ):
        open_wall(url)

    text = str(caught.value)
    assert "answers, but not as a plug that is known" in text
    assert "as Shelly Gen2 it answers HTTP 404" in text
    assert "as Tasmota it answers with something that is no JSON" in text


def test_an_address_that_is_none() -> None:
    with pytest.raises(MeterUnavailableError, match=r"no address of a plug .*`?port"):
        open_wall("http://plug:port")


def test_passwords_are_sent_but_neither_shown_nor_stored() -> None:
    secret = "/cm?user=admin&password=hush&cmnd=Status%208"
    authorizations: list[str | None] = []
    with _plug({secret: _tasmota}, authorizations) as url:
        meter = open_wall(url.replace("127", "admin:hu%73h@127", 1) + secret, INTERVAL)
        meter.close()
    with pytest.raises(MeterUnavailableError) as caught:
        open_wall(url + secret)

    assert authorizations[0] == f"Basic {b64encode(b'admin:hush').decode()}"
    assert "hush" not in repr(meter.devices)
    assert "hush" not in str(caught.value)
