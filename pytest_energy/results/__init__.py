"""What a run leaves behind: one record a gated figure, ready for reports, JSON and xdist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_energy.baselines.tables import Acknowledgement
from pytest_energy.documents import Count, Positive
from pytest_energy.documents.records import named
from pytest_energy.gate import TracePoint
from pytest_energy.gate.carriers import ProfileChange
from pytest_energy.metering import Window
from pytest_energy.metering.device_session import RunCost
from pytest_energy.results.claims import ClaimRecord

JSON_SCHEMA = 1

NOT_RECORDED = "not recorded: its test "
"""How the reason of a figure begins that its test has taken back, with good windows."""

INTERRUPTED = "interrupted before its verdict"
"""The same of a figure that an interrupt has left without a verdict."""


NOT_KEPT = "not kept as this machine's own baseline"
"""The same of a figure whose windows vary too much for its first session."""


NOT_COMPARED = "not compared: "
"""The same of a test that a side of an A/B could not run, followed by the side's fault."""


@dataclass(frozen=True)
class Side:
    """One side of an A/B comparison, over all its pairs; `name` is `base` or `head`.

    `reference` says where its code is from: a commit, `working tree`, or an interpreter's path.
    """

    name: str
    reference: str
    joules_per_token: float
    mean_watts: float
    tokens_per_second: float
    padding_overhead: float | None
    environment: Mapping[str, str]


@dataclass(frozen=True)
class LeftOpen:
    """What a baseline had left open; all as in a `VerdictRecord`, in `unit`."""

    unit: str
    value: float
    baseline: float
    change: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ComparisonRecord:
    """Base and head metered in turn in one session; `pairs` holds (base, head) of what is judged.

    That is in the verdict's unit; for savings it is what is spent, the smaller run's J/token over
    the larger's, and the sides' figures are the smaller run's.
    `within_pair_drift` is the second window of a pair against the first, relative. `settles` says
    that a baseline had left the figure open, and `left_open` what it had found. `turns` says that
    memory did not do for both at once. `processes` is from how many pairs of processes the figure
    was found, and `between_processes` what those of the same code differ by (SD, relative), if
    known.
    """

    reference: str
    kind: Literal["revision", "interpreter"]
    base: Side
    head: Side
    pairs: tuple[tuple[Positive, Positive], ...]
    within_pair_drift: float | None = None
    settles: bool = False
    left_open: LeftOpen | None = None
    turns: bool = False
    processes: Count = 1
    between_processes: float | None = None
    notes: tuple[str, ...] = ()


REFERENCE_LOAD = "reference_joules"
"""The metric of the load that is the same in every session."""


@dataclass(frozen=True)
class VerdictRecord:
    """A verdict as people and machines read it; `outcome` is a verdict's word, or `recorded`.

    `value`, `uncertainty` (95 % half-width) and `baseline` are in `unit`; `change`, its 95 %
    `interval`, `tolerance` and `detect` are fractions (points of the saved fraction for savings).
    `value`, `baseline` and `change` are those that decided, each what the others say. `fails` says
    whether the test fails for it; `local` that the baseline is this machine's own, in its cache.
    `net_value` is `value` without idle power, if that was measured; it is never gated.
    """

    id: str
    metric: str
    nodeid: str = ""
    outcome: str = field(default="invalid", metadata=named("verdict"))
    reason: str = ""
    unit: str = "J/token"
    value: float | None = None
    uncertainty: float | None = None
    net_value: float | None = None
    baseline: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    tolerance: float | None = None
    detect: float | None = None
    fails: bool = False
    local: bool = False
    sessions: Count | None = None
    """How many sessions the baseline has, if there is one."""
    method: str = ""
    workload: str | None = None
    tokens: Count | None = None
    """Processed tokens of a window, if the run says so."""
    parameters: tuple[Count, Count] | None = None
    """How many parameters the run trains, and how many its model has."""
    explanation: str | None = None
    acknowledged: Acknowledgement | None = None
    """What the baseline file acknowledges of the figure today; the levels allow it."""
    warning: str | None = None
    """Where the levels are closer than the baseline can tell apart."""
    location: tuple[str, Count] | None = None
    """The test's file, relative to pytest's root, and its line, from 1."""
    changed_environment: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    """What differs from the baseline's environment, by name: (then, now)."""
    trace: tuple[TracePoint, ...] = ()
    """The gate after each window, or pair of them."""
    windows: tuple[Window, ...] = ()
    comparison: ComparisonRecord | None = None
    """Where base and head were metered in one session: `baseline` is then the base's value."""
    profile: ProfileChange | None = None
    """After a change: where the time of a token goes now, and went in what it is held against."""

    @property
    def text(self) -> str:
        """The reason, and why the figure moved if that is known."""
        return f"{self.reason} {self.explanation}" if self.explanation else self.reason

    @property
    def stored_metric(self) -> str:
        """What a baseline file calls it: J/token is stored, whichever of the two was judged."""
        real = self.metric == "joules_per_real_token"
        return "joules_per_token" if real else self.metric


def measured(nodeid: str, window: Window) -> VerdictRecord:
    """The record of a window that nothing is compared with."""
    return VerdictRecord(
        nodeid=nodeid,
        id=f"{nodeid.rpartition('::')[2]}/{window.name}",
        metric="joules",
        unit="J",
        outcome="measured" if window.valid else "invalid",
        reason=window.invalid_reason or "nothing to compare with",
        value=window.joules,
        uncertainty=window.uncertainty_joules,
        method=window.method,
        windows=(window,),
    )


@dataclass(frozen=True)
class NotMeasured:
    """A stored figure that a run of the whole suite did not measure.

    `renamed` is the id of one that was measured and is not stored, and may be the same. `fails`
    says whether the run fails for it.
    """

    metric: str
    id: str
    renamed: str | None = None
    fails: bool = False


@dataclass(frozen=True)
class Origin:
    """The code and the place of a run; None if neither git nor the CI says.

    `dirty` is whether tracked files differed from the commit; `runner` the CI's name of the
    machine, else its host name. `command` is what was typed, without what may be secret.
    """

    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    host: str = ""
    runner: str = ""
    project: str | None = None
    command: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """All that one session reports; `hardware` is empty if nothing was metered.

    `idle_watts` was measured before the first test; `wall_joules` is the cost at the wall by the
    hardware's calibration. Either is None if it is not known. `disturbance` says who else used
    the CPU that was metered, if somebody did; `remarks` are what to know of what was metered.
    `interrupted` says why the run has not come to its end, if it has not; `unfinished` are the
    tests that were to measure something then. `not_measured` is empty if only a part was run.
    `data` says which files were read, a sentence each. `origin` is empty if no report asks for it.
    """

    hardware: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[VerdictRecord, ...] = ()
    cost: RunCost = field(default_factory=RunCost)
    idle_watts: float | None = None
    wall_joules: float | None = None
    claims: tuple[ClaimRecord, ...] = ()
    disturbance: str | None = None
    interrupted: str | None = None
    unfinished: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    not_measured: tuple[NotMeasured, ...] = ()
    data: tuple[str, ...] = ()
    origin: Origin = Origin()

    @property
    def figures(self) -> int:
        """How many figures the run found, of verdicts and claims."""
        return len(self.verdicts) + sum(len(claim.figures) for claim in self.claims)
