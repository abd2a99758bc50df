"""Paired windows of a device's meter and a wall meter over the same load, at several levels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

from pytest_energy.errors import EnergyError
from pytest_energy.loads import Load
from pytest_energy.metering import Window, window
from pytest_energy.meters import Meter
from pytest_energy.meters.wall import WallMeter
from pytest_energy.tracebacks import raised_elsewhere

__tracebackhide__ = raised_elsewhere

SHARES = (0.0, 1.0, 0.5, 0.25, 0.75)
"""Duty cycles in the order in which they are bought, so that warming up weighs on none alone."""

INVALID_LIMIT = 3
"""Invalid windows in a row after which no more are bought."""

_SETTLE_SHARE = 0.15
_LONGEST_SETTLE_SECONDS = 3.0
_SETTLE_PERIODS = 2.0


@dataclass(frozen=True)
class Pair:
    """Two windows of one stretch: what the device's meter saw, and what the wall's."""

    share: float
    device: Window
    wall: Window

    @property
    def watts(self) -> tuple[float, float]:
        """Mean power of the device and at the wall (W)."""
        return self.device.mean_watts, self.wall.mean_watts


def settle_seconds(wall: WallMeter, seconds: float) -> float:
    """How long a load runs before its window begins: plug meters lag behind (s)."""
    share = min(_SETTLE_SHARE * seconds, _LONGEST_SETTLE_SECONDS)
    return max(share, _SETTLE_PERIODS * wall.update_period_seconds)


def buy_pairs(
    meter: Meter, wall: WallMeter, load: Load, windows: int, seconds: float
) -> Iterator[Pair]:
    """Buy pairs of windows of so many seconds at the levels of `SHARES`, one after another.

    Raises `EnergyError` once windows keep being invalid.
    """
    for share in islice(cycle(SHARES), windows):
        reason = None
        for _ in range(INVALID_LIMIT):
            pair = _pair(meter, wall, load, share, seconds)
            reason = pair.device.invalid_reason or pair.wall.invalid_reason
            if reason is None:
                yield pair
                break
        else:
            raise EnergyError(
                f"{INVALID_LIMIT} windows in a row were invalid: {reason}; mend that, or buy "
                "longer windows with `--seconds`"
            )


def _pair(meter: Meter, wall: WallMeter, load: Load, share: float, seconds: float) -> Pair:
    with load.run(share):
        time.sleep(settle_seconds(wall, seconds))
        # The load runs on beyond both ends, so the wall window may be a tick longer than the other.
        with (
            window(wall, "wall", _already_in_step) as outer,
            window(meter, "device", _already_in_step) as inner,
        ):
            time.sleep(seconds)
    return Pair(share, inner.record, outer.record)


def _already_in_step() -> None:
    """The load's own threads wait for their device; waiting for it here would never end."""
