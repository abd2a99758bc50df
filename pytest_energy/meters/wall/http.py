"""Wall readings polled from a smart plug: Shelly of either generation, or Tasmota, over HTTP."""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.protocol import READING_MISSING, fault
from pytest_energy.meters.wall.forms import (
    KILOWATT_HOUR,
    WATT_HOUR,
    WATT_MINUTE,
    Figure,
    figure,
    first_figure,
    json_fields,
)
from pytest_energy.meters.wall.request import Address, PlugError, Requests
from pytest_energy.meters.wall.trace import WallReading, WallTrace
from pytest_energy.text import one_line

INTERVAL_SECONDS = 1.0
"""Between polls; the plugs renew their power about once a second."""

TIMEOUT_SECONDS = 2.0
"""Of one whole request, its name's look-up included, whatever comes meanwhile."""

_WAITING = 1 << 16
"""So many readings wait for the next look."""


@dataclass(frozen=True)
class Form:
    """How one family of plugs answers: where to ask, names of its figures, joules per energy unit.

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
    Raises `MeterUnavailableError` if it does not answer, or not as one of `FORMS` does.
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
        self._requests = Requests()
        address = _taken_apart(url)
        self.shown = address.shown
        self._address, self._form, first = self._found(address)
        self._new: deque[WallReading] = deque([first], maxlen=_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="wall plug", daemon=True)
        self._thread.start()

    def refresh(self, trace: WallTrace) -> None:
        """Add the readings that came since the last call; `EnergyError` if nobody polls."""
        while self._new:
            trace.add(self._new.popleft())
        if not self._thread.is_alive():
            ended = "the thread that polls it has ended"
            raise EnergyError(fault(READING_MISSING, f"`{self.shown}`: {ended}"))

    def close(self) -> None:
        """Stop polling; a request that hangs is left to itself."""
        self._stop.set()
        self._thread.join(self._timeout + 1.0)

    def _poll(self) -> None:
        due = real_time.monotonic() + self._interval
        while not self._stop.wait(due - real_time.monotonic()):
            try:
                self._new.append(self._ask(self._address, self._form))
                self.trouble = None
            except PlugError as error:
                self.trouble = str(error)
            except Exception as error:  # whatever a plug sends, the next answer may be good
                self.trouble = f"answers with what cannot be read ({type(error).__name__})"
            due = max(due + self._interval, real_time.monotonic())

    def _found(self, address: Address) -> tuple[Address, Form, WallReading]:
        reasons = []
        for form in FORMS:
            asked = address if address.path else replace(address, path=form.query)
            try:
                return asked, form, self._ask(asked, form)
            except PlugError as error:
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

    def _ask(self, address: Address, form: Form) -> WallReading:
        began = real_time.unix_seconds()
        fields = _fields(self._requests.get(address, self._timeout))
        ended = real_time.unix_seconds()
        if form.good and fields.get(form.good) == str(False):
            raise PlugError(f"says that its figures are not valid (`{form.good}`)")
        try:
            watts = figure(fields[form.watts])
            joules = first_figure(fields, {form.energy: form.joules_a_unit})
        except KeyError:
            raise PlugError(f"has no `{form.watts}` in its answer") from None
        except ValueError as error:
            raise PlugError(f"answers with a figure that is none: {error}") from None
        stamp = Figure((began + ended) / 2, max(ended - began, 0.0))
        return WallReading(stamp, watts, joules)


def _fields(text: bytes) -> Mapping[str, str]:
    try:
        return json_fields(text)
    except ValueError:
        raise PlugError("answers with something that is no JSON") from None
    except TypeError:
        raise PlugError("answers with no JSON object") from None


def _taken_apart(url: str) -> Address:
    """Where a plug is asked; what is shown of it is host and port, since the rest may be secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
        if not parts.hostname or "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError
    except ValueError:  # whose text may hold a part of a password
        place = re.split(r"[/?#]", url.partition("://")[2].rpartition("@")[2])[0]
        raise MeterUnavailableError(
            f"meter `wall`: no address of a plug (host or port of `{one_line(place)}`); give one "
            "such as http://192.168.1.20. Write `@`, `/`, `?`, `#` and `:` in a password as %40, "
            "%2F, %3F, %23 and %3A"
        ) from None
    authorization = None
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = f"Basic {b64encode(secret).decode()}"
    bare = parts.path in ("", "/") and not parts.query
    path = "" if bare else f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    host = one_line(parts.hostname)
    return Address(
        parts.scheme, parts.hostname, port, path, f"{host}:{port}" if port else host, authorization
    )
