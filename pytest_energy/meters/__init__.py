"""Meters by name: the built-in ones and those that other packages add as entry points."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from pytest_energy.errors import EnergyError, MeterRefusedError, MeterUnavailableError
from pytest_energy.meters.protocol import Conditions, Device, Meter, Reading
from pytest_energy.outcomes import Method
from pytest_energy.text import named

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pytest_energy.meters.sensors import Qualified


__all__ = [
    "Conditions",
    "Device",
    "Meter",
    "MeterProbe",
    "Method",
    "Reading",
    "meter_names",
    "open_meter",
    "probe_meters",
]

ENTRY_POINTS = "pytest_energy.meters"
_BUILT_IN = {
    "nvml": ("pytest_energy.meters.nvml", "NvmlMeter"),
    "rapl": ("pytest_energy.meters.rapl", "RaplMeter"),
    "codecarbon": ("pytest_energy.meters.codecarbon", "CodeCarbonMeter"),
}
AUTO = tuple(_BUILT_IN)
"""What `auto` tries, best first: a GPU's counter, the CPU's counter, a model."""


@dataclass(frozen=True)
class MeterProbe:
    """Whether one meter would work here, in one sentence."""

    name: str
    works: bool
    detail: str
    method: Method | None


def meter_names() -> tuple[str, ...]:
    """Names that `open_meter` knows besides `auto`: built-in ones first, then installed ones."""
    return (*AUTO, *(name for name in sorted(_installed()) if name not in AUTO))


def open_meter(name: str = "auto", *, qualified: Mapping[str, Qualified] | None = None) -> Meter:
    """Open a meter by name; `auto` takes the first of nvml, rapl and codecarbon that there is.

    `qualified` is what experiments found of cards, by UUID: a run's meter is given what its
    baseline files keep. Other cards, and all without it, go by what is published of their sensors.

    Raises `MeterUnavailableError` if there is none, and `EnergyError` for a name that nobody
    offers. `MeterRefusedError` says that there is or may be a GPU that cannot be metered: the CPU's
    joules would pass for its.
    """
    if name == "auto":
        return _first_that_works(qualified)
    if name in meter_names():
        return _open(name, qualified)
    known = ", ".join(f"`{each}`" for each in ("auto", *meter_names()))
    raise EnergyError(f"meter `{name}` is not known: choose one of {known}")


def probe_meters() -> list[MeterProbe]:
    """Whether each meter would work here and what it would read, without metering anything."""
    return [_probe(name) for name in meter_names()]


def _probe(name: str) -> MeterProbe:
    try:
        with _reasons(name):
            method, detail = _would_read(name)
    except EnergyError as error:
        return MeterProbe(name, False, str(error), None)
    return MeterProbe(name, True, detail, method)


def _would_read(name: str) -> tuple[Method, str]:
    if name in _BUILT_IN:
        found: tuple[Method, str] = import_module(_BUILT_IN[name][0]).probe()
        return found
    meter = _open(name)
    detail = ", ".join(f"{device.domain} {device.name}" for device in meter.devices)
    meter.close()
    return meter.method, detail


@contextmanager
def _reasons(name: str) -> Iterator[None]:
    """Turn whatever a meter raises while it is opened or probed into a reason: an `EnergyError`.

    Warnings of what it imports are not shown, since a run may make errors of them. `nvml` says by
    itself if there is no GPU; if it fails otherwise there may be one, and nothing is taken in its
    stead.
    """
    kind = MeterRefusedError if name == "nvml" else MeterUnavailableError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MeterUnavailableError, MeterRefusedError):
        raise
    except EnergyError as error:
        raise kind(f"{_shown(name)}: {error}") from error
    except (Exception, SystemExit) as error:
        raise kind(f"{_shown(name)} fails: {named(error)}") from error


def _shown(name: str) -> str:
    """A meter by its name, and by what an entry point says it is."""
    point = None if name in _BUILT_IN else _installed().get(name)
    return f"meter `{name}`" if point is None else f"meter `{name}` (`{point.value}`)"


def _first_that_works(qualified: Mapping[str, Qualified] | None) -> Meter:
    reasons = ["no meter works here:"]
    for name in AUTO:
        try:
            return _open(name, qualified)
        except MeterRefusedError as error:  # noqa: PERF203 - three meters at most
            raise MeterRefusedError(
                f"{error}; or name what to meter in its stead, such as `--energy-meter=codecarbon`"
            ) from None
        except MeterUnavailableError as error:
            reasons.append(f"- {error}")
    raise MeterUnavailableError("\n".join(reasons))


def _installed() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _open(name: str, qualified: Mapping[str, Qualified] | None = None) -> Meter:
    """Open a known meter; `MeterUnavailableError` or `MeterRefusedError` if it cannot be."""
    with _reasons(name):
        if name in _BUILT_IN:
            module, built_in = _BUILT_IN[name]
            given = {"qualified": qualified} if name == "nvml" else {}
            opened: Meter = getattr(import_module(module), built_in)(**given)
            return opened
        meter = _installed()[name].load()()
    if not isinstance(meter, Meter):
        raise MeterUnavailableError(
            f"{_shown(name)} is not a meter: its entry point must name a callable that returns an "
            "object like `pytest_energy.meters.Meter`"
        )
    return meter
