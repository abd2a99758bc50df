"""Simulated cards as they are known: what they truly draw, what their sensor and counter see of it.

Update and window of the sensors, and what `nvmlDeviceGetPowerUsage` gives, are published:
"Part-time Power Measurements" (arXiv 2312.02741) and its data. All else is assumed: watts of
cards at rest and their limits are of the order of data sheets; what feeds the energy counters
nobody has published, so that each card comes in both variants. P100 have no energy counter.
The H200 is one that `pytest-energy qualify` was run on (`docs/results-h200.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from sim import SimulatedGpu

Feed = Literal["truth", "sensor", "none"]
"""What a counter counts: the true joules, or the sensor's samples times its period."""

JUST_AFTER_SECONDS = 1e-6


@dataclass(frozen=True)
class Card:
    """A card; seconds, watts and joules. Defaults are kind: nothing is late, lost or slow.

    The sensor gives a mean of the true power over `window_seconds` every `update_seconds`; 0: it
    sees everything, always. `instant` says whether field 186 gives it; if `asked`, that is renewed
    when it is asked for, no sooner than after `update_seconds`. `mean_seconds` is over how long
    `nvmlDeviceGetPowerUsage` averages its samples (0: the last one).
    The counter ticks every `tick_seconds` at its phase (0: just after each sample of the sensor,
    which it has counted then), moved by up to `jitter_seconds`; a share `missing` of the ticks does
    not come. At a tick it shows the joules up to `lag_seconds` before, in steps of
    `quantum_joules`.
    Each call of the driver takes `call_seconds`, give or take `call_jitter_seconds`; calls wait for
    one another, and what they answer is of a random moment in between. Reading the counter takes
    `energy_call_seconds` instead, if that is not 0.
    """

    name: str = "NVIDIA Simulated"
    idle_watts: float = 60.0
    load_watts: float = 600.0
    """Full load, for loads that are made for the card."""
    limit_watts: float = 700.0
    architecture: int = 9
    pci_device_id: int = 0x233510DE
    rise_seconds: float = 0.0
    fall_seconds: float = 0.0
    update_seconds: float = 0.0
    window_seconds: float = 0.0
    sensor_phase_seconds: float = 0.037
    noise_watts: float = 0.0
    instant: bool = True
    asked: bool = False
    mean_seconds: float = 1.0
    counter: Feed = "truth"
    tick_seconds: float = 0.1
    tick_phase_seconds: float = 0.037
    lag_seconds: float = 0.0
    quantum_joules: float = 0.001
    jitter_seconds: float = 0.0
    missing: float = 0.0
    call_seconds: float = 0.0
    call_jitter_seconds: float = 0.0
    energy_call_seconds: float = 0.0
    energy_call_jitter_seconds: float = 0.0
    seed: int = 1
    lines: tuple[str, ...] = ()
    """More lines in the library's format."""

    @staticmethod
    def preset(model: str, *, counter: Feed | None = None, **changes: Any) -> Card:
        """A card of `PRESETS` (`a100`), with its habits; `changes` are fields of `Card`.

        `counter` None: fed by the truth, or none if the model has none.
        """
        card = PRESETS[model]
        if counter is not None and card.counter != "none":
            card = replace(card, counter=counter)
        return replace(card, **changes)

    def at_phase(self, share: float) -> Card:
        """The same with sensor and counter moved on by a share of their periods."""
        sensor = self.sensor_phase_seconds + share * self.update_seconds
        ticks = self.tick_phase_seconds + share * self.tick_seconds
        return replace(self, sensor_phase_seconds=sensor, tick_phase_seconds=ticks)

    @property
    def _tick_phase(self) -> float:
        if self.tick_seconds:
            return self.tick_phase_seconds
        return self.sensor_phase_seconds + self.jitter_seconds + JUST_AFTER_SECONDS

    def simulated(self) -> SimulatedGpu:
        """The card as the simulated library takes it."""
        sampled, every = self.update_seconds > 0, self.tick_seconds or self.update_seconds
        if self.counter == "sensor" and not sampled:
            raise ValueError("a counter that is fed by a sensor needs `update_seconds`")
        lines = [
            f"seed {self.seed}",
            f"arch {self.architecture}",
            f"pci_device_id {self.pci_device_id}",
            f"limit {self.limit_watts} 0",
            f"rise {self.rise_seconds}",
            f"fall {self.fall_seconds}",
            f"noise {self.noise_watts}",
            f"feed {'sensor' if self.counter == 'sensor' else 'truth'}",
            f"lag {self.lag_seconds}",
            f"jitter {self.jitter_seconds}",
            f"missing {self.missing}",
            f"call {self.call_seconds} {self.call_jitter_seconds}",
            f"energy_call {self.energy_call_seconds} {self.energy_call_jitter_seconds}",
        ]
        if sampled:
            times = self.update_seconds, self.window_seconds, self.sensor_phase_seconds
            lines += [f"sensor {times[0]} {times[1]} {times[2]}"]
            lines += [f"usage sensor {self.mean_seconds}"]
        else:
            lines += [f"usage 0 {self.mean_seconds}"]
        if self.instant:
            asked = f"instant asked {self.update_seconds} {self.window_seconds}"
            lines += [asked if self.asked else "instant sensor" if sampled else "instant 0 0"]
        return SimulatedGpu(
            trace=f"load {self.idle_watts}",
            tick_seconds=None if self.counter == "none" else every,
            phase_seconds=self._tick_phase,
            resolution_millijoules=1000 * self.quantum_joules,
            instant=None,
            usage=None,
            name=self.name,
            lines=(*lines, *self.lines),
        )


_ORDINARY: dict[str, Any] = {
    "rise_seconds": 0.005,
    "fall_seconds": 0.05,
    "noise_watts": 0.5,
    "jitter_seconds": 0.0005,
    "call_seconds": 0.0003,
    "call_jitter_seconds": 0.0002,
    "tick_seconds": 0.0,
}
"""Habits that are assumed of each card. Its counter ticks with its sensor."""
_BEFORE_FIELD_186: dict[str, Any] = {"instant": False, "mean_seconds": 0.0}

PRESETS = {
    "p100": Card(
        "Tesla P100-PCIE-16GB (simulated)",
        idle_watts=30,
        load_watts=220,
        limit_watts=250,
        architecture=4,
        pci_device_id=0x15F810DE,
        update_seconds=0.020,
        window_seconds=0.010,
        counter="none",
        **_ORDINARY,
        **_BEFORE_FIELD_186,
    ),
    "v100": Card(
        "Tesla V100-SXM2-16GB (simulated)",
        idle_watts=40,
        load_watts=260,
        limit_watts=300,
        architecture=5,
        pci_device_id=0x1DB110DE,
        update_seconds=0.0202,
        window_seconds=0.0105,
        **_ORDINARY,
        **_BEFORE_FIELD_186,
    ),
    "rtx8000": Card(
        "Quadro RTX 8000 (simulated)",
        idle_watts=25,
        load_watts=240,
        limit_watts=260,
        architecture=6,
        pci_device_id=0x1E3010DE,
        update_seconds=0.100,
        window_seconds=0.020,
        **_ORDINARY,
        **_BEFORE_FIELD_186,
    ),
    "a100": Card(
        "NVIDIA A100-SXM4-40GB (simulated)",
        idle_watts=55,
        load_watts=340,
        limit_watts=400,
        architecture=7,
        pci_device_id=0x20B010DE,
        update_seconds=0.1013,
        window_seconds=0.025,
        **_ORDINARY,
        **_BEFORE_FIELD_186,
    ),
    "h100": Card(
        "NVIDIA H100 PCIe (simulated)",
        idle_watts=50,
        load_watts=310,
        limit_watts=350,
        architecture=9,
        pci_device_id=0x233110DE,
        update_seconds=0.100,
        window_seconds=0.025,
        **_ORDINARY,
    ),
    "h200": Card(
        "NVIDIA H200",
        idle_watts=121,
        load_watts=690,
        limit_watts=700,
        architecture=9,
        pci_device_id=0x233510DE,
        rise_seconds=0.004,
        fall_seconds=0.012,
        noise_watts=0.5,
        update_seconds=0.100,
        window_seconds=0.022,
        asked=True,
        tick_seconds=0.1,
        call_seconds=0.00001,
        call_jitter_seconds=0.000005,
        energy_call_seconds=0.004,
        energy_call_jitter_seconds=0.0025,
    ),
    "rtx3090": Card(
        "NVIDIA GeForce RTX 3090 (simulated)",
        idle_watts=25,
        load_watts=330,
        limit_watts=350,
        architecture=7,
        pci_device_id=0x220410DE,
        update_seconds=0.1006,
        window_seconds=0.100,
        **_ORDINARY,
    ),
    "rtx4090": Card(
        "NVIDIA GeForce RTX 4090 (simulated)",
        idle_watts=20,
        load_watts=400,
        limit_watts=450,
        architecture=8,
        pci_device_id=0x268410DE,
        update_seconds=0.100,
        window_seconds=0.109,
        **_ORDINARY,
    ),
}
