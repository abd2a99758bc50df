"""A training loop that someone else drives: its windows of a token budget, and runs of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pytest_energy.errors import EnergyError, check_count, warn
from pytest_energy.files import digest_of
from pytest_energy.metering import OpenWindow, Window, window
from pytest_energy.meters.protocol import Meter
from pytest_energy.outcomes import Outcome
from pytest_energy.stats.steadiness import WARM_UP_LIMIT, is_stationary
from pytest_energy.workloads.device import require_metered
from pytest_energy.workloads.models import parameters

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
        kept = len(self.warm_up) + len(self.windows) + len(self.rejected)
        if lost or (self.dropped and not kept):
            causes = ", ".join(f"{cause}: {count}" for cause, count in self.dropped.items())
            warn(
                f"`{self._name}`: {self.dropped.total()} windows of {self._budget:,} tokens were "
                f"dropped before they were full ({causes}), and {kept} were finished; give a "
                "smaller `tokens_per_window`, or train longer between evaluations and checkpoints"
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


SEED = 0
"""Of each window with Lightning, which keeps none in its Trainer."""

_SETTINGS = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "gradient_checkpointing",
    "bf16",
    "fp16",
    "optim",
    "torch_compile",
    "group_by_length",
    "accumulate_grad_batches",
    "precision",
    "batch_size",
)
"""Of a Trainer or its arguments, what the work of a step hangs on."""


class TrainerRun:
    """Windows of a transformers or Lightning Trainer, which trains from its first batch in each.

    A window is the optimizer steps that `tokens_per_window` tokens of its batches take, after one
    step that sets the optimizer up. What the model is called with beyond them costs, but does not
    count. Batches and steps are the same in each, from the second on if Lightning's
    data are shuffled; the weights go on. `given` is what Lightning's `fit` takes, the module first;
    transformers takes none. `id` names the figure, by default after the model's class. The Trainer
    has to train that long: `EnergyError` if not.
    """

    padding_overhead: float | None = None

    def __init__(
        self,
        trainer: Any,
        *given: Any,
        meter: Meter,
        tokens_per_window: int,
        id: str | None = None,  # noqa: A002
    ) -> None:
        check_count("tokens_per_window", tokens_per_window)
        self._meter, self._budget = meter, tokens_per_window
        self._begin, model = _begins(trainer, given)
        self.id = id or f"trainer/{type(model).__name__}"
        self.parameters = parameters(model)
        self.settings: Mapping[str, Any] = {
            **_settings(trainer, *given[1:2]),
            "tokens_per_window": tokens_per_window,
        }
        """What of the work an A/B comparison names if its sides differ in it."""
        self.digest = digest_of({"model": type(model).__name__, **self.settings})

    def window(self) -> Window:
        """Train from the first batch until the budget is spent."""
        return self._begin(self._meter, self._budget, self.id)


class _Once(BudgetedWindows):
    """Ends the training with the first window that is full; its first step is left out."""

    done: Window | None = None
    _begun = False

    def begin_step(self) -> None:
        """Before a step's first batch: a window begins with the second."""
        if self._begun and self.done is None:
            super().begin_step()
        self._begun = True

    def end_step(self) -> bool:
        """After an optimizer step; says whether the window is done."""
        super().end_step()
        return self.done is not None

    def end_training(self) -> None:
        """After the last step: give up what is open."""
        self.give_up(ENDED)

    def found(self) -> Window:
        """The window; `EnergyError` if the training ended before it did."""
        if self.done is None:
            raise EnergyError(
                f"`{self._name}` ended its training before a window of {self._budget:,} tokens was "
                "full; let it train for more steps, evaluate and save less often, or give a "
                "smaller `tokens_per_window`"
            )
        return self.done

    def _judge(self, done: Window) -> None:
        self.done = done


def _begins(trainer: Any, given: tuple[Any, ...]) -> tuple[Callable[..., Window], Any]:
    """What trains for one window (meter, tokens, name), and the model."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(trainer).__mro__}
    if "transformers" in kinds and not given:
        return partial(_transformers, trainer), trainer.model
    if kinds & {"lightning", "pytorch_lightning"} and given:
        return partial(_lightning, trainer, given), given[0]
    raise EnergyError(
        f"`{type(trainer).__name__}` cannot be gated so; give a Trainer of transformers alone, or "
        "Lightning's with what its `fit` takes: the module, then the data"
    )


def _transformers(trainer: Any, meter: Meter, tokens: int, name: str) -> Window:
    from transformers import set_seed

    from pytest_energy.workloads.trainers.transformers_callback import EnergyCallback

    class Once(_Once, EnergyCallback):
        """The same, called by transformers."""

    callback = Once(meter, tokens, name=name)
    own, train_on = vars(trainer).get("training_step"), trainer.training_step

    def training_step(model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        callback.count_batch(inputs)
        return train_on(model, inputs, *more, **named)

    trainer.add_callback(callback)
    trainer.training_step = training_step
    try:
        set_seed(trainer.args.seed)
        trainer.train()
    finally:
        del trainer.training_step
        if own is not None:  # somebody else's replacement of the method
            trainer.training_step = own
        trainer.remove_callback(callback)
    return callback.found()


def _lightning(
    trainer: Any, given: tuple[Any, ...], meter: Meter, tokens: int, name: str
) -> Window:
    from lightning.pytorch import seed_everything

    from pytest_energy.workloads.trainers.lightning_callback import LightningEnergyCallback

    class Once(_Once, LightningEnergyCallback):
        """The same, called by Lightning."""

    callback = Once(meter, tokens, name=name)
    trainer.callbacks.append(callback)
    try:
        seed_everything(SEED, verbose=False)
        trainer.fit(*given)
    finally:
        trainer.callbacks.remove(callback)
    return callback.found()


def _settings(*told: Any) -> dict[str, str]:
    """What the work of a window hangs on, as far as a Trainer and its data tell."""
    parts = [getattr(part, "args", part) for part in told]
    asked = [(part, name) for part in parts for name in _SETTINGS if hasattr(part, name)]
    return {name: str(getattr(part, name)) for part, name in asked}
