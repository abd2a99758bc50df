"""Batches as one model takes them: its arguments, its padding, its targets, on its device."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

from pytest_energy.errors import EnergyError
from pytest_energy.workloads.data.batches import Batch, Batches
from pytest_energy.workloads.data.protocol import IGNORED
from pytest_energy.workloads.models import is_causal, padding_id
from pytest_energy.workloads.tasks import Head, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel


if TYPE_CHECKING:
    Convert = Callable[[Batch], Batch]


def check_fits(model: PreTrainedModel, batches: Batches, name: str, max_length: int) -> None:
    """Raise `EnergyError` where a batch is longer than the model or has ids that it lacks."""
    positions = _positions(model)
    if positions is not None and batches.longest > positions:
        raise EnergyError(
            f"`max_length` is {max_length}, but `{name}` has {positions} positions: give at most "
            "as many"
        )
    size = model.config.vocab_size
    if batches.largest_id >= size:
        raise EnergyError(
            f"`{name}` has {size} word pieces, but the data has id {batches.largest_id}: use data "
            "tokenised for it (`--energy-data=hub`)"
        )


def converter(task: Task, model: PreTrainedModel, device: str) -> Convert:
    """What turns a batch into the arguments of `model` (not wrapped yet) on `device`.

    Token types go where a model tells fewer than two apart, padding becomes the model's own id,
    and a causal model is asked for the text itself, unmasked.
    """
    config = model.config
    taken = set(inspect.signature(model.forward).parameters)
    if getattr(config, "type_vocab_size", 0) < 2:
        taken.discard("token_type_ids")
    padding, causal = padding_id(config), is_causal(task, config)

    def convert(batch: Batch) -> Batch:
        rows = dict(batch)
        padded = rows["attention_mask"] == 0
        if causal:
            asked = rows["labels"]
            ids = rows["input_ids"].where(asked == IGNORED, asked)
            rows |= {"input_ids": ids, "labels": ids.masked_fill(padded, IGNORED)}
        rows["input_ids"] = rows["input_ids"].masked_fill(padded, padding)
        return {name: values.to(device) for name, values in rows.items() if name in taken}

    return convert


def without_targets(batch: Batch) -> Batch:
    """What a model is asked about, without what it is told."""
    return {name: rows for name, rows in batch.items() if name not in _TARGETS}


_TARGETS = frozenset({"labels", "start_positions", "end_positions"})


def _positions(model: PreTrainedModel) -> int | None:
    """How many tokens a sequence may have; None where the model does not say."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin count positions from the one after that of padding.
    before = getattr(table, "padding_idx", None)
    return positions if before is None else positions - before - 1


_TASK_TYPES: dict[Head, str | None] = {
    "sequence": "SEQ_CLS",
    "qa": "QUESTION_ANS",
    "token": "TOKEN_CLS",
    "mlm": None,  # its head is tied to the embeddings, and stays as they do
}
_ADAPTED = {"distilbert": ["q_lin", "v_lin"]}  # queries and values, where peft does not know them


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
                target_modules=list(_ADAPTED.get(kind) or KNOWN.get(kind) or _linear_layers(model)),
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
