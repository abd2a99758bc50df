"""Joules of CPU packages and memory, from the kernel's RAPL counters under powercap."""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from pathlib import Path

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.protocol import (
    COUNTER_RESET,
    DEVICE_LOST,
    Conditions,
    Device,
    Reading,
    fault,
)
from pytest_energy.outcomes import Method

POWERCAP = "/sys/class/powercap"
ROOT_VARIABLE = "PYTEST_ENERGY_POWERCAP"
UPDATE_PERIOD_SECONDS = 0.001
RESOLUTION_JOULES = 61e-6
"""One energy unit of current server parts (2^-14 J)."""
MAX_PACKAGE_WATTS = 2000.0
"""More than any package or memory channel draws; bounds how soon a counter can wrap twice."""


class _Zone:
    """One RAPL counter: `domain` is `cpu` or `dram`, numbered where there are several."""

    def __init__(self, domain: str, path: Path, root: Path) -> None:
        self.domain = domain
        self.name = (path / "name").read_text().strip()
        self.range_joules = int((path / "max_energy_range_uj").read_text()) * 1e-6
        self.joules = 0.0
        self.path = path
        self.file = _open(path / "energy_uj", root)
        self._raw = self._read_raw()

    def read(self) -> None:
        """Add what the counter has gone on by; wrap-around is undone."""
        raw = self._read_raw()
        step = raw - self._raw
        self.joules += step if step >= 0 else step + self.range_joules
        self._raw = raw

    def _read_raw(self) -> float:
        try:
            return int(os.pread(self.file, 32, 0)) * 1e-6
        except (OSError, ValueError) as error:
            raise EnergyError(fault(DEVICE_LOST, f"`{self.path}` ({error})")) from None


class RaplMeter:
    """Cumulative joules of every CPU package and its memory; wrap-around is undone."""

    name = "rapl"
    method: Method = "counter"

    def __init__(self) -> None:
        root = Path(os.environ.get(ROOT_VARIABLE) or POWERCAP)
        self._zones = _zones(root)
        if not self._zones:
            raise MeterUnavailableError(
                f"meter `rapl`: no CPU energy counter under `{root}`; it takes a Linux kernel with "
                "`intel_rapl_msr` on bare metal (virtual machines rarely have it)"
            )
        self.devices: tuple[Device, ...] = tuple(
            Device(zone.domain, zone.name, f"rapl:{zone.path.name}") for zone in self._zones
        )
        self.update_period_seconds = UPDATE_PERIOD_SECONDS
        self.resolution_joules = RESOLUTION_JOULES
        self._seconds = real_time.monotonic()
        self._faults: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        # Read often enough that no counter can wrap twice unseen, however long the windows are.
        every = min(zone.range_joules for zone in self._zones) / MAX_PACKAGE_WATTS / 3
        self._thread = threading.Thread(
            target=self._read_on, args=(every,), name="pytest-energy-rapl", daemon=True
        )
        self._thread.start()

    def read(self) -> Reading:
        """Cumulative joules of each package and memory since the meter was opened (J)."""
        with self._lock:
            if self._closed.is_set():
                raise EnergyError("meter `rapl` is closed: open another one")
            for zone in self._zones:
                zone.read()
            now = real_time.monotonic()
            passed, self._seconds = now - self._seconds, now
            again = f"may have wrapped more than once in {passed:.0f} s; meter shorter windows"
            self._faults = tuple(
                fault(COUNTER_RESET, f"`{zone.domain}` {again}")
                for zone in self._zones
                if passed * MAX_PACKAGE_WATTS > zone.range_joules
            )
            return Reading(now, {zone.domain: zone.joules for zone in self._zones})

    def conditions(self) -> Conditions:
        """Whether the counters were read often enough to undo their wrap-around."""
        return Conditions(self._faults)

    def close(self) -> None:
        """Close the counters' files; a second call does nothing."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        for zone in self._zones:
            os.close(zone.file)

    def _read_on(self, every: float) -> None:
        with suppress(EnergyError):  # the next reading that is asked for says so
            while not self._closed.wait(every):
                self.read()


def probe() -> tuple[Method, str]:
    """Which counters would be read; `MeterUnavailableError` says why they cannot be."""
    meter = RaplMeter()
    meter.close()
    return meter.method, f"energy counter of {', '.join(d.domain for d in meter.devices)}"


def _zones(root: Path) -> list[_Zone]:
    # One zone is listed flat, inside its parent, or both ways.
    patterns = (
        "intel-rapl/intel-rapl:*/intel-rapl:*",
        "intel-rapl/intel-rapl:*",
        "intel-rapl:*/intel-rapl:*",
        "intel-rapl:*",
    )
    paths = {path.name: path for pattern in patterns for path in root.glob(pattern)}
    by_number = sorted(paths, key=lambda name: [int(digits) for digits in re.findall(r"\d+", name)])
    found = [(kind, paths[name]) for name in by_number if (kind := _kind(paths[name]))]
    kinds = [kind for kind, _ in found]
    zones = []
    for i, (kind, path) in enumerate(found):
        domain = kind if kinds.count(kind) == 1 else f"{kind}:{kinds[:i].count(kind)}"
        zones.append(_Zone(domain, path, root))
    return zones


def _kind(path: Path) -> str | None:
    """`cpu` for a package, `dram` for memory; core and uncore are parts of a package already."""
    try:
        name = (path / "name").read_text().strip()
    except OSError:
        return None
    if name.startswith("package"):
        return "cpu"
    return "dram" if name == "dram" else None


def _open(path: Path, root: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise MeterUnavailableError(
            f"meter `rapl`: `{path}` may not be read; allow it until the next boot with\n"
            f"  sudo chmod a+r {root}/intel-rapl:*/energy_uj"
        ) from None
    except OSError as error:
        raise MeterUnavailableError(f"meter `rapl`: `{path}`: {error.strerror}") from None
