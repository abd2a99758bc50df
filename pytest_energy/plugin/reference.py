"""The reference load of a session that is recorded: metered at its end. PYTEST_DONT_REWRITE."""

from __future__ import annotations

import sys
from statistics import fmean
from typing import TYPE_CHECKING

from pytest_energy.errors import informing
from pytest_energy.results import REFERENCE_LOAD, VerdictRecord

if TYPE_CHECKING:
    from pytest_energy.metering import Window
    from pytest_energy.plugin.session import EnergySession


def meter_reference_load(session: EnergySession) -> None:
    """Add the load's joules to the results, if the session is one of those that are compared.

    It ends no run: what goes wrong is told. Where torch was not used, nothing is metered.
    """
    settings = session.settings
    recorded = settings.history is not None or settings.update is not None
    if not recorded or settings.reference_load == "off" or settings.compare is not None:
        return
    if "torch" not in sys.modules or not session.results.verdicts:
        return
    with informing("the reference load", session.progress.note):
        from pytest_energy.workloads.reference_load import measured_windows

        with session.metered():
            windows = measured_windows(session.meter)
        if windows:
            session.results.verdicts.append(_record(windows))


def _record(windows: tuple[Window, ...]) -> VerdictRecord:
    valid = [window for window in windows if window.valid]
    reasons = [window.invalid_reason for window in windows if window.invalid_reason]
    return VerdictRecord(
        id=windows[0].name,
        metric=REFERENCE_LOAD,
        unit="J",
        outcome="measured" if valid else "invalid",
        reason="the same work in every session, to tell the device from the code"
        if valid
        else reasons[0],
        value=fmean(window.joules for window in valid) if valid else None,
        uncertainty=fmean(window.uncertainty_joules for window in valid) if valid else None,
        method=windows[0].method,
        windows=windows,
    )
