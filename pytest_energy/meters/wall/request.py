"""One HTTP request to a neighbour that may send anything: bounded, and sent nowhere else."""

from __future__ import annotations

import io
import socket
import threading
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urljoin

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.text import masked, one_line

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


class Requests:
    """Asks one neighbour, one request at a time.

    Each is made by a thread that is given up if it takes too long. A name's look-up has no limit,
    and each of its addresses has one of its own. While one hangs there is no other.
    """

    def __init__(self) -> None:
        self._asking: threading.Thread | None = None

    def get(self, address: Address, seconds: float) -> bytes:
        """The body of the answer; `PlugError` if it is not whole after so many seconds, or none.

        Nothing is sent to another place than the address, whatever the answer says.
        """
        deadline = real_time.monotonic() + seconds
        if self._asking is not None:
            self._asking.join(seconds)
            if self._asking.is_alive():
                raise _timed_out()
        answers: list[bytes | Exception] = []

        def ask() -> None:
            try:
                answers.append(_answer(address, deadline))
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


def _timed_out() -> PlugError:
    return PlugError("does not answer (timed out)", silent=True)


def _answer(address: Address, deadline: float) -> bytes:
    """The body of the answer; no single wait takes longer than until the deadline."""
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
        """Send all of it."""
        self.in_time().sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The answer, to be read."""
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
