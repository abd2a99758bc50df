"""Whether both sides do the same work, and what of it a change has changed on purpose."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from types import ModuleType
from typing import Any

from pytest_energy.checks.measuring import Run
from pytest_energy.errors import EnergyError

_MUST_AGREE = ("task", "model", "architecture", "data", "seed", "lora")
"""Where these differ nothing is left to compare; what else differs is what the change is about."""


class OtherWorkError(EnergyError):
    """The sides fine-tune another model, on another task or on other data."""


@dataclass(frozen=True)
class RunFacts:
    """What a side says of one of its runs; `fields` are its workload's, if it has any."""

    id: str
    digest: str | None
    padding_overhead: float | None
    tokens: int | None
    parameters: tuple[int, int] | None
    fields: Mapping[str, Any]

    @classmethod
    def from_message(cls, row: Mapping[str, Any]) -> RunFacts:
        """The facts that `facts_of_run` wrote."""
        parameters = tuple(row["parameters"]) if row["parameters"] else None
        return cls(**{**row, "parameters": parameters})


def facts_of_run(run: Run) -> dict[str, Any]:
    """What a side sends of a run, of builtin types alone."""
    tokens, parameters = getattr(run, "tokens", None), getattr(run, "parameters", None)
    workload = getattr(run, "workload", None)
    fields = asdict(workload) if is_dataclass(workload) and not isinstance(workload, type) else {}
    settings = getattr(run, "settings", None)
    return {
        "id": str(run.id),
        "digest": None if run.digest is None else str(run.digest),
        "padding_overhead": None if run.padding_overhead is None else float(run.padding_overhead),
        "tokens": tokens if isinstance(tokens, int) else None,
        # On a module of torch it is a method.
        "parameters": list(parameters) if isinstance(parameters, tuple) else None,
        "fields": {**fields, **(settings if isinstance(settings, Mapping) else {})},
    }


def require_same_work(base: RunFacts, head: RunFacts) -> None:
    """Raise `OtherWorkError` if task, model or data differ."""
    if base.id != head.id:
        raise OtherWorkError(
            f"the base fine-tunes `{base.id}` and the head `{head.id}`: another task or model "
            f"cannot be compared; give both sides the same, or compare them as runs of one test"
        )
    for name in _MUST_AGREE:
        old, new = base.fields.get(name), head.fields.get(name)
        if base.fields and head.fields and old != new:
            raise OtherWorkError(
                f"`{name}` of `{head.id}` is {old!r} in the base and {new!r} in the head: that is "
                f"other work, which cannot be compared; give both sides the same"
            )


def changed_settings(base: RunFacts, head: RunFacts) -> tuple[dict[str, str], dict[str, str]]:
    """What differs in the work itself, padding policy or batch size, as (old, new) by name."""
    names = [n for n in head.fields if n in base.fields and base.fields[n] != head.fields[n]]
    if not names and base.digest != head.digest:
        return {"workload": str(base.digest)}, {"workload": str(head.digest)}
    old = {name: str(base.fields[name]) for name in names}
    return old, {name: str(head.fields[name]) for name in names}


_INSTALLED = ("site-packages", "dist-packages")


def foreign_module(
    folder: str, modules: Mapping[str, ModuleType], prefix: str = sys.prefix
) -> tuple[str, str] | None:
    """(name, file) of a module that was imported from below a folder; None if there is none.

    What is installed there does not count: a virtual environment in the checkout serves both.
    """
    below = os.path.join(folder, "")
    environment = os.path.join(os.path.realpath(prefix), "")
    if os.path.join(os.path.realpath(os.getcwd()), "").startswith(below):
        return None  # the side's own tree lies in it, and nothing tells whose a file is
    for name, module in list(modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.startswith(below):
            continue
        installed = any(part in _INSTALLED for part in file.split(os.sep))
        if not installed and not file.startswith(environment):
            return name, file
    return None
