"""Joules of NVIDIA GPUs, from the driver's total-energy counter."""

from __future__ import annotations

import time
from typing import Any

from pytest_energy.errors import EnergyError, MeterUnavailableError
from pytest_energy.meters.protocol import Conditions, Device, Method, Reading


class NvmlMeter:
    """Cumulative joules of every visible GPU, read from NVML."""

    name = "nvml"
    method: Method = "counter"

    def __init__(self) -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise MeterUnavailableError(
                f"meter `nvml`: no NVIDIA driver answers ({error}); install one"
            ) from None
        self._nvml: Any = pynvml
        self._handles = [
            pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())
        ]
        self.devices: tuple[Device, ...] = tuple(
            Device(
                f"gpu:{i}",
                pynvml.nvmlDeviceGetName(handle),
                pynvml.nvmlDeviceGetUUID(handle),
                pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
                pynvml.nvmlSystemGetDriverVersion(),
            )
            for i, handle in enumerate(self._handles)
        )
        self.update_period_seconds = 0.1
        self.resolution_joules = 0.001
        self._start = [pynvml.nvmlDeviceGetTotalEnergyConsumption(h) for h in self._handles]

    def read(self) -> Reading:
        """Cumulative joules of each GPU since the meter was opened."""
        try:
            joules = {
                device.domain: (self._nvml.nvmlDeviceGetTotalEnergyConsumption(h) - start) / 1000
                for device, h, start in zip(self.devices, self._handles, self._start, strict=True)
            }
        except self._nvml.NVMLError as error:
            raise EnergyError(f"device lost: {error}") from None
        return Reading(time.monotonic(), joules)

    def conditions(self) -> Conditions:
        """Whether joules read now can be believed."""
        return Conditions()

    def close(self) -> None:
        """Release NVML."""
        if self._handles:
            self._handles = []
            self._nvml.nvmlShutdown()
