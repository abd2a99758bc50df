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
    """`model` with adapters of that rank, drawn from `seed`, at its queries and values.

    Where neither peft nor this module knows which layers those are, all linear ones have adapters.
    """
    try:
        from peft import LoraConfig, get_peft_model
        from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN
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
            kind = model.config.model_type
            adapters = LoraConfig(
                task_type=_TASK_TYPES[head],
                r=rank,
                target_modules=list(_TARGETS.get(kind) or KNOWN.get(kind) or _linear_layers(model)),
                fan_in_fan_out=kind == "gpt2",  # its layers are stored transposed
            )
            return get_peft_model(model, adapters)
        except ValueError as error:
            raise EnergyError(
                f"`lora={rank}` fits no layer of this model ({str(error).splitlines()[0]}): leave "
                "`lora` out, or bring your own step with the fixture `energy_workload`"
            ) from error


def _linear_layers(model: PreTrainedModel) -> list[str]:
    """The names of all linear layers below the head."""
    from torch.nn import Linear

    body = f"{model.base_model_prefix}."
    layers = [name for name, module in model.named_modules() if isinstance(module, Linear)]
    return [name for name in layers if name.startswith(body)]
