"""Print what the same work costs in modelled joules alone and beside busy loops, on this CPU.

Three kinds of work, each in a process of its own that meters itself: Python's loop, training on
one thread, and training on two threads, which spin while they wait for each other. Windows alone
and beside the loops take turns. Nothing here asserts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

BUSY = "while True: pass"
THREADS = {"loop": 1, "train-1": 1, "train-2": 2}


def main() -> None:
    """Let each kind of work meter itself, and print a line of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loops", type=int, default=4, help="busy loops beside the work (4)")
    parser.add_argument("--rounds", type=int, default=5, help="windows of either kind (5)")
    parser.add_argument("--work", choices=THREADS, nargs="+", default=THREADS, help="these alone")
    parser.add_argument("--serve", choices=THREADS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    head = (
        f"{'work':<10}{'':<9}{'cpu J':>8}{'memory J':>10}{'seconds':>9}{'waited':>8}{'change':>9}"
    )
    print(f"{head}   windows that are no evidence")
    for work in options.work:
        compare(work, options.loops, options.rounds)


def compare(work: str, loops: int, rounds: int) -> None:
    """Print the medians of both kinds of windows, and how much more the disturbed ones cost."""
    command = [sys.executable, __file__, "--serve", work]
    variables = {**os.environ, "OMP_NUM_THREADS": str(THREADS[work])}
    found: dict[str, list[list[str]]] = {"alone": [], "beside": []}
    with subprocess.Popen(
        command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(rounds):
            for kind, count in (("alone", 0), ("beside", loops)):
                with busy(count):
                    process.stdin.write("\n")
                    process.stdin.flush()
                    found[kind].append(process.stdout.readline().strip().split("\t"))
        process.stdin.close()
    totals = {}
    for kind, rows in found.items():
        cpu, memory, seconds, waited = (median(float(row[i]) for row in rows) for i in range(4))
        totals[kind] = median(float(row[0]) + float(row[1]) for row in rows)
        change = f"{totals[kind] / totals['alone'] - 1:+.1%}" if kind == "beside" else ""
        reasons = [row[4] for row in rows if len(row) > 4 and row[4]]
        why = f" ({reasons[0].partition(':')[0]})" if reasons else ""
        print(
            f"{work:<10}{kind:<9}{cpu:>8.2f}{memory:>10.3f}{seconds:>9.2f}{waited:>8.0%}"
            f"{change:>9}   {len(reasons)} of {len(rows)}{why}",
            flush=True,
        )


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many loops that use a core each; they are not of the tree that meters itself."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def serve(name: str) -> None:
    """Meter a window of the work for each line that comes in, and write what it cost."""
    from pytest_energy import open_meter, window

    work = prepared(name)
    meter = open_meter("codecarbon")
    work()
    print("ready", flush=True)
    for _ in sys.stdin:
        with window(meter, name) as opened:
            work()
        record = opened.record
        figures = [*record.joules_by_domain.values(), record.seconds]
        print(
            *figures,
            record.notes.get("waiting fraction", 0.0),
            record.invalid_reason or "",
            sep="\t",
            flush=True,
        )


def prepared(name: str) -> Callable[[], object]:
    """The work, the same each time; two CPU seconds or less."""
    if name == "loop":
        return lambda: sum(number for number in range(15_000_000))
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(*[torch.nn.Linear(512, 512) for _ in range(8)])
    batch = torch.randn(64, 512)

    def train() -> None:
        for _ in range(80 // THREADS[name] ** 3):
            model(batch).sum().backward()

    return train


if __name__ == "__main__":
    main()
