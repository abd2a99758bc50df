"""Smart plugs over HTTP, through a real server on the loopback."""

from __future__ import annotations

import ctypes
import itertools
import json
import math
import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
"""What a path answers: an object sent as JSON, text sent as it is, or a function that sends it."""


@dataclass(frozen=True)
class Redirect:
    """An answer that names another place."""

    place: str


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
            if isinstance(answer, Redirect):
                self.send_response(302)
                self.send_header("Location", answer.place)
                self.end_headers()
                return
            if callable(answer):
                with suppress(OSError):
                    answer(self.wfile)
                return
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


@pytest.mark.fault(
    "wall meters",
    "a plug answers with HTML, a list, without its power, with NaN, or distrusts itself",
    "named, and no reading",
)
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


@pytest.mark.fault(
    "wall meters",
    "a plug hangs within a window",
    "`wall reading missing`",
)
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


@pytest.mark.fault(
    "wall meters",
    "a plug fails for a while",
    "read again from then on",
)
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
    with pytest.raises(MeterUnavailableError, match=r"no address of a plug .*`plug:port`"):
        open_wall("http://plug:port")


@pytest.mark.attack(
    "secrets",
    "somebody reads what is printed or stored for a password of a plug's address",
    "it is in none of it",
)
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


@pytest.mark.attack(
    "plugs and pipes",
    "a plug answers a byte at a time",
    "given up after its time limit",
)
@pytest.mark.parametrize("head", ["", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\n\r\n"])
def test_a_plug_that_sends_a_byte_at_a_time_is_given_up(head: str) -> None:
    now: list[Any] = [_gen2()]
    ended = threading.Event()

    def drip(file: Any) -> None:
        file.write(head.encode())
        while not ended.wait(0.01):
            file.write(b" ")
            file.flush()

    with _plug({PATHS["Shelly Gen2"]: lambda: now[-1]}) as url:
        meter = WallMeter(WallPlug(url, INTERVAL, timeout_seconds=0.3))
        now.append(drip)
        with window(meter, "work") as w:
            time.sleep(0.05)
        meter.close()
        with pytest.raises(MeterUnavailableError, match=r"does not answer \(timed out"):
            WallPlug(url, INTERVAL, timeout_seconds=0.3)
        ended.set()

    assert "does not answer (timed out)" in str(w.invalid_reason)


@pytest.mark.attack(
    "plugs and pipes",
    "a plug answers with deep JSON, endless lines, huge numbers or escape codes",
    "named on one printable line, and polled on",
)
@pytest.mark.parametrize(
    ("later", "trouble"),
    [
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "answers with something that is no JSON"),
        ("[" * 60_000, "answers with something that is no JSON"),
        ('{"apower": 1, "x": "' + "y" * 100_000 + '"}', "answers with more than 65,536 bytes"),
        (_gen2(1e300), "answers with a figure that is none: `1e+300` is no number from 0 to 1e+15"),
        ('{"apower": ' + "9" * 400 + "}", "answers with a figure that is none: `9999"),
        (
            lambda file: file.write(b"\x00\x1b[31m\r\n\r\n"),
            "answers with something that is no HTTP",
        ),
        (lambda file: file.write(b"HTTP/1.0 200 OK\r\n" + b"a: b\r\n" * 500), "is no HTTP"),
        (Redirect("http://u:hush@else\x1bwhere/x?token=hush"), "sends on to `http://***@else"),
        (Redirect("/x?token=hush"), "/x?***`; give that address"),
        (Redirect("http://[hush/"), "sends on to what is no address"),
    ],
)
def test_whatever_a_plug_sends_it_is_polled_on(later: Any, trouble: str) -> None:
    now: list[Any] = [_gen2()]
    trace = WallTrace()
    with _plug({PATHS["Shelly Gen2"]: lambda: now[-1]}) as url:
        plug = WallPlug(url, INTERVAL)
        now.append(later)
        _until(lambda: plug.trouble is not None)
        named = str(plug.trouble)
        now.append(_gen2(77.0))
        _until(lambda: plug.trouble is None)
        plug.refresh(trace)
        plug.close()

    assert trouble in named
    assert "hush" not in named
    assert named.isprintable()
    assert trace.watts.values[-1] == 77.0


@pytest.mark.attack(
    "plugs and pipes",
    "a plug sends requests on to another host, to get the password",
    "nothing is asked there",
)
def test_nothing_is_sent_where_a_plug_sends_on_to() -> None:
    asked: list[str | None] = []
    with (
        _plug({}, asked) as elsewhere,
        _plug(
            {path: lambda: Redirect(f"{elsewhere}/x?token=hush") for path in PATHS.values()}
        ) as url,
        pytest.raises(MeterUnavailableError) as caught,
    ):
        open_wall(url.replace("127", "admin:secret@127", 1))

    assert asked == []
    assert f"sends on to `{elsewhere}/x?***`; give that address" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.fault(
    "wall meters",
    "the thread that polls a plug ends",
    "`wall reading missing`, and it is said",
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_makes_windows_invalid() -> None:
    with _plug({PATHS["Shelly Gen2"]: _gen2}) as url:
        meter = open_wall(url, INTERVAL)
        thread = next(each for each in threading.enumerate() if each.name == "wall plug")
        identifier = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identifier, ctypes.py_object(SystemExit))
        thread.join(20)
        with window(meter, "work") as w:
            time.sleep(0.05)
        meter.close()

    assert re.fullmatch(
        r"wall reading missing: `127\.0\.0\.1:\d+`: the thread that polls it has ended",
        str(w.invalid_reason),
    )


@pytest.mark.attack(
    "secrets",
    "an odd password makes its address unreadable",
    "no error shows any part of it",
)
@pytest.mark.parametrize(
    "address",
    [
        "HTTP://admin:hush@127.0.0.1:1",
        "Https://admin:hush@127.0.0.1:1/",
        "http://admin:hu/sh@127.0.0.1:1",
        "http://admin:hu?sh@127.0.0.1:1",
        "http://admin:hu#sh@127.0.0.1:1",
        "http://admin:hu@sh@127.0.0.1:1",
        "http://admin:hu sh'`\"@127.0.0.1:1",
        "http://admin:9/hush@127.0.0.1:port",
        "http://127.0.0.1:1/cm?password=hush&cmnd=Status 8",
        "http://127.0.0.1:1/cm?password=hush\n&cmnd=Status\xe9",
        "http://[::1/?token=hush",
        "http://hush@",
    ],
)
def test_no_error_shows_what_may_be_a_password(address: str) -> None:
    with pytest.raises(MeterUnavailableError) as caught:
        open_wall(address)

    text = str(caught.value)
    assert "hu" not in text
    assert "sh@" not in text
    assert "give" in text or "check its address" in text
