"""Whether a window's joules can be believed: bounds that hold for every meter; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pytest_energy.meters.protocol import TOO_SHORT, Device

LIMIT_MARGIN = 1.1
"""A card overshoots its power limit for moments, never by this factor over a window."""
WIDEST_SHARE = 0.1
"""A window whose joules may be off by more than this share is too short for the meter."""


def first_fault(
    joules_by_domain: Mapping[str, float],
    seconds: float,
    uncertainty_joules: float,
    devices: Sequence[Device],
    faults: Sequence[str] = (),
) -> str | None:
    """The reason why a window is invalid, or None: what the meter saw, then 0 < joules <= limit.

    The reason begins with the vocabulary's word: `device lost`, `throttled`, `too short`, …
    """
    if faults:
        return "; ".join(faults)
    total = sum(joules_by_domain.values())
    too_short = uncertainty_joules > WIDEST_SHARE * abs(total)
    for device in devices:
        joules = joules_by_domain.get(device.domain, 0.0)
        limit = device.power_limit_watts
        unknown = too_short and abs(joules) <= uncertainty_joules
        if joules <= 0 and device.domain.startswith("gpu") and not unknown:
            return f"implausible: `{device.domain}` shows {joules:.3g} J in {seconds:.3g} s"
        if limit and joules - uncertainty_joules > LIMIT_MARGIN * limit * seconds:
            return (
                f"implausible: `{device.domain}` shows {joules / seconds:.0f} W over "
                f"{seconds:.3g} s, and its limit is {limit:.0f} W"
            )
    unknown = too_short and abs(total) <= uncertainty_joules
    if not math.isfinite(total + uncertainty_joules) or (total <= 0 and not unknown):
        return f"implausible: {total:.3g} J in {seconds:.3g} s"
    if too_short:
        return (
            f"{TOO_SHORT}: {total:.3g} J in {seconds:.3g} s may be off by "
            f"{uncertainty_joules:.2g} J (more than {100 * WIDEST_SHARE:.0f} %); "
            "give the window more work"
        )
    return None
