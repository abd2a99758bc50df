"""The calls that windows are made of, straight to the driver's library.

Between a look and the sleep before it the caches go cold, and then what pynvml does around a call
costs more than the call: it looks the function up, asks twice for a list and copies its entries.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref, c_uint, c_ulonglong
from functools import partial
from typing import Any, Final

SUCCESS: Final = 0
FUNCTION_NOT_FOUND: Final = 13
MOST_PROCESSES: Final = 32
"""So many processes are listed in one call; more of them cost two."""


class Calls:
    """Calls to one card, which give NVML's return code and what was asked for."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        library = nvml.nvmlLib
        self._handle = handle
        self._energy = library.nvmlDeviceGetTotalEnergyConsumption
        self._reasons = getattr(library, "nvmlDeviceGetCurrentClocksEventReasons", None)
        if self._reasons is None:  # its name before driver 535
            self._reasons = getattr(library, "nvmlDeviceGetCurrentClocksThrottleReasons", None)
        self._processes = getattr(library, "nvmlDeviceGetComputeRunningProcesses_v3", None)
        self._process_list = nvml.c_nvmlProcessInfo_v3_t * MOST_PROCESSES

    def energy_into(self, millijoules: c_ulonglong) -> Callable[[], int]:
        """A call that reads the total-energy counter (mJ) into the variable."""
        return partial(self._energy, self._handle, byref(millijoules))

    def event_reasons(self) -> tuple[int, int]:
        """Why the clocks are where they are, as NVML's bits."""
        if self._reasons is None:
            return FUNCTION_NOT_FOUND, 0
        out = c_ulonglong()
        return self._reasons(self._handle, byref(out)), out.value

    def processes(self) -> tuple[int, tuple[int, ...]]:
        """Process ids that compute on the card; `INSUFFICIENT_SIZE` if there are very many."""
        if self._processes is None:
            return FUNCTION_NOT_FOUND, ()
        count, found = c_uint(MOST_PROCESSES), self._process_list()
        code = self._processes(self._handle, byref(count), found)
        if code != SUCCESS or not count.value:
            return code, ()
        return code, tuple([found[i].pid for i in range(count.value)])
