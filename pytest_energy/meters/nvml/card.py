"""Typed calls to one card.

Those that windows are made of go straight to the driver's library. Between a look and the sleep
before it the caches go cold, and then what pynvml does around a call costs more than the call. It
looks the function up, asks twice for a list and copies its entries.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ctypes import Structure, byref, c_int, c_uint, c_ulonglong, create_string_buffer
from functools import partial
from typing import Any, ClassVar, Final

from pytest_energy.errors import EnergyError
from pytest_energy.meters.protocol import DEVICE_LOST, Device, fault
from pytest_energy.text import decoded, one_line

MOST_PROCESSES: Final = 32
"""So many processes are listed in one call; more of them cost two."""
LISTINGS: Final = 3
AMPERE: Final = 7
GA100: Final = 0x20
FIELD_POWER_INSTANT: Final = 186
SCOPE_MODULE: Final = 1
MODULES: Final = re.compile(r"\bG[HB][23]00\b|\bGrace\b")
"""Names of GPUs on one module with their CPU, whose counter is of all of it."""
CLOCK_SM: Final = 1
PROCESSES: Final = "ComputeRunningProcesses_v3"
REASONS: Final = "CurrentClocksEventReasons"
FIELDS: Final = "FieldValues"
POWER_LIMIT: Final = "power limit (mW)"
MAX_CLOCK: Final = "maximum SM clock (MHz)"
APPLICATION_CLOCK: Final = "application SM clock (MHz)"
TEXT_BYTES: Final = 96
UNKNOWN_NAME: Final = "unknown"
NEVER: Final = ("NOT_SUPPORTED", "FUNCTION_NOT_FOUND", "NO_PERMISSION", "INVALID_ARGUMENT")
"""Errors of a query that would fail again; what a query that failed once gave before is kept."""
MATTERS: Final = {
    PROCESSES: "which processes compute on it, so a foreign process may go unseen",
    REASONS: "why its clocks are where they are, so throttling may go unseen",
    "EnforcedPowerLimit": "its power limit, which joules are then not held against",
}
"""Queries that a window's validity depends on, and what is lost if they fail."""


class DeviceLostError(EnergyError):
    """The driver no longer answers for a card."""


def words(error: Exception) -> str:
    """What the driver says of an error, on one line."""
    try:
        return one_line(error)
    except UnicodeDecodeError:
        return f"NVML error {getattr(error, 'value', '')}"


def text(function: Callable[..., int], *arguments: object) -> str:
    """The text that a function of the driver's library gives; empty if it gives none."""
    # The bindings decode strictly, and a name need not be UTF-8.
    buffer = create_string_buffer(TEXT_BYTES)
    code = function(*arguments, buffer, c_uint(TEXT_BYTES))
    return "" if code else one_line(decoded(buffer.value))


class _Process(Structure):
    """One process of NVML's third list of them, which older bindings do not know."""

    _fields_: ClassVar = [
        ("pid", c_uint),
        ("memory", c_ulonglong),
        ("gpu_instance", c_uint),
        ("compute_instance", c_uint),
    ]


class Card:
    """Typed calls to one card.

    Queries may fail, whatever their error: they answer None then. Only a card that the driver
    calls lost raises `DeviceLostError`, and whoever reads the counter finds out by its code.
    """

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = text(nvml.nvmlLib.nvmlDeviceGetName, self._handle) or UNKNOWN_NAME
        self.is_module = MODULES.search(name) is not None
        self.domain = f"{'module' if self.is_module else 'gpu'}:{index}"
        self._functions: dict[str, Callable[..., int]] = {}
        self._unsupported: set[str] = set()
        self._failed: dict[str, int] = {}
        self._has_instant = False
        self._averaged: bool | None = None
        self._library = nvml.nvmlLib
        self._never = {getattr(nvml, f"NVML_ERROR_{name}") for name in NEVER}
        # Its name before driver 535.
        before = getattr(self._library, "nvmlDeviceGetCurrentClocksThrottleReasons", None)
        if before is not None and not hasattr(self._library, f"nvmlDeviceGet{REASONS}"):
            self._functions[REASONS] = before
        limits = self.limits()
        milliwatts = limits.get(POWER_LIMIT)
        self.device = Device(
            domain=self.domain,
            name=name,
            uuid=text(self._library.nvmlDeviceGetUUID, self._handle),
            power_limit_watts=None if milliwatts is None else milliwatts / 1000,
            driver=text(self._library.nvmlSystemGetDriverVersion) or None,
            max_sm_clock_mhz=limits.get(MAX_CLOCK),
            application_sm_clock_mhz=limits.get(APPLICATION_CLOCK),
        )

    def energy_into(self, millijoules: c_ulonglong) -> Callable[[], int]:
        """A call that reads the total-energy counter (mJ) into the variable; 0: it did."""
        call = self._library.nvmlDeviceGetTotalEnergyConsumption
        return partial(call, self._handle, byref(millijoules))

    def lost(self, code: int) -> DeviceLostError:
        """The error of a card that answered with this code of NVML's."""
        silent = f"`{self.domain}` no longer answers ({words(self._nvml.NVMLError(code))})"
        return DeviceLostError(fault(DEVICE_LOST, silent))

    def untold(self) -> list[str]:
        """What the card did not tell at least once although windows are checked by it."""
        return [
            f"`{self.domain}` does not {'' if what in self._unsupported else 'always '}tell "
            f"{MATTERS[what]} ({words(self._nvml.NVMLError(code))})"
            for what, code in list(self._failed.items())
            if what in MATTERS
        ]

    def has_counter(self) -> bool:
        """Whether the card has a total-energy counter; raises if it has one that fails."""
        code = self.energy_into(c_ulonglong())()
        if code and code not in self._never:
            raise self.lost(code)
        return not code

    def instant_watts(self) -> float | None:
        """Power now, from the field that says so (W); None if the card does not give it.

        A module's is asked for: what the field says without that may be the GPU's alone.
        """
        found = self._nvml.c_nvmlFieldValue_t(
            FIELD_POWER_INSTANT, SCOPE_MODULE if self.is_module else 0
        )
        if not self._answers(FIELDS, c_int(1), byref(found)):
            return None
        if found.nvmlReturn:
            self._refused(FIELDS, found.nvmlReturn)
            return None
        self._has_instant = True
        return float(found.value.uiVal) / 1000

    def usage_watts(self) -> float | None:
        """`nvmlDeviceGetPowerUsage` (W): now, or the mean of the last second on newer cards.

        None on a module: it is not known what that is the power of.
        """
        milliwatts = None if self.is_module else self._number("PowerUsage")
        return None if milliwatts is None else milliwatts / 1000

    def mean_watts(self) -> float | None:
        """The mean of the last second (W), if the card gives one."""
        return self.usage_watts() if self.usage_is_averaged() else None

    def sharpest_watts(self) -> float | None:
        """The reading closest to now that the card has (W); None if it does not give it now."""
        watts = self.instant_watts()
        # One that failed once is not replaced by another, which may be a mean of a second.
        return self.usage_watts() if watts is None and not self._has_instant else watts

    def is_sharp(self) -> bool:
        """Whether `sharpest_watts` is the power of now and not the mean of the last second."""
        return self._has_instant or not self.usage_is_averaged()

    def usage_is_averaged(self) -> bool:
        """Whether `usage_watts` is a one-second trailing mean: from Ampere on, save for GA100."""
        # It may not be told for now, or never.
        if self._averaged is None and (architecture := self._number("Architecture")) is not None:
            is_later = AMPERE <= architecture < self._nvml.NVML_DEVICE_ARCH_UNKNOWN
            pci = self._nvml.nvmlPciInfo_t()
            is_told = is_later and self._answers("PciInfo_v3", byref(pci))
            self._averaged = is_later and not (is_told and pci.pciDeviceId >> 24 == GA100)
        return bool(self._averaged)

    def processes(self) -> tuple[int, ...] | None:
        """Process ids that compute on the card."""
        if PROCESSES in self._unsupported:
            return None
        count = c_uint(MOST_PROCESSES)
        for _ in range(LISTINGS):
            listed = (_Process * count.value)()
            code = self._code(PROCESSES, byref(count), listed)
            if not code:
                return tuple([listed[i].pid for i in range(count.value)])
            if code == self._nvml.NVML_ERROR_GPU_IS_LOST or code in self._never:
                break
            count.value += MOST_PROCESSES  # more may come until they are asked for again
        self._refused(PROCESSES, code)
        return None

    def event_reasons(self) -> int | None:
        """Why the clocks are where they are, as NVML's bits."""
        reasons = c_ulonglong()
        return reasons.value if self._answers(REASONS, byref(reasons)) else None

    def sm_clock_megahertz(self) -> int | None:
        """The clock of the multiprocessors now (MHz)."""
        return self._number("ClockInfo", CLOCK_SM)

    def limits(self) -> dict[str, int]:
        """Settings that must not change in a window, by name with unit, as far as it has them."""
        asked = {
            POWER_LIMIT: self._number("EnforcedPowerLimit"),
            MAX_CLOCK: self._number("MaxClockInfo", CLOCK_SM),
            APPLICATION_CLOCK: self._number("ApplicationsClock", CLOCK_SM),
        }
        return {name: value for name, value in asked.items() if value is not None}

    def temperature_celsius(self) -> int | None:
        """Temperature of the chip (degrees Celsius)."""
        return self._number("Temperature", 0)

    def is_partitioned(self) -> bool:
        """Whether the card is split into MIG slices."""
        mode = c_uint()
        return self._answers("MigMode", byref(mode), byref(c_uint())) and mode.value == 1

    def _number(self, what: str, *arguments: int) -> int | None:
        """A number of 32 bits that the driver's library tells; None if it does not."""
        number = c_uint()
        return number.value if self._answers(what, *arguments, byref(number)) else None

    def _answers(self, what: str, *arguments: object) -> bool:
        """Whether a function of the driver's library did what it should."""
        if what in self._unsupported:
            return False
        if code := self._code(what, *arguments):
            self._refused(what, code)
        return not code

    def _code(self, what: str, *arguments: object) -> int:
        function = self._functions.get(what)
        if function is None:
            function = getattr(self._library, f"nvmlDeviceGet{what}", None)
            if function is None:
                return int(self._nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
            self._functions[what] = function
        return function(self._handle, *arguments)

    def _refused(self, what: str, code: int) -> None:
        """Take an error of a query that windows can do without."""
        if code == self._nvml.NVML_ERROR_GPU_IS_LOST:
            raise self.lost(code)
        self._failed[what] = code
        if code in self._never:
            self._unsupported.add(what)
