"""The reference load of a session: metered at its end, and where a figure moved.

PYTEST_DONT_REWRITE.
"""

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
    """Add the load's joules to the results, and to what is recorded, at the session's end.

    Only if the session is one of those that are compared.
    """
    settings = session.settings
    recorded = settings.history is not None or settings.update is not None
    if not recorded or settings.compare is not None or not session.results.verdicts:
        return
    windows = _metered(session)
    if windows:
        from pytest_energy.workloads.reference_load import VERSION

        record = _record(windows)
        session.results.verdicts.append(record)
        if record.value:
            session.store.add_reference(VERSION, record.value)


def reference_joules(session: EnergySession) -> float | None:
    """The load's joules, metered now; None where it cannot be, or other workers may disturb it."""
    windows = () if session.settings.parallel else _metered(session)
    return _record(windows).value if windows else None


def _metered(session: EnergySession) -> tuple[Window, ...]:
    """The load's windows; none where it is not wanted, or torch was not used.

    It ends no run: what goes wrong is told.
    """
    if session.settings.reference_load == "off" or "torch" not in sys.modules:
        return ()
    with informing("the reference load", session.progress.note):
        from pytest_energy.workloads.reference_load import measured_windows

        with session.metered():
            return measured_windows(session.meter)
    return ()


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
