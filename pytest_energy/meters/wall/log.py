"""Wall readings from a log that a plug meter or PDU is writing: CSV or JSON, one a line."""

from __future__ import annotations

import csv
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from pytest_energy.errors import DataError, EnergyError, MeterUnavailableError
from pytest_energy.files import open_regular
from pytest_energy.meters.wall.forms import (
    DEVICES,
    JOULES,
    TIMES,
    WATTS,
    first_figure,
    json_fields,
    moment,
    plain,
)
from pytest_energy.meters.wall.trace import WallReading, WallTrace
from pytest_energy.text import encodable, one_line

HISTORY_BYTES = 1 << 18
"""How much of a log that is there already is read; of what is older, lines are only counted."""
LARGEST_BYTES = 1 << 30
"""A log that is larger is refused: counting its lines would take long."""
MOST_NEW_BYTES = 1 << 24
"""No logger writes more between two looks."""
LONGEST_LINE = 1 << 14
"""Bytes of a line; a reading takes some dozens, a plug's whole status some hundreds."""

_MOST_DEVICES, _SHOWN_DEVICES = 64, 3

_DELIMITERS = ",;\t"


class WallLog:
    """Follows a log file: each `refresh` takes in the whole lines that were added.

    A last line without its end waits for it. A log that is replaced or cut is begun anew.
    """

    def __init__(self, path: Path) -> None:
        self.shown = one_line(encodable(path.name))
        self.trouble: str | None = None
        self._path = path
        self._unread, self._number = b"", 0
        try:
            self._begin(open_regular(path))
        except DataError as error:
            raise MeterUnavailableError(
                f"meter `wall`: the log cannot be read ({error}); give a log file, or the http:// "
                "address of a plug"
            ) from None
        try:
            self._skip_history()
        except EnergyError:
            self.close()
            raise

    def refresh(self, trace: WallTrace) -> None:
        """Add new readings; raises `DataError` with file and line, and goes on after that line."""
        self._follow()
        self._unread += self._file.read(MOST_NEW_BYTES)
        whole, end, self._unread = self._unread.rpartition(b"\n")
        if end:
            self._lines.extend(whole.split(b"\n"))
        while self._lines:
            self._number += 1
            reading = self._reading(self._lines.popleft())
            if reading is not None:
                trace.add(reading)
        self._end_unless_flooded()
        if len(self._unread) > LONGEST_LINE:
            self._unread = self._unread[: LONGEST_LINE + 1]  # it is said again until it ends
            raise self._error(_TOO_LONG, self._number + 1)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _begin(self, file: BinaryIO) -> None:
        self._file = file
        self._lines: deque[bytes] = deque()
        self._unread, self._number = b"", 0
        self._columns: list[str] | None = None
        self._devices: dict[str, deque[str]] = {}
        self._header, self._delimiter = "", ","

    def _skip_history(self) -> None:
        size = os.fstat(self._file.fileno()).st_size
        if size <= HISTORY_BYTES:
            return
        if size > LARGEST_BYTES:
            raise MeterUnavailableError(
                f"meter `wall`: `{self._path}` is larger than {LARGEST_BYTES:,} bytes; begin a new "
                "log"
            )
        while self._columns is None and self._file.tell() < size:
            line = self._file.readline(LONGEST_LINE + 1)
            self._number += 1
            if line.strip().startswith(b"{"):
                break
            self._reading(line)
        while (left := size - HISTORY_BYTES - self._file.tell()) > 0:
            self._number += self._file.read(min(left, HISTORY_BYTES)).count(b"\n")
        self._number += 1
        self._file.readline()

    def _end_unless_flooded(self) -> None:
        """More than can be read would never end, and its readings would come too late."""
        here = os.fstat(self._file.fileno()).st_size
        if here - self._file.tell() > MOST_NEW_BYTES:
            self._file.seek(here)
            self._unread = b""
            raise DataError(
                f"`{self._path}` grows by more than {MOST_NEW_BYTES:,} bytes between two looks, "
                "which no plug meter reports; see what writes to it"
            )

    def _follow(self) -> None:
        here = os.fstat(self._file.fileno())
        try:
            replaced = self._path.stat().st_ino != here.st_ino
            if replaced or here.st_size < self._file.tell():
                fresh = open_regular(self._path)
                self._file.close()
                self._begin(fresh)
        except OSError:
            return  # between the old log and the new one

    def _reading(self, line: bytes) -> WallReading | None:
        if len(line) > LONGEST_LINE:
            raise self._error(_TOO_LONG)
        try:
            text = line.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise self._error("is no UTF-8 text") from None
        if not text or text.startswith("#") or text == self._header:
            return None
        if text.startswith("{"):
            try:
                return self._of_fields(json_fields(text))
            except ValueError:
                raise self._error("is no JSON object") from None
        if self._columns is None:
            self._read_header(text)
            return None
        cells = self._cells(text)
        if len(cells) != len(self._columns):
            raise self._error(f"has {len(cells)} columns, the header {len(self._columns)}")
        return self._of_fields(dict(zip(self._columns, cells, strict=True)))

    def _read_header(self, text: str) -> None:
        self._header = text
        self._delimiter = max(_DELIMITERS, key=text.count)
        columns = [plain(cell) for cell in self._cells(text)]
        if not {*TIMES}.intersection(columns) or not {*WATTS, *JOULES}.intersection(columns):
            raise self._error(f"{_NAMES}; found: {one_line(', '.join(columns), 100)}")
        self._columns = columns

    def _cells(self, text: str) -> list[str]:
        try:
            cells = next(csv.reader([text], delimiter=self._delimiter))
        except csv.Error as error:
            raise self._error(f"is no CSV ({error})") from None
        # Where commas do not part columns they are decimal ones.
        return cells if self._delimiter == "," else [cell.replace(",", ".") for cell in cells]

    def _of_fields(self, fields: Mapping[str, str]) -> WallReading:
        when = next((fields[name] for name in TIMES if name in fields), None)
        if "date" in fields and "time" in fields:
            when = f"{fields['date'].strip()} {fields['time'].strip()}"
        if when is None or not fields.keys() & {*WATTS, *JOULES}:
            raise self._error(_NAMES)
        self._require_one_device(fields)
        try:
            seconds, watts = moment(when), first_figure(fields, WATTS)
            return WallReading(seconds, watts, first_figure(fields, JOULES))
        except ValueError as error:
            raise self._error(str(error)) from None

    def _require_one_device(self, fields: Mapping[str, str]) -> None:
        """Raise `DataError` if devices take turns; one that takes another's place may."""
        for name in DEVICES:
            if name not in fields:
                continue
            value, known = one_line(fields[name], 40), self._devices.setdefault(name, deque())
            if value in known and value != known[-1]:
                shown = ", ".join(f"`{each}`" for each in list(known)[-_SHOWN_DEVICES:])
                raise DataError(
                    f"`{self._path}` line {self._number}: "
                    f"several devices or phases take turns ({shown} in `{name}`); give a log of one"
                )
            if value not in known:
                known.append(value)
            if len(known) > _MOST_DEVICES:  # such as numbers of lines, which are no devices
                known.popleft()

    def _error(self, what: str, number: int | None = None) -> DataError:
        return DataError(
            f"`{self._path}` line {number or self._number}: {what}; mend or remove the line, or "
            "begin a new log"
        )


_TOO_LONG = f"is longer than {LONGEST_LINE:,} bytes"
_NAMES = (
    "needs a time (`timestamp`, `time` or `date`) and power (`watts`, `power`, `apower`, …) or "
    "cumulative energy (`kwh`, `wh`, `aenergy.total`, …)"
)
