"""Whether a figure and its baseline can be compared at all, and why they differ if they do.

Where the time of a token goes only informs: what fails of it is told with the test's output.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean, median

from pytest_energy.baselines import Reference, StoredSession, days_of
from pytest_energy.checks import Settings
from pytest_energy.checks.measuring import InvalidEvidenceError, Run, Summary, Warmth
from pytest_energy.checks.policy import CheckContext
from pytest_energy.errors import BaselineError, informing
from pytest_energy.gate import Verdict
from pytest_energy.gate.carriers import ProfileChange, compared
from pytest_energy.gate.explanation import FEWEST, LoadChange, Operating, device_word, explain
from pytest_energy.gate.sentences import RECORD_ANEW
from pytest_energy.metering.hardware import Hardware
from pytest_energy.metering.profile import Profile
from pytest_energy.outcomes import MOVED
from pytest_energy.results import VerdictRecord
from pytest_energy.stats.steadiness import WARM_UP_LIMIT, WARMTH_LIMIT
from pytest_energy.workloads.torch_loads import REFERENCE_VERSION

_CONDITIONS = {
    "gpu": "the device",
    "power_limit_watts": "the power limit (W)",
    "meter": "the meter",
}
LOADED = 0.5
"""Share of the baseline's seconds of load that a run should have had before, too.

Sessions that are recorded measure more windows of each figure. From half as long on, what is left
of a warm-up is a quarter at most of what there was, whatever its time constant.
"""

_CPU_CONDITIONS = {"cpu": "the processor", "meter": "the meter"}


def reference(record: VerdictRecord, context: CheckContext) -> Reference | None:
    """The entry that a figure is gated against, None where it is to be recorded or is missing.

    Raises `BaselineError` where a committed entry is of other work; a local one, or one that is
    to be replaced, is recorded anew.
    """
    found = context.store.find(record.metric, record.id)
    if found is None:
        return None
    other = _other_work(record, found)
    differs = other is not None or _differing(found, context.hardware) is not None
    if differs and (found.local or context.settings.update == "replace"):
        return None
    if other is not None:
        raise BaselineError(
            f"`{record.id}` is {other} of `{found.baseline.path}`: model, batches, precision or "
            f"data differ, so the figures cannot be compared; undo the change, or {RECORD_ANEW}"
        )
    return found


def place(found: Reference, hardware: Hardware) -> str | None:
    """What this run's device goes by among a baseline's sessions.

    What a machine keeps for itself is its own, whatever the machine is called today.
    """
    return hardware.device if found.local else hardware.place


def warmth(found: Reference | None, context: CheckContext, limit: int, *, recorded: bool) -> Warmth:
    """How warm the device is to be: as the baseline's sessions began, if that is known.

    If a verdict can fail, more than the usual warm-up is waited for: the baseline's temperature.
    If none is told, the device works for as long as it had then.
    """
    rows = own_rows(found, context.hardware) if found and not recorded else ()
    begun = [row.begin_celsius for row in rows if row.begin_celsius is not None]
    wanted = median(begun) if begun else None
    least = least_load_seconds(found, context, recorded=recorded)
    loaded = least - context.store.device.load_seconds
    committed = recorded and context.settings.update is not None
    waits = limit >= WARM_UP_LIMIT and (wanted is not None or committed or loaded > 0)
    return Warmth(WARMTH_LIMIT if waits else limit, wanted, loaded, committed)


def least_load_seconds(found: Reference | None, context: CheckContext, *, recorded: bool) -> float:
    """How long the device has to have worked before windows are evidence (s).

    Joules that a model makes of time and load do not know how warm it is.
    """
    if context.method == "modelled":
        return 0.0
    rows = own_rows(found, context.hardware) if found and not recorded else ()
    loads = [row.load_seconds for row in rows if row.load_seconds is not None]
    return LOADED * min(loads, default=0.0)


def require_same_conditions(found: Reference, hardware: Hardware) -> None:
    """Raise `InvalidEvidenceError` where device, power limit or meter are not the baseline's."""
    difference = _differing(found, hardware)
    if difference is not None:
        raise InvalidEvidenceError(f"{difference}; set it back, or {RECORD_ANEW}")


def require_undisturbed(settings: Settings, hardware: Hardware) -> None:
    """Raise `InvalidEvidenceError` where other workers' tests run on the metered processor."""
    counted = not hardware.environment.get("meter", "").endswith("(modelled)")
    if settings.parallel and hardware.key == "cpu" and counted:
        raise InvalidEvidenceError(
            "other pytest-xdist workers run on the processor that is metered; use `-n 0`"
        )


def explanation(
    verdict: Verdict,
    summary: Summary,
    found: Reference,
    hardware: Hardware,
    padding_overhead: float | None,
) -> str | None:
    """Why J/token moved as the verdict says: power, throughput and environment.

    Padding too where it is given: the verdict is then on J/real token.
    """
    rows = own_rows(found, hardware)
    speeds = [row.tokens_per_second for row in rows if row.tokens_per_second]
    if not speeds or not summary.tokens_per_second or not verdict.baseline or not verdict.value:
        return None
    stored = rows[-1].padding_overhead if padding_overhead else None
    if stored is None:
        padding_overhead = None
    old = Operating.at(verdict.baseline / (stored or 1.0), fmean(speeds), stored)
    value = verdict.value / (padding_overhead or 1.0)
    new = Operating.at(value, summary.tokens_per_second, padding_overhead)
    environment = found.environment_of(rows[-1])
    # What the baseline did not note may or may not have changed; it is no difference.
    current = {k: v for k, v in hardware.environment.items() if k in environment}
    return explain(old, new, environment, current).sentence


def said_by_load(change: float, found: Reference, context: CheckContext) -> str | None:
    """What the reference load says of a relative change, if the baseline's sessions hold it.

    A day has one voice, as in the gate. The load is metered for it only where it can tell.
    """
    rows = own_rows(found, context.hardware)
    loaded = tuple(row for row in rows if row.reference_version == REFERENCE_VERSION)
    days = [
        fmean(row.reference_joules for row in day if row.reference_joules)
        for day in days_of(replace(found.entry, sessions=loaded))
    ]
    joules = context.reference_joules() if len(days) >= FEWEST else None
    load = LoadChange.of_session(days, joules) if joules else None
    return load.sentence(change, device_word(context.hardware.key)) if load else None


PROFILE_TITLE = "energy profile"


def keep_profile(context: CheckContext, run: Run, record: VerdictRecord) -> None:
    """Profile a run whose session goes into a committed baseline, for that to be kept beside it."""
    if record.outcome != "recorded" or record.local or not _may_profile(context):
        return
    with informing("not profiled", lambda text: context.on_output(PROFILE_TITLE, text)):
        context.store.keep_profile(context.test, record.id, _fastest(run))


def with_carrier(context: CheckContext, run: Run, record: VerdictRecord) -> VerdictRecord:
    """The record with what carries its change against a baseline beside which a profile is kept."""
    if record.outcome not in MOVED or record.local or not _may_profile(context):
        return record
    found: ProfileChange | None = None
    with informing("not profiled", lambda text: context.on_output(PROFILE_TITLE, text)):
        base = context.store.profile_of(record.id)
        head = _fastest(run) if base is not None else None
        if base is not None and head is not None and base.clock == head.clock:
            found = compared(base, head, record.change or 0.0)
    if found is None:
        return record
    explanation = f"{record.explanation or ''} {found.sentence}".strip()
    return replace(record, explanation=explanation, profile=found)


def _may_profile(context: CheckContext) -> bool:
    # Other workers would be in the profile.
    return context.settings.profile == "auto" and not context.settings.parallel


def _fastest(run: Run) -> Profile | None:
    from pytest_energy.workloads.profiling import fastest

    return fastest(run)


def changed_environment(
    found: Reference | None, hardware: Hardware
) -> dict[str, tuple[str | None, str | None]]:
    """What differs from the newest session's environment, by name: (then, now)."""
    if found is None:
        return {}
    then, now = found.environment_of(own_rows(found, hardware)[-1]), hardware.environment
    return {name: (old, now.get(name)) for name, old in then.items() if old != now.get(name)}


def own_rows(found: Reference, hardware: Hardware) -> tuple[StoredSession, ...]:
    """The sessions of this device, which the gate compares with; all where it has none."""
    rows = found.entry.sessions
    own = tuple(row for row in rows if row.device and row.device == hardware.place)
    return own or rows


def _other_work(record: VerdictRecord, found: Reference) -> str | None:
    stored = found.entry.workload
    if stored is not None and stored != record.workload:
        return f"workload `{record.workload}`, not the `{stored}`"
    tokens = {row.tokens for row in found.entry.sessions if row.tokens}
    if record.tokens and tokens and tokens != {record.tokens}:
        recorded = ", ".join(str(count) for count in sorted(tokens))
        return f"windows of {record.tokens} tokens, not the {recorded}"
    return None


def _differing(found: Reference, hardware: Hardware) -> str | None:
    """The first condition that any session's environment and today's do not share."""
    conditions = _CPU_CONDITIONS if hardware.key == "cpu" else _CONDITIONS
    for row in found.entry.sessions:
        stored = found.environment_of(row)
        for name, title in conditions.items():
            old, new = stored.get(name), hardware.environment.get(name)
            if old is not None and new is not None and old != new:
                return f"{title} is {new}, the baseline's was {old}"
    return None
