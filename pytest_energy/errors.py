"""Errors that a user can mend; each names the thing in backticks, what is wrong and what to do."""

from __future__ import annotations

from typing import Any


class EnergyError(Exception):
    """Something the user can mend: an option, a file, a missing meter; shown as one sentence."""


class MeterUnavailableError(EnergyError):
    """No meter of the name asked for works on this machine; says why. Never replaced by 0 J."""


class MeterRefusedError(EnergyError):
    """A device is there and cannot be metered; `auto` takes nothing else in its stead."""


class BaselineError(EnergyError):
    """A baseline file cannot be read, or does not fit what is measured."""


class DataError(EnergyError):
    """A data file is missing, empty or malformed; names the file, and the line if there is one."""


def raised_elsewhere(excinfo: Any) -> bool:
    """Whether an exception comes from outside this package, such as from a user's own step.

    `excinfo` is pytest's. As a module's `__tracebackhide__` it leaves the module's frames out of
    pytest's report then.
    """
    last = excinfo.tb
    while last.tb_next is not None:
        last = last.tb_next
    name = str(last.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] != "pytest_energy"
