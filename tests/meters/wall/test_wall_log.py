"""Logs of plug meters and PDUs: which forms are read, and what is refused by file and line."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from pytest_energy.errors import DataError, MeterUnavailableError
from pytest_energy.meters.wall import open_wall
from pytest_energy.meters.wall.forms import plain
from pytest_energy.meters.wall.log import HISTORY_BYTES, WallLog
from pytest_energy.meters.wall.trace import WallTrace

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=timezone.utc).timestamp()


class Follower:
    """A log file and what has been read of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trace = WallTrace()

    def write(self, text: str) -> None:
        """Append to the file."""
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)

    def begin(self, text: str) -> WallTrace:
        """Write the file's first text and read it."""
        self.write(text)
        self.log = WallLog(self.path)
        return self.read()

    def read(self) -> WallTrace:
        """Read what was added."""
        self.log.refresh(self.trace)
        return self.trace


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    """A log that does not exist yet."""
    follower = Follower(tmp_path / "plug.log")
    yield follower
    if hasattr(follower, "log"):
        follower.log.close()


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,watts\n{iso}Z,100.5\n",
        "Time;Power (W)\n{iso}+00:00;100,5\n",
        "date\ttime\tW\n2026-11-24\t12:00:00Z\t100.5\n",
        "# a logger's remark\n\ntimestamp,phase,active_power\r\n{unix},L1,100.5\r\n",
        "ts,apower\n{milliseconds},100.5\n",
        '"time","kW"\n"{iso}.000000000+0000",0.1005\n',
        '{{"time": "{iso}Z", "power_w": 100.5, "state": null}}\n',
        '{{"timestamp": {unix}.0, "apower": 100.5, "aenergy": {{"by_minute": [1, 2]}}}}\n',
        '{{"Time": "{iso}Z", "ENERGY": {{"Power": 100.5, "Voltage": 230}}}}\n',
    ],
)
def test_forms_of_time_and_watts(follower: Follower, text: str) -> None:
    whole = text.format(iso="2026-11-24T12:00:00", unix=int(NOON), milliseconds=int(NOON * 1000))

    watts = follower.begin(whole).watts

    assert watts.seconds == [NOON]
    assert watts.values == [pytest.approx(100.5)]
    assert watts.digit == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "joules", "digit"),
    [
        ("time,kwh\n{},1.25\n", 4.5e6, 36_000),
        ("time,Energy [Wh]\n{},1250\n", 4.5e6, 3600),
        ("time,energy_joules\n{},4500000\n", 4.5e6, 1),
        ('{{"time": {}, "aenergy": {{"total": 1250.125}}}}\n', 4_500_450, 3.6),
        ('{{"time": {}, "ENERGY": {{"Total": 1.250}}}}\n', 4.5e6, 3600),
    ],
)
def test_forms_of_cumulative_energy(
    follower: Follower, text: str, joules: float, digit: float
) -> None:
    energy = follower.begin(text.format(NOON)).energy

    assert energy.values == [pytest.approx(joules)]
    assert energy.digit == pytest.approx(digit)


def test_a_time_without_a_zone_is_local(follower: Follower) -> None:
    local = datetime(2026, 11, 24, 12, 0, 0).astimezone().timestamp()

    assert follower.begin("time,watts\n2026-11-24 12:00:00,1\n").watts.seconds == [local]


def test_lines_that_are_added_are_picked_up(follower: Follower) -> None:
    follower.begin("timestamp,watts\n1,10\n")
    follower.write("2,20\n3,30\n")

    assert follower.read().watts.values == [10, 20, 30]
    assert follower.read().watts.values == [10, 20, 30]


@pytest.mark.fault(
    "wall meters",
    "the last line of a log is half written",
    "read when it is whole",
)
def test_a_half_written_last_line_waits_for_its_end(follower: Follower) -> None:
    assert follower.begin("timestamp,watts\n1,10\n2,2").watts.values == [10]

    follower.write("0\n")

    assert follower.read().watts.values == [10, 20]


def test_a_header_written_again_is_no_reading(follower: Follower) -> None:
    trace = follower.begin("timestamp,watts\n1,10\ntimestamp,watts\n2,20\n")

    assert trace.watts.values == [10, 20]


@pytest.mark.fault(
    "wall meters",
    "a line of a log is malformed in twelve ways",
    "named with its number, the next one is read",
)
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3,abc", "`abc` is no number"),
        ("3,", "`` is no number"),
        ("3,nan", "`nan` is no number from 0"),
        ("3,1e999", "`1e999` is no number from 0"),
        ("3,-4", "`-4` is no number from 0"),
        ("3", "has 1 columns, the header 2"),
        ("yesterday,4", "`yesterday` is no date and time"),
        ("2026-13-45T00:00:00,4", "is no date and time"),
        ('{"time": 3', "is no JSON object"),
        ('{"time": 3}', "needs a time .* and power"),
        ('{"watts": 3}', "needs a time"),
        ("3,\xff", "is no UTF-8 text"),
    ],
)
def test_a_malformed_line_is_named_and_the_next_one_is_read(
    follower: Follower, line: str, message: str
) -> None:
    follower.begin("timestamp,watts\n1,10\n\n")
    with follower.path.open("ab") as file:
        file.write(line.encode("latin-1") + b"\n5,50\n")

    with pytest.raises(DataError, match=rf"plug\.log` line 4: .*{message}"):
        follower.read()
    assert follower.read().watts.values == [10, 50]


@pytest.mark.parametrize("header", ["when,watts", "timestamp,volts", "1,2"])
def test_a_header_without_the_columns_says_which_are_needed(
    follower: Follower, header: str
) -> None:
    with pytest.raises(
        DataError, match=rf"line 1: needs a time .*found: {header.partition(',')[0]}"
    ):
        follower.begin(f"{header}\n1,10\n")


@pytest.mark.fault(
    "wall meters",
    "a log is moved or cut",
    "followed from its new beginning",
)
@pytest.mark.parametrize("how", ["moved", "cut"])
def test_a_log_that_is_begun_anew_is_followed(follower: Follower, how: str) -> None:
    follower.begin("timestamp,watts\n1,10\n2,20\n")
    if how == "moved":
        follower.path.rename(follower.path.with_suffix(".old"))
        follower.read()
    else:
        os.truncate(follower.path, 0)
    follower.write("timestamp,kW\n3,1\n")

    assert follower.read().watts.values == [10, 20, 1000]


def test_of_a_long_log_only_the_end_is_read(follower: Follower) -> None:
    lines = HISTORY_BYTES // 10
    rows = [f"{number:010d},7\n" for number in range(1, 2 * lines)]
    rows[1] = "an old line that nobody needs any more\n"
    trace = follower.begin("timestamp,watts\n" + "".join(rows))

    assert trace.watts.seconds[-1] == 2 * lines - 1
    assert 0 < len(trace.watts.seconds) <= lines
    follower.write("bad\n")
    with pytest.raises(DataError, match=f"line {2 * lines + 1}:"):
        follower.read()


def test_of_a_long_json_log_too(follower: Follower) -> None:
    row = json.dumps({"time": 1000000000, "watts": 7}) + "\n"
    count = 2 * HISTORY_BYTES // len(row)
    trace = follower.begin(row * count)

    assert 0 < len(trace.watts.seconds) <= HISTORY_BYTES // len(row) + 1


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(MeterUnavailableError, match=r"cannot be read .*give a log file"):
        WallLog(tmp_path / name)


@pytest.mark.attack(
    "plugs and pipes",
    "a wall log is a pipe or an endless device",
    "refused without a wait",
)
@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "/dev/tty"])
def test_what_is_no_regular_file_is_refused_without_a_wait(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(MeterUnavailableError, match=r"cannot be read .*give a log file"):
        WallLog(tmp_path / name)


def test_a_log_that_becomes_a_pipe_is_no_longer_read(follower: Follower) -> None:
    follower.begin("timestamp,watts\n1,10\n")
    follower.path.unlink()
    os.mkfifo(follower.path)

    with pytest.raises(DataError, match="is no regular file"):
        follower.read()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3," + "9" * 400, "`9{39}…` is no number from 0"),
        ("3,1e308", "`1e308` is no number from 0"),
        ("3,inf", "`inf` is no number from 0"),
        ("9" * 400 + ",3", "`9{39}…` is no date and time"),
        ("1e11,3\r4,5", "is no CSV"),
        ("99999999999,4", "`99999999999` is no date from 1970 to 2199"),
        ("9999-12-31T23:59:59Z,4", "is no date from 1970 to 2199"),
        ("0001-01-01T00:00:00Z,4", "is no date"),
        ('{"a":' * 4000 + "1" + "}" * 4000, "is longer than 16,384 bytes"),
        ('{"a":' * 2000 + "1" + "}" * 2000, "is no JSON object"),
        ("x" * 20000, "is longer than 16,384 bytes"),
    ],
)
def test_what_no_meter_writes_is_named_in_a_short_sentence(
    follower: Follower, line: str, message: str
) -> None:
    follower.begin("timestamp,watts\n1,10\n")
    follower.write(f"{line}\n5,50\n")

    with pytest.raises(DataError, match=rf"plug\.log` line 3: .*{message}") as caught:
        follower.read()
    assert len(str(caught.value)) < 500
    assert follower.read().watts.values == [10, 50]


def test_a_line_without_an_end_is_not_kept(follower: Follower) -> None:
    follower.begin("timestamp,watts\n1,10\n")
    for _ in range(3):
        follower.write("5" * 100_000)
        with pytest.raises(DataError, match="line 3: is longer than 16,384 bytes"):
            follower.read()
    follower.write("\n6,60\n")
    with pytest.raises(DataError, match="line 3: is longer than 16,384 bytes"):
        follower.read()
    assert follower.read().watts.values == [10, 60]


def test_a_log_that_grows_faster_than_it_can_be_read(follower: Follower) -> None:
    follower.begin("timestamp,watts\n1,10\n")
    follower.write("#" * 9999 + "\n")
    os.truncate(follower.path, 1 << 30)

    with pytest.raises(DataError, match=r"plug\.log` grows by more than 16,777,216 bytes"):
        follower.read()
    follower.write("\n9,90\n")
    assert follower.read().watts.values == [10, 90]


def test_a_log_larger_than_any_is_refused(follower: Follower) -> None:
    follower.write("timestamp,watts\n1,10\n")
    os.truncate(follower.path, 1 << 40)

    with pytest.raises(MeterUnavailableError, match="is larger than 1,073,741,824 bytes"):
        WallLog(follower.path)


TWO = "timestamp,{name},watts\n" + "".join(
    f"{1795600000 + second},{{{each}}},{watts}\n"
    for second in range(8)
    for each, watts in (("a", 100), ("b", 300))
)


@pytest.mark.fault(
    "wall meters",
    "two devices, or phases, are in one log by name",
    "refused with their names and their column",
)
@pytest.mark.parametrize(
    ("name", "a", "b"), [("device", "plug a", "plug\x1bb"), ("Entity ID", "x", "y"), ("id", 0, 1)]
)
def test_two_devices_in_one_log_are_named(
    follower: Follower, name: str, a: object, b: object
) -> None:
    with pytest.raises(DataError) as caught:
        follower.begin(TWO.format(name=name, a=a, b=b))

    assert str(caught.value).endswith(
        f"plug.log` line 4: several devices or phases take turns (`{a}`, `{str(b)!r}".replace(
            "'", ""
        )
        + f"` in `{plain(name)}`); give a log of one"
    )


def test_a_device_that_takes_anothers_place_is_read(follower: Follower) -> None:
    text = TWO.format(name="device", a="old", b="old") + "1795600010,new,50\n1795600011,new,50\n"

    assert follower.begin(text).watts.values[-1] == 50


def test_numbers_of_lines_are_no_devices(follower: Follower) -> None:
    rows = "".join(f"{number},{1795600000 + number},100\n" for number in range(2000))

    assert len(follower.begin("id,timestamp,watts\n" + rows).watts.values) == 2000


@pytest.mark.fault(
    "wall meters",
    "two loggers with clocks of their own write one log",
    "its times go back again and again: said, with how often",
)
@pytest.mark.parametrize("back", [30.0, 0.5])
def test_two_loggers_in_one_log_are_told(tmp_path: Path, back: float) -> None:
    path = tmp_path / "plug.log"
    now = time.time() - 20
    rows = [f"{now + n:.3f},100\n{now + n - back:.3f},300\n" for n in range(15)]
    path.write_text("timestamp,watts\n" + "".join(rows))

    with pytest.raises(MeterUnavailableError) as caught:
        open_wall(str(path))

    assert re.search(r"`plug.log`: its times went back \d+ times in its last 21", str(caught.value))
    assert "give a log that one writes, of one device" in str(caught.value)
