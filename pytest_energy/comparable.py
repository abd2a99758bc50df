"""Whether a figure and its baseline can be compared at all, and why they differ if they do."""

from __future__ import annotations

from statistics import fmean

from pytest_energy.config import EnergyMarker
from pytest_energy.errors import BaselineError
from pytest_energy.evidence import InvalidEvidenceError, Summary
from pytest_energy.explain import Operating, explain
from pytest_energy.hardware import Hardware
from pytest_energy.records import VerdictRecord
from pytest_energy.session import EnergySession, Reference

_POWER_LIMIT = "power_limit_watts"


def reference(
    record: VerdictRecord, session: EnergySession, marker: EnergyMarker
) -> Reference | None:
    """The entry that a figure is gated against, None where it is to be recorded or is missing.

    Raises `BaselineError` where a committed entry is of other work; a local one is recorded anew.
    """
    asked, stored = marker.tokens, session.baseline
    if asked and stored and stored.entries and asked != stored.tokens_per_window:
        raise BaselineError(
            f"`tokens={asked}` on `{record.nodeid}` is not what `{stored.path}` was recorded with "
            f"({stored.tokens_per_window}): other batches cannot be compared; leave it out"
        )
    found = session.reference(record.metric, record.id)
    if found is None or found.entry.workload in (None, record.workload):
        return found
    if found.local or session.config.update == "replace":
        return None
    raise BaselineError(
        f"`{record.id}` is workload `{record.workload}`, but `{found.baseline.path}` has sessions "
        f"of `{found.entry.workload}`: model, batches, precision or data differ, so the figures "
        f"cannot be compared; undo the change, or record anew with `--energy-update=replace`"
    )


def require_same_power_limit(found: Reference, hardware: Hardware) -> None:
    """Raise `InvalidEvidenceError` where the card is capped at other watts than the baseline's."""
    old = _environment(found).get(_POWER_LIMIT)
    new = hardware.environment.get(_POWER_LIMIT)
    if old is not None and new is not None and old != new:
        raise InvalidEvidenceError(
            f"the power limit is {new} W, the baseline's was {old} W; set it back, or record anew "
            f"with `--energy-update=replace`"
        )


def explanation(
    summary: Summary, found: Reference, hardware: Hardware, padding_overhead: float | None
) -> str | None:
    """Why J/token moved: power, throughput and environment; padding too where it is given."""
    rows = found.entry.sessions
    watts = [row.mean_watts for row in rows if row.mean_watts]
    speeds = [row.tokens_per_second for row in rows if row.tokens_per_second]
    if not watts or not speeds or not summary.mean_watts or not summary.tokens_per_second:
        return None
    stored = rows[-1].padding_overhead if padding_overhead else None
    old = Operating(fmean(watts), fmean(speeds), stored)
    new = Operating(summary.mean_watts, summary.tokens_per_second, padding_overhead)
    stored_environment = _environment(found)
    # What the baseline did not note may or may not have changed; it is no difference.
    current = {k: v for k, v in hardware.environment.items() if k in stored_environment}
    return explain(old, new, stored_environment, current).sentence


def _environment(found: Reference) -> dict[str, str]:
    name = found.entry.sessions[-1].environment
    return dict(found.baseline.environments.get(name or "", {}))
