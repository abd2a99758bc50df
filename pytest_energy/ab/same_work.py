"""Whether both sides do the same work, and what of it a change has changed."""

from __future__ import annotations

from pytest_energy.ab.protocol import RunFacts

_MUST_AGREE = ("task", "model", "architecture", "data", "seed", "lora")
"""Where these differ nothing is left to compare; what else differs is what the change is about."""


def other_work(base: RunFacts, head: RunFacts) -> str | None:
    """Why a run cannot be compared, its task, model or data being another; None if it can."""
    if base.id != head.id:
        return (
            f"the base fine-tunes `{base.id}` and the head `{head.id}`: another task or model "
            f"cannot be compared; give both sides the same, or compare them as runs of one test"
        )
    for name in _MUST_AGREE:
        old, new = base.fields.get(name), head.fields.get(name)
        if base.fields and head.fields and old != new:
            return (
                f"`{name}` of `{head.id}` is {old!r} in the base and {new!r} in the head: that is "
                f"other work, which cannot be compared; give both sides the same"
            )
    return None


def changed_settings(base: RunFacts, head: RunFacts) -> tuple[dict[str, str], dict[str, str]]:
    """What differs in the work itself, padding policy or batch size, as (old, new) by name."""
    names = [n for n in head.fields if n in base.fields and base.fields[n] != head.fields[n]]
    if not names and base.digest != head.digest:
        return {"workload": str(base.digest)}, {"workload": str(head.digest)}
    old = {name: str(base.fields[name]) for name in names}
    return old, {name: str(head.fields[name]) for name in names}
