"""A Trainer's training as a run that can be gated: windows of the same optimizer steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pytest_energy.errors import EnergyError, check_count
from pytest_energy.files import digest_of
from pytest_energy.metering import Window
from pytest_energy.meters.protocol import Meter
from pytest_energy.workloads.models import parameters
from pytest_energy.workloads.trainers import ENDED, BudgetedWindows

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
    return {
        name: str(getattr(part, name))
        for part in parts
        for name in _SETTINGS
        if hasattr(part, name)
    }
