"""Wall readings polled from a smart plug: Shelly of either generation, or Tasmota, over HTTP."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import ProxyHandler, build_opener

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.wall.trace import (
    KILOWATT_HOUR,
    WATT_HOUR,
    WATT_MINUTE,
    Figure,
    WallReading,
    WallTrace,
    figure,
    first_figure,
    json_fields,
)

INTERVAL_SECONDS = 1.0
"""Between polls; the plugs renew their power about once a second."""

TIMEOUT_SECONDS = 2.0
"""Of one request."""

_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class Form:
    """How one family of plugs answers: where to ask, names of its figures, joules an energy unit.

    `good` names a switch that is false while the plug does not trust its own figures.
    """

    name: str
    query: str
    watts: str
    energy: str
    joules_a_unit: float
    good: str = ""


_SNS = "statussns.energy"
FORMS = (
    Form("Shelly Gen2", "/rpc/Switch.GetStatus?id=0", "apower", "aenergy.total", WATT_HOUR),
    Form("Shelly Gen1", "/meter/0", "power", "total", WATT_MINUTE, good="is_valid"),
    Form("Tasmota", "/cm?cmnd=Status%208", f"{_SNS}.power", f"{_SNS}.total", KILOWATT_HOUR),
)


class WallPlug:
    """Polls a plug on a thread of its own; each `refresh` takes in what came since.

    `url` is the plug's address, whose form is found by asking, or the whole address of its status;
    user and password in it are sent by HTTP's basic method.
    Raises `MeterUnavailableError` where it does not answer, or not as one of `FORMS` does.
    """

    def __init__(
        self,
        url: str,
        interval_seconds: float = INTERVAL_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self.trouble: str | None = None
        self._timeout = timeout_seconds
        self._interval = interval_seconds
        self.shown, url, authorization = _taken_apart(url)
        # Plugs are neighbours: a proxy that leads out of the house would not find them.
        self._opener = build_opener(ProxyHandler({}))
        self._opener.addheaders += authorization
        self._url, self._form, first = self._found(url)
        self._new: deque[WallReading] = deque([first])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="wall plug", daemon=True)
        self._thread.start()

    def refresh(self, trace: WallTrace) -> None:
        """Add the readings that came since the last call."""
        while self._new:
            trace.add(self._new.popleft())

    def close(self) -> None:
        """Stop polling."""
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        due = real_time.monotonic() + self._interval
        while not self._stop.wait(due - real_time.monotonic()):
            try:
                self._new.append(self._ask(self._url, self._form))
                self.trouble = None
            except _PlugError as error:
                self.trouble = str(error)
            due = max(due + self._interval, real_time.monotonic())

    def _found(self, url: str) -> tuple[str, Form, WallReading]:
        parts = urlsplit(url)
        reasons = []
        for form in FORMS:
            bare = parts.path in ("", "/")
            where = f"{parts.scheme}://{parts.netloc}{form.query}" if bare else url
            try:
                return where, form, self._ask(where, form)
            except _PlugError as error:
                if error.silent:
                    raise MeterUnavailableError(
                        f"meter `wall`: the plug `{self.shown}` {error}; check its address, and "
                        "that it is on the network"
                    ) from None
                reasons.append(f"as {form.name} it {error}")
        raise MeterUnavailableError(
            f"meter `wall`: `{self.shown}` answers, but not as a plug that is known: "
            f"{'; '.join(reasons)}; give the whole address of its power status, or a log file of it"
        )

    def _ask(self, url: str, form: Form) -> WallReading:
        began = real_time.unix_seconds()
        fields = self._get(url)
        ended = real_time.unix_seconds()
        if form.good and fields.get(form.good) == str(False):
            raise _PlugError(f"says that its figures are not valid (`{form.good}`)")
        try:
            watts = figure(fields[form.watts])
            joules = first_figure(fields, {form.energy: form.joules_a_unit})
        except KeyError:
            raise _PlugError(f"has no `{form.watts}` in its answer") from None
        except ValueError as error:
            raise _PlugError(f"answers with a figure that is none: {error}") from None
        stamp = Figure((began + ended) / 2, max(ended - began, 0.0))
        return WallReading(stamp, watts, joules)

    def _get(self, url: str) -> Mapping[str, str]:
        try:
            with self._opener.open(url, timeout=self._timeout) as response:
                text = response.read(_MOST_BYTES)
        except HTTPError as error:
            error.close()
            raise _PlugError(f"answers HTTP {error.code}") from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise _PlugError(f"does not answer ({reason})", silent=True) from None
        try:
            return json_fields(text)
        except ValueError:
            raise _PlugError("answers with something that is no JSON") from None
        except TypeError:
            raise _PlugError("answers with no JSON object") from None


def _taken_apart(url: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Host and port alone, the address without user and password, and the header that has them.

    What is shown and stored is the first: a query may hold a password, too.
    """
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError as error:
        raise MeterUnavailableError(
            f"meter `wall`: no address of a plug ({error}); give one such as http://192.168.1.20"
        ) from None
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if parts.username is None:
        return host, bare, []
    secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return host, bare, [("Authorization", f"Basic {b64encode(secret).decode()}")]


class _PlugError(EnergyError):
    """What is wrong with an answer; `silent` where there was none at all."""

    def __init__(self, text: str, *, silent: bool = False) -> None:
        super().__init__(text)
        self.silent = silent
