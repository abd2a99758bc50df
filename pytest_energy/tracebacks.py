"""Which of this package's frames a person sees when a test breaks. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def raised_elsewhere(excinfo: pytest.ExceptionInfo[Any]) -> bool:
    """Whether an exception comes from outside this package, such as from a user's own step.

    As a module's `__tracebackhide__` it leaves the module's frames out of pytest's report then.
    """
    last = excinfo.tb
    while last.tb_next is not None:
        last = last.tb_next
    name = str(last.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] != "pytest_energy"
