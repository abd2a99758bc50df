"""Tokens a second of this project's loop beside transformers' Trainer, on the same batches.

Both train the same architecture with AdamW, gradients clipped at 1, on the same padded batches,
round after round in turn, in one process; the first round warms up and does not count. The
Trainer's time is that of its steps alone. Beside the clock's ratio there is that of the process's
own CPU seconds, which other work on the machine disturbs less; on a GPU there is the share of its
peak that the model's FLOPs are. Nothing here asserts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from flops import multiplying_weights, peak_flops, training_flops
from pytest_energy import Conditions, Device, FineTuning, Reading, get_task, open_data, prepare
from pytest_energy.metering.hardware import CPU_BUDGET, GPU_BUDGET
from pytest_energy.outcomes import Method


class NoMeter:
    """Stands where a meter has to: nothing is metered here."""

    name = "none"
    method: Method = "modelled"
    devices: tuple[Device, ...] = ()
    update_period_seconds = 0.0
    resolution_joules = 0.0

    def read(self) -> Reading:
        """Nothing."""
        return Reading(time.monotonic(), {})

    def conditions(self) -> Conditions:
        """None."""
        return Conditions()

    def close(self) -> None:
        """Nothing to close."""


def main() -> None:
    """Measure, and print a line for each round and one with the ratio."""
    import torch

    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--model", default="bert-base-uncased")
    parser.add_argument("--tokens", type=int, default=GPU_BUDGET.tokens if gpu else 1024)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    run = prepare(
        options.task,
        options.model,
        data=open_data("synthetic"),
        meter=NoMeter(),
        tokens_per_window=options.tokens,
        max_tokens_per_batch=None if gpu else CPU_BUDGET.max_tokens_per_batch,
    )
    print(report(run, *alternate(run, options.rounds)))


@dataclass(frozen=True)
class Spent:
    """Seconds of one pass: by the clock, and of this process's threads on processors."""

    seconds: float
    cpu_seconds: float

    @classmethod
    def since_start(cls) -> Spent:
        """Spent by this process until now."""
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, earlier: Spent) -> Spent:
        return Spent(self.seconds - earlier.seconds, self.cpu_seconds - earlier.cpu_seconds)


def alternate(run: FineTuning, rounds: int) -> tuple[list[Spent], list[Spent]]:
    """What our passes and the Trainer's took, pair by pair, after a pair that warms up."""
    trainer = trainer_for(run)
    ours: list[Spent] = []
    theirs: list[Spent] = []
    for number in range(rounds + 1):
        for mine in (True, False) if number % 2 == 0 else (False, True):
            spent = our_pass(run) if mine else trainer.one_pass()
            if number:
                (ours if mine else theirs).append(spent)
    return ours, theirs


def our_pass(run: FineTuning) -> Spent:
    """What one pass of our loop takes."""
    run.synchronize()
    started = Spent.since_start()
    run.warm_up()
    return Spent.since_start() - started


def trainer_for(run: FineTuning) -> Any:
    """A Trainer of the same architecture, whose `one_pass()` says what that took."""
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    from pytest_energy.workloads.models import build_model

    workload = run.workload
    task = get_task(workload.task)
    model = build_model(task, workload.model, labels=len(task.labels))
    rows = [{name: values.cpu() for name, values in batch.items()} for batch in run.batches]

    class Clock(TrainerCallback):
        started: Spent | None = None
        ended: Spent | None = None

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if self.started is None:
                run.synchronize()
                self.started = Spent.since_start()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            run.synchronize()
            self.ended = Spent.since_start()

    class Timed(Trainer):
        def one_pass(self) -> Spent:
            clock = Clock()
            self.add_callback(clock)
            self.train()
            self.remove_callback(clock)
            assert clock.started is not None
            assert clock.ended is not None
            return clock.ended - clock.started

    folder = tempfile.mkdtemp(prefix="loop_speed")
    arguments = TrainingArguments(
        folder,
        per_device_train_batch_size=1,  # of rows that are batches already
        max_steps=len(rows),
        learning_rate=task.learning_rate,
        lr_scheduler_type="constant",
        bf16=workload.precision == "bf16",
        use_cpu=run.device == "cpu",
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    trainer = Timed(model, arguments, train_dataset=rows, data_collator=lambda batch: batch[0])
    trainer.remove_callback(PrinterCallback)
    return trainer


def report(run: FineTuning, ours: Sequence[Spent], theirs: Sequence[Spent]) -> str:
    """Both loops' tokens/s and their ratio, and on a GPU the share of its peak."""
    mine, trainer = (median(run.tokens / each.seconds for each in side) for side in (ours, theirs))
    pairs = list(zip(ours, theirs, strict=True))
    lines = [
        f"{run.id}, {run.workload.precision}, batches of {run.workload.batch_size} on {run.device}",
        f"ours {mine:,.0f} tokens/s, Trainer {trainer:,.0f}; ratio "
        f"{_spread([b.seconds / a.seconds for a, b in pairs])} over {len(pairs)} rounds",
        f"tokens a CPU second, the same ratio: "
        f"{_spread([b.cpu_seconds / a.cpu_seconds for a, b in pairs])}",
    ]
    if run.device.startswith("cuda"):
        lines.append(utilisation(run, mine))
    return "\n".join(lines)


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"


def achieved_flops(run: FineTuning, tokens_per_second: float) -> tuple[float, int]:
    """FLOP/s of the model's training at that speed, and how many weights multiply in it."""
    model: Any = run.bare
    weights, config = multiplying_weights(model), model.config
    shapes = [(len(rows), rows.shape[1]) for rows in (b["input_ids"] for b in run.batches)]
    flops = training_flops(weights, config.num_hidden_layers, config.hidden_size, shapes)
    return flops / run.tokens * tokens_per_second, weights


def utilisation(run: FineTuning, tokens_per_second: float) -> str:
    """What share of the GPU's peak the model's FLOPs are."""
    import torch

    achieved, weights = achieved_flops(run, tokens_per_second)
    name = torch.cuda.get_device_name(run.device)
    peak = peak_flops(name)
    share = "not known" if peak is None else f"{achieved / peak:.1%} of {peak / 1e12:,.0f} TFLOP/s"
    return (
        f"model FLOPs {achieved / 1e12:,.1f} TFLOP/s (6 x {weights:,} weights + attention, "
        f"a token); {share} ({name}, dense bf16)"
    )


if __name__ == "__main__":
    main()
