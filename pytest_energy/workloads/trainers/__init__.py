"""Windows of a token budget around a training loop that someone else drives."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol

from pytest_energy.errors import check_count, warn
from pytest_energy.metering import OpenWindow, Window, window
from pytest_energy.meters.protocol import Meter
from pytest_energy.outcomes import Outcome
from pytest_energy.stats.steadiness import WARM_UP_LIMIT, is_stationary
from pytest_energy.workloads.device import require_metered

if TYPE_CHECKING:
    import torch


EVALUATION, CHECKPOINT, ENDED = "an evaluation", "a checkpoint", "the end of the training"
"""What a window is given up for."""


class Decided(Protocol):
    """What a gate says once it is sure, and why; `Verdict` is one."""

    @property
    def outcome(self) -> Outcome:
        """Passed or failed."""

    @property
    def reason(self) -> str:
        """A sentence."""


class Gate(Protocol):
    """What is asked after each window; `SequentialGate` is one."""

    def add(self, joules_per_token: float) -> Decided | None:
        """The verdict once it is sure, None while another window is wanted."""


class BudgetedWindows:
    """Meters a loop: each window is the optimizer steps that `tokens_per_window` tokens take.

    Windows until J/token is steady are in `warm_up`, those after it in `windows`, invalid ones in
    `rejected`; `dropped` counts those that were given up, by what fell into them. `gate` is given
    J/token of each of `windows`; once its `verdict` is there, no more are begun.
    """

    def __init__(
        self, meter: Meter, tokens_per_window: int, *, gate: Gate | None = None, name: str = "train"
    ) -> None:
        check_count("tokens_per_window", tokens_per_window)
        self.windows: list[Window] = []
        self.warm_up: list[Window] = []
        self.rejected: list[Window] = []
        self.dropped: Counter[str] = Counter()
        self.verdict: Decided | None = None
        self._meter, self._gate, self._name = meter, gate, name
        self._budget = tokens_per_window
        self._steady = False
        self._open: OpenWindow | None = None
        self._tokens = self._steps = 0
        self._real_tokens: int | torch.Tensor = 0

    def begin_step(self) -> None:
        """Before a step's first batch: begin a window if none is open and one is wanted."""
        if self._open is None and self.verdict is None:
            self._tokens = self._steps = self._real_tokens = 0
            self._open = window(self._meter, self._name)
            self._open.__enter__()

    def count(self, ids: torch.Tensor, mask: torch.Tensor | None) -> None:
        """Take in a batch: token ids, and a mask of ones where they are no padding."""
        if self._open is not None:
            self._tokens += ids.numel()
            # Summed where it is: reading it here would make the host wait for the device.
            self._real_tokens = self._real_tokens + (ids.numel() if mask is None else mask.sum())

    def end_step(self) -> bool:
        """After an optimizer step: end a window that is full; says whether the gate is sure."""
        if self._open is not None:
            self._steps += 1
            if self._tokens >= self._budget:
                self._judge(self._close(self._open))
        return self.verdict is not None

    def begin_training(self, device: object) -> None:
        """Before the first step; `EnergyError` if torch's `device` is not what is metered."""
        require_metered(self._name, str(device), self._meter.devices)

    def give_up(self, cause: str) -> None:
        """Drop the window that is open, because other work fell into it or no more is to come."""
        if self._open is not None:
            if self._steps:
                self.dropped[cause] += 1
            self._close(self._open)

    def end_training(self) -> None:
        """After the last step: drop the window that is open, and say what was dropped and why."""
        self.give_up(ENDED)
        lost = self.dropped.total() - self.dropped[ENDED]
        if lost or (self.dropped and not (self.warm_up or self.windows or self.rejected)):
            warn(f"`{self._name}`: {self._explained()}")

    def _explained(self) -> str:
        """What became of the windows, and what to do for more of them."""
        kept = len(self.warm_up) + len(self.windows) + len(self.rejected)
        causes = ", ".join(f"{cause}: {count}" for cause, count in self.dropped.items())
        return (
            f"{self.dropped.total()} windows of {self._budget:,} tokens were dropped before they "
            f"were full ({causes}), and {kept} were finished; give a smaller `tokens_per_window`, "
            "or train longer between evaluations and checkpoints"
        )

    def _judge(self, done: Window) -> None:
        if not done.valid:
            self.rejected.append(done)
        elif not self._steady:
            self.warm_up.append(done)
            values = [one.joules_per_token for one in self.warm_up]
            self._steady = is_stationary(values) or len(values) >= WARM_UP_LIMIT
        else:
            self.windows.append(done)
            if self._gate is not None:
                self.verdict = self._gate.add(done.joules_per_token)

    def _close(self, opened: OpenWindow) -> Window:
        self._open = None
        opened.count_tokens(self._tokens, int(self._real_tokens))
        opened.count_steps(self._steps)
        opened.__exit__(None, None, None)
        return opened.record
