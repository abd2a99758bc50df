"""Errors that a user can mend, and what is refused with one.

Each names the thing in backticks, what is wrong and what to do.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from pytest_energy.text import named, safe_lines


class EnergyError(Exception):
    """Something the user can mend: an option, a file, a missing meter; shown as one sentence.

    Its text is made safe to show (`text.safe_lines`), whatever names and addresses are in it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(safe_lines(text))


class MeterUnavailableError(EnergyError):
    """No meter of the name asked for works on this machine; says why. Never replaced by 0 J."""


class MeterRefusedError(EnergyError):
    """A device is there and cannot be metered; `auto` takes nothing else in its stead."""


class BaselineError(EnergyError):
    """A baseline file cannot be read, or does not fit what is measured."""


class DataError(EnergyError):
    """A data file is missing, empty or malformed; names the file, and the line if there is one."""


class SkippedInHeadError(EnergyError):
    """The head skips the test; nothing is left to compare."""


class Faults:
    """Errors that are told together, so that all can be mended at once."""

    def __init__(self) -> None:
        self._found: list[EnergyError] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Keep an error of the block, and go on after it."""
        try:
            yield
        except EnergyError as error:
            self._found.append(error)

    def tell(self) -> None:
        """Raise one error of the first one's kind, with a line for each; nothing if all is well."""
        if self._found:
            lines = dict.fromkeys(map(str, self._found))
            raise type(self._found[0])("\n".join(lines)) from None


class EnergyWarning(UserWarning):
    """Something that a person should know of what was measured, and that ends nothing."""


def warn(text: str) -> None:
    """Warn of something; if warnings are errors here, print it: what only informs ends no run."""
    try:
        warnings.warn(safe_lines(text), EnergyWarning, stacklevel=3)
    except EnergyWarning:
        print(safe_lines(f"warning: {text}"), file=sys.stderr)


def check_choice(what: str, value: object, allowed: Iterable[str]) -> None:
    """Raise `EnergyError` unless `value` is one of `allowed`, naming those and the closest one."""
    known = tuple(allowed)
    if value in known:
        return
    meant = did_you_mean(value, known)
    article = "an" if what[0] in "aeio" else "a"
    raise EnergyError(f"`{value}` is not {article} {what}: {meant}known are {', '.join(known)}")


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """A question after the name of `known` closest to `value`; empty if none is close."""
    close = get_close_matches(str(value).lower(), tuple(known), n=1)
    return f"did you mean `{close[0]}`? " if close else ""


def check_count(what: str, value: object, least: int = 1) -> None:
    """Raise `EnergyError` unless `value` is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise EnergyError(f"`{what}` is {value!r}: give a whole number of at least {least}")


def _unheard(sentence: str) -> None:
    """Where nobody is to be told."""


def _why(error: Exception) -> str:
    if isinstance(error, EnergyError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return named(error)


@contextmanager
def informing(
    what: str,
    tell: Callable[[str], None] = _unheard,
    passing: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Go on whatever the block raises: it only informs, and nothing that does may end a run.

    `tell` is given a sentence of what went wrong, which begins with `what` if that is given.
    Only errors that are `passing` go on.
    """
    try:
        yield
    except passing:
        raise
    except Exception as error:  # whatever it is
        tell(safe_lines(f"{what}: {_why(error)}" if what else _why(error)))


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
