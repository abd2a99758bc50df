"""LoRA by peft: the model frozen, but for low-rank adapters of its attention and its head."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from pytest_energy.errors import EnergyError
from pytest_energy.workloads.tasks import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TASK_TYPES: dict[Head, str | None] = {
    "sequence": "SEQ_CLS",
    "qa": "QUESTION_ANS",
    "token": "TOKEN_CLS",
    "mlm": None,  # its head is tied to the embeddings, and stays as they do
}
_TARGETS = {"distilbert": ["q_lin", "v_lin"]}  # queries and values, where peft does not know them


def with_lora(model: PreTrainedModel, head: Head, rank: int, seed: int) -> Any:
    """`model` with adapters of that rank, drawn from `seed`, at its queries and values."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise EnergyError(
            f"`lora={rank}` needs `peft`, which is not installed: `pip install peft`, or leave "
            "`lora` out"
        ) from error
    import torch

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # What peft and transformers deprecate of each other is not for the user to mend.
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        try:
            targets = _TARGETS.get(model.config.model_type)
            adapters = LoraConfig(task_type=_TASK_TYPES[head], r=rank, target_modules=targets)
            return get_peft_model(model, adapters)
        except ValueError as error:
            raise EnergyError(
                f"`lora={rank}` fits no layer of this model ({str(error).splitlines()[0]}): leave "
                "`lora` out, or bring your own step with the fixture `energy_workload`"
            ) from error
