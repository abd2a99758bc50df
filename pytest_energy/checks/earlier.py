"""What a run's earlier windows of this session are good for: it is warm, and pairs are evidence.

Both hold where no device tells a temperature: a card cools and warms by what runs between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_energy.checks.measuring import Run
from pytest_energy.clocks import real_time
from pytest_energy.metering import Window

WARM_SECONDS = 60.0
"""How long after its latest window a run is as warm as it was."""


@dataclass
class Earlier:
    """Windows that a run was measured with in pairs, for its J/token to go by as well.

    `figure` names what the pairs were for; `load_seconds` is how long the device had worked before.
    """

    windows: list[Window] = field(default_factory=list)
    figure: str = ""
    load_seconds: float = 0.0


def offer(run: Run, windows: Sequence[Window], figure: str, load_seconds: float) -> None:
    """Keep the windows of pairs for the J/token of the same run, if it can hold them."""
    if hasattr(run, "earlier") and all(window.celsius is None for window in windows):
        run.earlier = Earlier(list(windows), figure, load_seconds)


def take(run: Run, least_load_seconds: float) -> Earlier:
    """What was kept, for one figure only; none if the device had worked for less before."""
    found = getattr(run, "earlier", None)
    if not isinstance(found, Earlier):
        return Earlier()
    run.earlier = None  # type: ignore[attr-defined]
    return found if found.load_seconds >= least_load_seconds else Earlier()


def latest(run: Run) -> list[Window]:
    """The latest windows of a run that is still warm from them, oldest first."""
    windows = [window for window in getattr(run, "latest", ()) if window.valid]
    if not windows or any(window.celsius is not None for window in windows):
        return []
    ended = windows[-1].started + windows[-1].seconds
    return windows if abs(real_time.unix_seconds() - ended) <= WARM_SECONDS else []
