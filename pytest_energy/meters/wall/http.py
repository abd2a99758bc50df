"""Wall readings polled from a smart plug: Shelly of either generation, or Tasmota, over HTTP.

A plug is a neighbour that may send anything: its answers are bounded in size and time, and nothing
is sent anywhere else.
"""

from __future__ import annotations

import io
import re
import socket
import threading
from base64 import b64encode
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

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
from pytest_energy.meters.wall.trace import WallReading, WallTrace
from pytest_energy.text import masked, one_line

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
        self._asking: threading.Thread | None = None
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

    def _answer(self, address: Address) -> bytes:
        """The body of the answer; `PlugError` if it is not whole in time, or none.

        A thread makes the request and is given up if it takes too long: a name's look-up has no
        limit, and each of its addresses has one of its own. While one hangs there is no other.
        """
        deadline = real_time.monotonic() + self._timeout
        if self._asking is not None:
            self._asking.join(self._timeout)
            if self._asking.is_alive():
                raise _timed_out()
        answers: list[bytes | Exception] = []

        def ask() -> None:
            try:
                answers.append(_requested(address, deadline))
            except Exception as error:
                answers.append(error)

        self._asking = threading.Thread(target=ask, name="wall request", daemon=True)
        self._asking.start()
        self._asking.join(max(0.0, deadline - real_time.monotonic()))
        if not answers:
            raise _timed_out()
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

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
        answer = self._answer(address)
        try:
            fields = json_fields(answer)
        except ValueError:
            raise PlugError("answers with something that is no JSON") from None
        except TypeError:
            raise PlugError("answers with no JSON object") from None
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


MOST_BYTES = 1 << 16
"""Of an answer; a plug's takes a few hundred."""


@dataclass(frozen=True)
class Address:
    """Where to ask: `path` with its query is empty if it is not known; `shown` has no secrets."""

    scheme: str
    host: str
    port: int | None
    path: str
    shown: str
    authorization: str | None = field(default=None, repr=False)


class PlugError(EnergyError):
    """What is wrong with an answer; `silent` if there was none at all."""

    def __init__(self, text: str, *, silent: bool = False) -> None:
        super().__init__(text)
        self.silent = silent


def _timed_out() -> PlugError:
    return PlugError("does not answer (timed out)", silent=True)


def _requested(address: Address, deadline: float) -> bytes:
    """The body of the answer; no single wait takes longer than until the deadline.

    Nothing is sent to another place than the address, whatever the answer says.
    """
    # No proxy: plugs are neighbours, and one that leads out of the house would not find them.
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    headers = {"Authorization": address.authorization} if address.authorization else {}
    try:
        left = deadline - real_time.monotonic()
        connection = kind(address.host, address.port, timeout=max(left, 0.001))
        connection.connect()
        with closing(connection.sock) as connected:
            connection.sock = _Until(connected, deadline)
            connection.request("GET", address.path, headers={**headers, "Connection": "close"})
            answer = connection.getresponse()
            body = answer.read(MOST_BYTES + 1) if answer.status == 200 else b""
        status, place = answer.status, answer.headers["Location"]
    except TimeoutError:
        raise _timed_out() from None
    except OSError as error:
        why = one_line(error.strerror or type(error).__name__)
        raise PlugError(f"does not answer ({why})", silent=True) from None
    except HTTPException:
        raise PlugError("answers with something that is no HTTP") from None
    except ValueError:  # of an address that cannot be sent, whose text may be secret
        raise PlugError("does not answer (its address cannot be asked for)", silent=True) from None
    if 300 <= status < 400 and place:
        elsewhere = _shown_place(address, place)
        raise PlugError(f"sends on to {elsewhere}; give that address if it is your plug's")
    if status != 200:
        raise PlugError(f"answers HTTP {status}{_HINTS.get(status, '')}")
    if len(body) > MOST_BYTES:
        raise PlugError(f"answers with more than {MOST_BYTES:,} bytes")
    return body


def _shown_place(address: Address, place: str) -> str:
    """Where an answer sends on to, without what may be secret in it."""
    try:
        whole = urljoin(f"{address.scheme}://{address.shown}/", place)
    except ValueError:
        return "what is no address"
    return f"`{one_line(masked(whole))}`"


_HINTS = {401: ": it wants a user and a password in its address, http://user:password@…"}


class _Until:
    """A connected socket as `http.client` uses one; what does not come in time is an error."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected, self._deadline = connected, deadline

    def sendall(self, data: Any) -> None:
        self.in_time().sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Answer(self))

    def close(self) -> None:
        """Nothing yet: the answer is still to be read."""

    def in_time(self) -> socket.socket:
        """The socket, whose next call waits for the time that is left."""
        left = self._deadline - real_time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connected.settimeout(left)
        return self._connected


class _Answer(io.RawIOBase):
    def __init__(self, connection: _Until) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._connection.in_time().recv_into(buffer)
