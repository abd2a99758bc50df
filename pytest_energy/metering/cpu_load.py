"""Who else uses the CPU, which a baseline that is recorded on it must not contain."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.errors import EnergyError

MOST_SHARE = 0.1
"""Share of all CPUs that processes other than this one's may use while a baseline is recorded."""
SECONDS = 1.0
NAMED = 3
"""So many of the busiest are named."""
_BUSY = (0, 1, 2, 5, 6)
"""Columns of `/proc/stat`: user, nice, system, interrupts; not idle, waiting, or stolen."""


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


def require_quiet_cpu(
    seconds: float = SECONDS, proc: Path = Path("/proc"), own: int | None = None
) -> None:
    """Look for so long at who uses the CPU; `EnergyError` where others use too much of it.

    Where the kernel does not tell, nothing is refused.
    """
    before = cpu_use(proc)
    time.sleep(seconds)
    after = cpu_use(proc)
    if before is None or after is None:
        return
    share, names = others(before, after, os.getpid() if own is None else own)
    if share > MOST_SHARE:
        busiest = f" ({', '.join(names)})" if names else ""
        raise EnergyError(
            f"`--energy-update` records what later runs are held to, and other processes{busiest} "
            f"use {100 * share:.0f} % of this machine's CPU, more than {100 * MOST_SHARE:.0f} %; "
            f"stop them, or record when it is idle"
        )


def disturbance(before: CpuUse | None, proc: Path = Path("/proc")) -> str | None:
    """What a person should know of others' work since `before`; None where it was little."""
    after = cpu_use(proc)
    if before is None or after is None:
        return None
    share, names = others(before, after, os.getpid())
    if share <= MOST_SHARE:
        return None
    busiest = f" (now {', '.join(names)})" if names else ""
    return (
        f"other processes{busiest} used {100 * share:.0f} % of this machine's CPU meanwhile, which "
        "raises the J/token that are measured on it; measure again when it is idle"
    )


def others(before: CpuUse, after: CpuUse, own: int) -> tuple[float, list[str]]:
    """Share of all CPUs that is not our tree's; the busiest by name, process id and share."""
    total = after.seconds - before.seconds
    if total <= 0:
        return 0.0, []
    used = {pid: _used(pid, before, after) for pid in after.processes}
    ours = {pid for pid in used if own in _line(pid, after.processes)}
    spent = sum(used[pid] + _ended(pid, before, after) for pid in ours)
    busy = after.busy_seconds - before.busy_seconds - spent
    foreign = sorted((pid for pid in used if pid not in ours), key=lambda p: -used[p])
    names = [
        f"`{after.processes[pid].name}` {pid}: {100 * used[pid] / total:.0f} %"
        for pid in foreign[:NAMED]
        if used[pid] >= 0.01 * total
    ]
    return max(0.0, busy / total), names


def cpu_use(proc: Path = Path("/proc")) -> CpuUse | None:
    """Who has used the CPU so far; None where `/proc` does not tell."""
    try:
        columns = (proc / "stat").read_text().split("\n", 1)[0].split()[1:9]
        ticks = [int(column) for column in columns]
    except (OSError, ValueError):
        return None
    a_tick = 1 / os.sysconf("SC_CLK_TCK")
    busy = sum(ticks[i] for i in _BUSY)
    return CpuUse(sum(ticks) * a_tick, busy * a_tick, dict(_processes(proc, a_tick)))


def _processes(proc: Path, a_tick: float) -> Iterator[tuple[int, Process]]:
    for folder in proc.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            text = (folder / "stat").read_text()
        except OSError:  # it ended meanwhile
            continue
        # The name in parentheses may itself hold spaces and parentheses.
        start, _, rest = text.rpartition(")")
        fields = rest.split()
        seconds, ended = (sum(map(int, pair)) * a_tick for pair in (fields[11:13], fields[13:15]))
        yield int(folder.name), Process(start.partition("(")[2], int(fields[1]), seconds, ended)


def _used(pid: int, before: CpuUse, after: CpuUse) -> float:
    known = before.processes.get(pid)
    return after.processes[pid].seconds - (known.seconds if known else 0.0)


def _ended(pid: int, before: CpuUse, after: CpuUse) -> float:
    known = before.processes.get(pid)
    return after.processes[pid].ended_seconds - (known.ended_seconds if known else 0.0)


def _line(pid: int, processes: Mapping[int, Process]) -> Iterator[int]:
    """The process and what it is descended from."""
    seen = set()
    while pid in processes and pid not in seen:
        seen.add(pid)
        yield pid
        pid = processes[pid].parent
