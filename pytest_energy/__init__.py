"""Energy as a tested property; the public names are imported on first use. PYTEST_DONT_REWRITE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_energy.metering import window
    from pytest_energy.meters import open_meter


__all__ = ["open_meter", "window"]

_HOMES = {"open_meter": "pytest_energy.meters", "window": "pytest_energy.metering"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that the plugin starts cheaply."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
