"""Joules of CPU packages and memory, from the kernel's RAPL counters under powercap."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from pytest_energy.clocks import real_time
from pytest_energy.errors import DataError, EnergyError, MeterUnavailableError
from pytest_energy.files import read_bytes
from pytest_energy.meters.protocol import (
    COUNTER_RESET,
    DEVICE_LOST,
    IMPLAUSIBLE,
    LAG_SECONDS,
    LIMIT_MARGIN,
    MOST_WATTS,
    NOT_WATCHED,
    Conditions,
    Device,
    FaultLog,
    Opened,
    Reading,
    fault,
)
from pytest_energy.outcomes import Method
from pytest_energy.text import decoded, encodable, one_line

POWERCAP = "/sys/class/powercap"
ROOT_VARIABLE = "PYTEST_ENERGY_POWERCAP"
UPDATE_PERIOD_SECONDS = 0.001
RESOLUTION_JOULES = 61e-6
"""One energy unit of current server parts (2^-14 J)."""
LEAST_INTERVAL = 0.1
"""Between two looks of the thread (s), however soon a counter wraps."""


class RaplMeter:
    """Cumulative joules of every CPU package and its memory; wrap-around is undone.

    `remarks` say which zones are left out or counted once.
    """

    name = "rapl"
    method: Method = "counter"

    def __init__(self) -> None:
        root = Path(os.environ.get(ROOT_VARIABLE) or POWERCAP)
        self._seconds = self._seconds_before = real_time.monotonic()
        self._zones, self.remarks = open_zones(root, self._seconds)
        if not self._zones:
            raise MeterUnavailableError(
                f"meter `rapl`: no CPU energy counter under `{encodable(str(root))}`; it takes a "
                "Linux kernel with `intel_rapl_msr` on bare metal (virtual machines rarely have it)"
            )
        self.devices: tuple[Device, ...] = tuple(
            Device(zone.domain, zone.name, f"rapl:{encodable(zone.path.name)}", zone.limit_watts)
            for zone in self._zones
        )
        self.update_period_seconds = UPDATE_PERIOD_SECONDS
        self.resolution_joules = RESOLUTION_JOULES
        self._faults = FaultLog()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._open = Opened(self.name)
        # Read often enough that no counter can wrap twice unseen, however long the windows are.
        soonest = min(zone.range_joules / zone.most_watts for zone in self._zones)
        every, name = max(soonest / 3, LEAST_INTERVAL), "pytest-energy-rapl"
        self._thread = threading.Thread(target=self._read_on, args=(every,), name=name, daemon=True)
        self._thread.start()

    def read(self) -> Reading:
        """Cumulative joules of each package and memory since the meter was opened (J)."""
        self._open.check()
        with self._lock:
            now = real_time.monotonic()
            self._seconds_before, self._seconds = self._seconds, now
            for zone in self._zones:
                if wrong := zone.read(now):
                    self._faults.add(now, wrong)
            joules = {zone.domain: zone.joules for zone in self._zones}
            return Reading(real_time.monotonic(), joules)

    def conditions(self) -> Conditions:
        """Whether the last reading can be believed."""
        return Conditions(self.faults_since(self._seconds_before))

    def faults_since(self, seconds: float) -> tuple[str, ...]:
        """What was wrong with readings after that time, and whether somebody watches for more."""
        found = self._faults.since(seconds)
        if self._thread.is_alive():
            return found
        return (*found, fault(NOT_WATCHED, "the thread that reads the counters has ended"))

    def close(self) -> None:
        """Close the counters' files; a second call does nothing."""
        if not self._open.close():
            return
        self._closed.set()
        self._thread.join()
        for zone in self._zones:
            zone.close()

    def _read_on(self, every: float) -> None:
        while not self._closed.wait(every):
            try:
                self.read()
            except EnergyError as error:  # noqa: PERF203 - each look may fail
                self._faults.add(real_time.monotonic(), str(error))


def probe() -> tuple[Method, str]:
    """Which counters would be read; `MeterUnavailableError` says why they cannot be."""
    meter = RaplMeter()
    meter.close()
    domains = ", ".join(device.domain for device in meter.devices)
    return meter.method, "; ".join([f"energy counter of {domains}", *meter.remarks])


CONTROL_TYPES = ("intel-rapl", "intel-rapl-mmio")
"""Where zones are listed. A package's memory-mapped twin is read if there is nothing else of it."""
LOOKS = 3
"""So often is looked at a counter that shows nothing, and at two that differ: one may just move."""
RETRY_SECONDS = 0.001
_SHOWN_BYTES = 64


class Zone:
    """One RAPL counter: `kind` is `cpu` or `dram`, `domain` is numbered if there are several.

    `joules` are those since it was opened. `limit_watts` is the largest limit that the kernel
    knows of a package; None if it knows none. `twin` shows the same counts so far.
    Raises `MeterUnavailableError` if one of its files does not hold what it must.
    """

    def __init__(self, path: Path, kind: str, name: str, now: float) -> None:
        self.path, self.kind, self.name, self.domain = path, kind, name, kind
        self.range_joules = _figure(path / "max_energy_range_uj", least=1) * 1e-6
        self.limit_watts = _limit_watts(path) if kind == "cpu" else None
        self.most_watts = LIMIT_MARGIN * (self.limit_watts or MOST_WATTS)
        _figure(path / "energy_uj")
        try:
            self._file = os.open(path / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise MeterUnavailableError(f"meter `rapl`: `{path}`: {error.strerror}") from None
        self.joules = 0.0
        self.twin: Zone | None = None
        self._count, self._seconds = self.count(), now

    def read(self, now: float) -> str | None:
        """Add what the counter went on by; says what is wrong with that.

        Wrap-around is undone only if no more power than the zone can draw explains it.
        """
        if self.twin is not None and not self.shows_same_as(self.twin):
            self.twin = None
        before, self._count = self._count, self.count()
        seconds, self._seconds = now - self._seconds, now
        if self.twin is not None:
            return None
        most = self.most_watts * (seconds + LAG_SECONDS)
        step = self._count - before
        further = step if step >= 0 else step + self.range_joules
        if further <= most:
            self.joules += further
            if self.most_watts * seconds <= self.range_joules:
                return None
            again = f"may have wrapped more than once in {seconds:.0f} s"
            return fault(COUNTER_RESET, f"`{self.domain}` {again}; meter shorter windows")
        if step < 0:
            fell = f"fell from {before:.6f} to {self._count:.6f} J in {seconds:.3g} s"
            return fault(COUNTER_RESET, f"`{self.domain}` {fell}, which is no wrap-around")
        went = f"`{self.domain}` went on by {step:.6g} J in {seconds:.3g} s"
        return fault(IMPLAUSIBLE, f"{went}, more than {self.most_watts:.0f} W give")

    def count(self) -> float:
        """What the counter shows now (J); `EnergyError` if it is gone."""
        try:
            if not os.fstat(self._file).st_nlink:
                raise ValueError("it was removed")
            for _ in range(LOOKS):
                text = os.pread(self._file, _SHOWN_BYTES, 0).strip()
                if text.isdigit():
                    return int(text) * 1e-6
                real_time.sleep(RETRY_SECONDS)
            raise ValueError(f"it shows `{one_line(decoded(text))}`")
        except (OSError, ValueError) as error:
            raise EnergyError(fault(DEVICE_LOST, f"`{self.path}` ({error})")) from None

    def shows_same_as(self, other: Zone) -> bool:
        """Whether both show one count, between two looks at the other."""
        return any(other.count() <= self.count() <= other.count() for _ in range(LOOKS))

    def close(self) -> None:
        """Close the counter's file."""
        os.close(self._file)


def open_zones(root: Path, now: float) -> tuple[list[Zone], list[str]]:
    """Zones of packages and memory under `root`, in order, and what a person should know of them.

    A memory zone that does not work is left out, and said. `MeterUnavailableError` if a package's
    does not work, since the others' joules would pass for all.
    """
    zones: list[Zone] = []
    remarks: list[str] = []
    with ExitStack() as opened:
        for path, kind, name in _to_read(root):
            try:
                zones.append(Zone(path, kind, name, now))
                opened.callback(zones[-1].close)
            except MeterUnavailableError as error:  # noqa: PERF203 - a few zones
                if kind == "cpu":
                    raise
                remarks.append(f"{error}; its joules are left out")
        _find_twins(zones)
        opened.pop_all()
    for zone in zones:
        same = [other for other in zones if other.kind == zone.kind]
        zone.domain = zone.kind if len(same) == 1 else f"{zone.kind}:{same.index(zone)}"
    remarks += [
        f"meter `rapl`: `{zone.name}` (`{zone.domain}`) shows the counts of `{zone.twin.name}` "
        f"(`{zone.twin.domain}`), which are counted once"
        for zone in zones
        if zone.twin and zone.count()
    ]
    return zones, remarks


def _to_read(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Path, kind and name of the zones to read: each package's of one control type alone."""
    listed: dict[tuple[str, str], str] = {}
    for control in CONTROL_TYPES:
        for path in _listed(root, control):
            name = _name(path)
            if kind := _kind(name):
                parent = path.with_name(":".join(path.name.split(":")[:2]))
                of = name if kind == "cpu" else _name(parent) or _name(path.parent)
                package = of.partition("-die-")[0]  # its name is like `package-0-die-1`
                if listed.setdefault((kind, package), control) == control:
                    yield path, kind, one_line(name, _SHOWN_BYTES)


def _listed(root: Path, control: str) -> list[Path]:
    """A control type's zones by number; one is listed flat, inside its parent, or both ways."""
    inside = (f"{control}/{control}:*/{control}:*", f"{control}:*/{control}:*")
    patterns = (inside[0], f"{control}/{control}:*", inside[1], f"{control}:*")
    paths = {path.name: path for pattern in patterns for path in root.glob(pattern)}
    numbers = {name: [int(digits) for digits in re.findall(r"\d{1,9}", name)] for name in paths}
    return [paths[name] for name in sorted(paths, key=lambda name: numbers[name])]


def _name(path: Path) -> str:
    try:
        return decoded(read_bytes(path / "name", _SHOWN_BYTES)).strip()
    except DataError:
        return ""


def _kind(name: str) -> str | None:
    """`cpu` for a package, `dram` for memory; core and uncore are parts of a package already.

    `psys` is the whole board: packages and memory are in it.
    """
    return "cpu" if name.startswith("package") else "dram" if name == "dram" else None


def _find_twins(zones: list[Zone]) -> None:
    """Some kernels list one counter once for each die, some virtual machines for each socket."""
    for i, zone in enumerate(zones):
        same = (other for other in zones[:i] if other.kind == zone.kind and other.twin is None)
        zone.twin = next((other for other in same if zone.shows_same_as(other)), None)


def _figure(path: Path, least: int = 0) -> int:
    """The whole number that a file holds; `MeterUnavailableError` if it holds none from `least`."""
    try:
        text = decoded(read_bytes(path, _SHOWN_BYTES)).strip()
    except DataError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise MeterUnavailableError(f"meter `rapl`: {error}") from None
        files = f"{path.parent.parent}/{path.parent.name.partition(':')[0]}:*/{path.name}"
        raise MeterUnavailableError(
            f"meter `rapl`: `{path}` may not be read; allow it until the next boot with\n"
            f"  sudo chmod a+r {files}"
        ) from None
    if not text.isdecimal() or int(text) < least:
        raise MeterUnavailableError(
            f"meter `rapl`: `{path}` holds `{one_line(text)}` and no whole number from {least}"
        )
    return int(text)


def _limit_watts(path: Path) -> float | None:
    """The largest power limit of a package that the kernel tells (W)."""
    found = [0]
    for limit in (*path.glob("constraint_*_max_power_uw"), *path.glob("constraint_*_limit_uw")):
        with suppress(MeterUnavailableError):  # a limit that is not told is none
            found.append(_figure(limit))
    # A board without limits says thousands of watts.
    return min(max(found) * 1e-6, MOST_WATTS) or None
