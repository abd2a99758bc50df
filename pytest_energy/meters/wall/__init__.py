"""Joules at the wall, from what a plug meter or PDU reports: a log that it writes, or its HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.protocol import (
    CLOCK_JUMP,
    READING_MISSING,
    SOURCES_DISAGREE,
    Conditions,
    Device,
    Measured,
    Opened,
    Reading,
    fault,
)
from pytest_energy.meters.wall.trace import DisagreeError, NotCoveredError, WallJoules, WallTrace
from pytest_energy.outcomes import Method
from pytest_energy.text import one_line

DOMAIN = "wall"
PATIENCE_PERIODS = 3.0
PATIENCE_SECONDS = 1.0
"""How long a finished window waits for the reading after it: three usual periods and this."""
CLOCK_MOVED_SECONDS = 0.05
"""A step of the system's clock in a window that readings, which go by it, do not survive."""
LONGEST_PERIOD_SECONDS = 120.0
"""Nothing waits for readings that come more seldom."""
AHEAD_SECONDS = 5.0
"""Readings dated so far after now come from a clock that is wrong: all of them are misplaced."""
_LEAST_READINGS = 2
_SHORTEST_LOOK, _LONGEST_LOOK = 0.005, 0.25


class Source(Protocol):
    """Where readings come from; `shown` names it, `trouble` says why none came lately."""

    shown: str
    trouble: str | None

    def refresh(self, trace: WallTrace) -> None:
        """Add new readings to a trace; raises `EnergyError` for what cannot be read."""

    def close(self) -> None:
        """Let go of the source; a second call does nothing."""


class WallMeter:
    """Joules of everything behind one plug; begins and ends windows by the readings' own times.

    A window that the readings do not cover is invalid, with what is missing. The accuracy of the
    plug itself (1 % is usual) is not in the uncertainty: nothing here can know it.
    """

    name = "wall"
    method: Method = "external"

    def __init__(self, source: Source) -> None:
        self._source = source
        self._trace = WallTrace()
        self.devices: tuple[Device, ...] = (Device(DOMAIN, source.shown, f"wall:{source.shown}"),)
        self.update_period_seconds = self.resolution_joules = 0.0
        self._open = Opened(self.name)
        try:
            self._first_readings()
        except EnergyError:
            self.close()
            raise
        self._opened = self._trace.last

    def joules_between(self, started: float, ended: float) -> WallJoules:
        """Joules from one Unix time to another (s); waits a while for a reading after `ended`.

        Raises `EnergyError` if the readings do not cover all of it.
        """
        self._refresh()
        self._wait_until(lambda: self._trace.last >= ended, self._patience)
        if ahead := self._ahead():
            raise self._missing(ahead)
        return self._covered(started, ended)

    def begin(self) -> WallSpan:
        """Begin a window now."""
        return WallSpan(self)

    def read(self) -> Reading:
        """Joules since the meter was opened, up to the last reading, with the time of that (s)."""
        self._refresh()
        last = self._trace.last
        age = real_time.unix_seconds() - last
        joules = self._covered(self._opened, last).joules
        return Reading(real_time.monotonic() - age, {DOMAIN: joules})

    def conditions(self) -> Conditions:
        """Whether readings still come."""
        try:
            self._refresh()
        except EnergyError as error:
            return Conditions((fault(READING_MISSING, str(error)),))
        age = real_time.unix_seconds() - self._trace.last
        old = f"its last reading is {age:.3g} s old" if age > self._patience else None
        wrong = old or self._ahead()
        return Conditions((str(self._missing(wrong)),) if wrong else ())

    def close(self) -> None:
        """Let go of the log or the plug; reading afterwards is an error."""
        if self._open.close():
            self._source.close()

    @property
    def _patience(self) -> float:
        return PATIENCE_PERIODS * self.update_period_seconds + PATIENCE_SECONDS

    def _first_readings(self) -> None:
        self._refresh()
        if not self._wait_until(lambda: self._trace.readings >= _LEAST_READINGS, PATIENCE_SECONDS):
            if disorder := self._trace.disorder:
                raise MeterUnavailableError(f"meter `wall`: `{self._source.shown}`: {disorder}")
            why = self._source.trouble or f"{self._trace.readings} in {PATIENCE_SECONDS:g} s"
            raise MeterUnavailableError(
                f"meter `wall`: `{self._source.shown}` has fewer than {_LEAST_READINGS} "
                f"readings ({why}); let it run first, then try again"
            )

    def _wait_until(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Take readings in until it is ready; False: it is not after so long."""
        give_up = real_time.monotonic() + seconds
        while not ready():
            if real_time.monotonic() >= give_up:
                return False
            real_time.sleep(min(max(self.update_period_seconds / 4, _SHORTEST_LOOK), _LONGEST_LOOK))
            self._refresh()
        return True

    def _covered(self, started: float, ended: float) -> WallJoules:
        try:
            return self._trace.between(started, ended)
        except NotCoveredError as error:
            raise self._missing(self._trace.disorder or str(error)) from None
        except DisagreeError as error:
            wrong = fault(SOURCES_DISAGREE, f"`{self._source.shown}`: {error}")
            raise EnergyError(wrong) from None

    def _refresh(self) -> None:
        self._open.check()
        self._source.refresh(self._trace)
        self.update_period_seconds = min(self._trace.period_seconds, LONGEST_PERIOD_SECONDS)
        self.resolution_joules = self._trace.resolution_joules

    def _ahead(self) -> str | None:
        ahead = self._trace.last - real_time.unix_seconds()
        if ahead <= AHEAD_SECONDS:
            return None
        return f"its last reading is dated {ahead:.3g} s after now; set both clocks by NTP"

    def _missing(self, what: str) -> EnergyError:
        trouble = f" (it {self._source.trouble})" if self._source.trouble else ""
        return EnergyError(fault(READING_MISSING, f"`{self._source.shown}`: {what}{trouble}"))


class WallSpan:
    """A window of wall joules; its times are the system's, as the readings' are."""

    def __init__(self, meter: WallMeter) -> None:
        self._meter = meter
        self.started = real_time.monotonic()
        self._ahead = real_time.unix_seconds() - self.started

    def end(self, ended: float) -> Measured:
        """Joules from `started` to `ended` (`real_time.monotonic`), once a reading came after."""
        ahead = real_time.unix_seconds() - real_time.monotonic()
        moved = ahead - self._ahead
        if abs(moved) > CLOCK_MOVED_SECONDS:
            jump = f"the system's clock moved by {moved:+.3g} s in the window"
            return Measured({DOMAIN: 0.0}, 0.0, (fault(CLOCK_JUMP, jump),))
        found = self._meter.joules_between(self.started + self._ahead, ended + ahead)
        return Measured({DOMAIN: found.joules}, found.uncertainty_joules)


def open_wall(source: str, interval_seconds: float | None = None) -> WallMeter:
    """Open a wall meter by what reports it: a log file's path, or a plug's http(s) address.

    `interval_seconds` is that between polls of a plug (default 1 s). Raises
    `MeterUnavailableError` if nothing is reported, `DataError` for a log that is malformed.
    """
    scheme, is_address, _ = source.partition("://")
    if is_address and "/" not in scheme:
        if scheme.lower() not in ("http", "https"):
            known = "give an http:// address, or the path of a log file"
            raise MeterUnavailableError(
                f"meter `wall`: `{one_line(scheme)}://` is not known: {known}"
            )
        from pytest_energy.meters.wall.http import INTERVAL_SECONDS, WallPlug

        return WallMeter(WallPlug(source, interval_seconds or INTERVAL_SECONDS))
    from pytest_energy.meters.wall.log import WallLog

    return WallMeter(WallLog(Path(source)))
