"""Errors that a user can mend; each names the thing in backticks, what is wrong and what to do."""

from __future__ import annotations


class EnergyError(Exception):
    """Something the user can mend: an option, a file, a missing meter; shown as one sentence."""


class MeterUnavailableError(EnergyError):
    """No meter of the name asked for works on this machine; says why. Never replaced by 0 J."""


class MeterRefusedError(EnergyError):
    """A device is there and cannot be metered; `auto` takes nothing else in its stead."""


class BaselineError(EnergyError):
    """A baseline file cannot be read, or does not fit what is measured."""


class DataError(EnergyError):
    """A data file is missing, empty or malformed; names the file and, the line."""
