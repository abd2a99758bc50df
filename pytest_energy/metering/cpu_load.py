"""CPU load: who else uses the CPU, which a baseline that is recorded on it must not contain."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from pytest_energy.clocks import real_time
from pytest_energy.errors import EnergyError
from pytest_energy.meters.cpu_time import MOST_SHARE, machine_seconds
from pytest_energy.text import encodable, one_line
from pytest_energy.units import duration

SECONDS = 1.0
NAMED = 3
"""So many of the busiest are named."""


@dataclass(frozen=True)
class Process:
    """One process; its CPU seconds are its own, beside those of children that have ended."""

    name: str
    parent: int
    seconds: float
    ended_seconds: float = 0.0


@dataclass(frozen=True)
class CpuUse:
    """CPU seconds since the machine started: of all CPUs, of all work, of each living process."""

    seconds: float
    busy_seconds: float
    processes: Mapping[int, Process]
    at: float = 0.0
    """`real_time.monotonic()` when it was looked at."""


def require_quiet_cpu(seconds: float = SECONDS) -> None:
    """Look for so long at who uses the CPU; `EnergyError` if others use too much of it.

    Where the kernel does not tell, nothing is refused.
    """
    before = cpu_use()
    real_time.sleep(seconds)
    found = _others_since(before)
    if found.share > MOST_SHARE:
        raise EnergyError(
            f"`--energy-update` records what later runs are held to, and other processes use "
            f"{100 * found.share:.0f} % of this machine's CPU ({found.who}), more than "
            f"{100 * MOST_SHARE:.0f} %; stop them, or record when it is idle"
        )


def disturbance(before: CpuUse | None) -> str | None:
    """What a person should know of others' work since `before`; None if it was little."""
    found = _others_since(before)
    if before is None or found.share <= MOST_SHARE:
        return None
    seconds = duration(real_time.monotonic() - before.at)
    return (
        f"other processes used {100 * found.share:.0f} % of this machine's CPU meanwhile, in "
        f"{seconds}: {found.who}. That raises the J/token that are measured on it; measure again "
        f"when it is idle"
    )


@dataclass(frozen=True)
class Others:
    """Share of all CPUs that is not our tree's, and the busiest by name, process id and share.

    `rest` is the share of those that have ended since, or are not among the busiest.
    """

    share: float = 0.0
    names: tuple[str, ...] = ()
    rest: float = 0.0

    @property
    def who(self) -> str:
        """Who they are, each with its share of all CPUs."""
        if not self.names:
            return "none of them is named, since they have ended or use little each"
        rest = f"processes that have ended or use little {100 * self.rest:.0f} %"
        return ", ".join((*self.names, rest) if self.rest >= _LEAST_SHARE else self.names)


_LEAST_SHARE = 0.01
"""Of all CPUs, that a process or the rest is told from."""


def _others_since(before: CpuUse | None) -> Others:
    """Others' use of the CPU until now; none if the kernel does not tell."""
    after = cpu_use()
    return Others() if before is None or after is None else others(before, after, os.getpid())


def others(before: CpuUse, after: CpuUse, own: int) -> Others:
    """Who has used the CPU beside the tree of a process, between two looks."""
    total = after.seconds - before.seconds
    if total <= 0:
        return Others()
    used, ours = {}, 0.0
    for pid, process in after.processes.items():
        known = before.processes.get(pid, Process("", 0, 0.0))
        seconds = process.seconds - known.seconds
        if own in _line(pid, after.processes):
            ours += seconds + process.ended_seconds - known.ended_seconds
        else:
            used[pid] = seconds
    busiest = sorted(used, key=lambda pid: -used[pid])[:NAMED]
    named = [pid for pid in busiest if used[pid] >= _LEAST_SHARE * total]
    share = max(0.0, (after.busy_seconds - before.busy_seconds - ours) / total)
    return Others(
        share,
        tuple(
            f"`{after.processes[pid].name}` (process {pid}) {100 * used[pid] / total:.0f} %"
            for pid in named
        ),
        share - sum(used[pid] for pid in named) / total,
    )


def cpu_use() -> CpuUse | None:
    """Who has used the CPU so far; None if the kernel does not tell."""
    import psutil

    with suppress(OSError, ValueError, RuntimeError, psutil.Error):
        if machine := machine_seconds():
            return CpuUse(*machine, dict(_processes()), real_time.monotonic())
    return None


def _processes() -> Iterator[tuple[int, Process]]:
    import psutil

    for process in psutil.process_iter(["name", "ppid", "cpu_times"]):
        found = process.info
        if times := found["cpu_times"]:
            # A name is any bytes: those that are no text could not be printed.
            name = one_line(encodable(found["name"] or ""))
            ended = times.children_user + times.children_system
            yield process.pid, Process(name, found["ppid"] or 0, times.user + times.system, ended)


def _line(pid: int, processes: Mapping[int, Process]) -> Iterator[int]:
    """The process and what it is descended from."""
    seen = set()
    while pid in processes and pid not in seen:
        seen.add(pid)
        yield pid
        pid = processes[pid].parent
