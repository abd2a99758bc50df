"""Whether what a meter saw in a window can be believed; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pytest_energy.meters.protocol import (
    IMPLAUSIBLE,
    LAG_SECONDS,
    LATENCY_SECONDS,
    LIMIT_MARGIN,
    MOST_WATTS,
    MOST_WATTS_OF_MODULE,
    TOO_SHORT,
    Device,
    Measured,
    fault,
    has_gpu,
    is_module,
    more_work,
)

MOST_WATTS_OF_MANY = 100_000.0
"""More than what is behind one domain draws that is no card, processor or memory: a rack."""
WIDEST_SHARE = 0.1
"""A window whose joules may be off by more than this share is too short for the meter."""


def first_fault(measured: Measured, seconds: float, devices: Sequence[Device]) -> str | None:
    """The reason why a window is invalid, or None: what the meter saw, then 0 < joules <= limit.

    The reason begins with the vocabulary's word: `device lost`, `throttled`, `too short`, …
    """
    if measured.faults:
        return "; ".join(measured.faults)
    total, doubt = sum(measured.joules_by_domain.values()), measured.uncertainty_joules
    too_short = doubt > WIDEST_SHARE * abs(total)
    domains = dict.fromkeys((*(device.domain for device in devices), *measured.joules_by_domain))
    limits = {device.domain: device.joules_limit_watts for device in devices}
    for domain in domains:
        joules = measured.joules_by_domain.get(domain, 0.0)
        unknown = too_short and abs(joules) <= doubt
        if (joules < 0 or (joules == 0 and has_gpu(domain))) and not unknown:
            return fault(IMPLAUSIBLE, f"`{domain}` shows {joules:.3g} J in {seconds:.3g} s")
        if too_many := _more_than_it_draws(domain, limits.get(domain), joules - doubt, seconds):
            return fault(IMPLAUSIBLE, f"`{domain}` shows {too_many}")
    unknown = too_short and abs(total) <= doubt
    if not all(map(math.isfinite, (total, doubt))) or (total <= 0 and not unknown):
        return fault(IMPLAUSIBLE, f"{total:.3g} J in {seconds:.3g} s")
    if too_short:
        return fault(
            TOO_SHORT,
            f"{total:.3g} J in {seconds:.3g} s may be off by {doubt:.2g} J "
            f"(more than {100 * WIDEST_SHARE:.0f} %); {more_work(seconds)}",
        )
    return None


def _more_than_it_draws(
    domain: str, limit_watts: float | None, joules: float, seconds: float
) -> str | None:
    """The power of so many joules (J) if the device does not draw that much, else None."""
    shown = f"{joules / max(seconds, LATENCY_SECONDS):.0f} W over {seconds:.3g} s"
    if limit_watts:
        too_many = joules > LIMIT_MARGIN * limit_watts * seconds
        return f"{shown}, and its limit is {limit_watts:.0f} W" if too_many else None
    is_one = domain.startswith(("gpu", "cpu", "dram"))
    most = MOST_WATTS if is_one else MOST_WATTS_OF_MANY
    if is_module(domain):
        most = MOST_WATTS_OF_MODULE
    too_many = joules > LIMIT_MARGIN * most * (seconds + LAG_SECONDS)
    return f"{shown}, and nothing of its kind draws {most:.0f} W" if too_many else None
