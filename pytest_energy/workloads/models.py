"""Models with a task's head, and batches as each of them takes them.

Weights are drawn from a seed unless pretrained ones are asked for: the work is the same, and its
watts may differ.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_energy.errors import EnergyError, did_you_mean
from pytest_energy.workloads.architectures import (
    ARCHITECTURES,
    architecture_digest,
    folder_of,
    has_weights,
    hub_name,
    known_architecture,
    require_on_hub,
)
from pytest_energy.workloads.data.examples import IGNORED, Batch, Batches
from pytest_energy.workloads.tasks import Head, Task

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


# Each of transformers' automatic classes with the table of the configurations that it knows. A
# decoder has no masked language model: it learns the same texts as a causal one.
_MASKED = ("AutoModelForMaskedLM", "MODEL_FOR_MASKED_LM_MAPPING")
_CAUSAL = ("AutoModelForCausalLM", "MODEL_FOR_CAUSAL_LM_MAPPING")
_HEADS: Mapping[Head, tuple[tuple[str, str], ...]] = {
    "sequence": (
        ("AutoModelForSequenceClassification", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING"),
    ),
    "qa": (("AutoModelForQuestionAnswering", "MODEL_FOR_QUESTION_ANSWERING_MAPPING"),),
    "token": (("AutoModelForTokenClassification", "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING"),),
    "mlm": (_MASKED, _CAUSAL),
}


def build_model(
    task: Task,
    model_name: str,
    *,
    labels: int,
    attention: str = "sdpa",
    seed: int = 0,
    pretrained: bool = False,
    models: Path | None = None,
) -> PreTrainedModel:
    """The model with the task's head, in fp32 on the CPU, ready to train.

    `model_name` is one of `ARCHITECTURES`, of a folder in `models`, a folder with a config.json, or
    a name on the hub. `labels` counts the head's classes (0: the head has none). `pretrained` loads
    weights if there are any. The caller's random state stays as it was.
    """
    import torch

    # fork_rng without devices: drawing on the CPU gives the same weights on all hardware.
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        config, weights = _configured(model_name, labels, pretrained, models)
        head = _head(task, model_name, config)
        options: dict[str, Any] = {"attn_implementation": attention}
        with _loading(model_name, attention):
            if weights is None:
                model = head.from_config(config, **options)
            else:
                # A head of another task is one to be learnt anew.
                options |= {"ignore_mismatched_sizes": True, "use_safetensors": True}
                place, revision = weights
                model = head.from_pretrained(place, config=config, revision=revision, **options)
    model.config.pad_token_id = padding_id(config)
    if getattr(model.config, "use_cache", None):
        model.config.use_cache = False  # keys and values are for generating text
    built: PreTrainedModel = model.float().train()
    return built


def padding_id(config: PretrainedConfig) -> int:
    """The id that pads: the model's own, else that of its end of text, as decoders are trained."""
    for each in (config.pad_token_id, getattr(config, "eos_token_id", None)):
        first = each[0] if isinstance(each, list) and each else each
        if isinstance(first, int) and 0 <= first < config.vocab_size:
            return first
    return 0


def parameters(model: PreTrainedModel) -> tuple[int, int]:
    """How many parameters are trained, and how many there are; shared ones count once."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def foreign_architecture(model_name: str, models: Path | None) -> str | None:
    """Eight hex digits of what a model's folder describes; None if the name says it already.

    It does if there is no folder, or if the folder holds what is known by that name.
    """
    folder, known = folder_of(model_name, models), known_architecture(model_name)
    if folder is None:
        return None
    found = architecture_digest(_read_config(model_name, str(folder)))
    same = known is not None and found == architecture_digest(known.config(0))
    return None if same else found


def _configured(
    name: str, labels: int, pretrained: bool, models: Path | None
) -> tuple[PretrainedConfig, tuple[str, str | None] | None]:
    """A model's configuration, and where its weights are if they are to be loaded."""
    folder, known = folder_of(name, models), known_architecture(name)
    place = hub_name(name) if folder is None else (str(folder), None)
    there = has_weights(folder) if folder else known is None or known.repository is not None
    weights = place if pretrained and there else None
    if folder is None and known is not None and weights is None:
        config = known.config(labels)
    else:
        config = _read_config(name, *place)
    if labels:
        config.num_labels = labels
    return config, weights


def _read_config(name: str, place: str, revision: str | None = None) -> PretrainedConfig:
    require_on_hub(name, place, revision)

    from transformers import AutoConfig

    with _loading(name):
        config: PretrainedConfig = AutoConfig.from_pretrained(place, revision=revision)
    return config


def _head(task: Task, name: str, config: PretrainedConfig) -> Any:
    """The automatic class that gives a model the task's head; `EnergyError` if none does."""
    import transformers

    if config.is_encoder_decoder:
        raise EnergyError(
            f"`{name}` ({config.model_type}) is an encoder with a decoder, which is not trained on "
            f"`{task.name}` this way: use one of both alone, or bring your own step with the "
            "fixture `energy_workload`"
        )
    for class_name, table in _HEADS[task.head]:
        if _knows(table, config):
            return getattr(transformers, class_name)
    raise EnergyError(
        f"transformers has no head for `{task.name}` on `{name}` ({config.model_type}): use "
        "another task or model, or bring your own step with the fixture `energy_workload`"
    )


def _knows(table: str, config: PretrainedConfig) -> bool:
    import transformers

    return type(config) in getattr(transformers, table)


@contextmanager
def _loading(name: str, attention: str = "") -> Iterator[None]:
    """Say what cannot be loaded and what needs no hub, or which attention a model lacks."""
    try:
        yield
    except Exception as error:  # loaders raise whatever their transport raises
        if isinstance(error, ValueError) and "attention implementation" in str(error):
            raise EnergyError(
                f"transformers has no `{attention}` attention for `{name}`: give "
                "`attention='eager'`"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else "no reason given"
        raise EnergyError(
            f"`{name}` cannot be loaded ({type(error).__name__}: {reason}); "
            f"{did_you_mean(name, ARCHITECTURES)}give a folder with its config.json "
            f"(`--energy-models`), connect to the hub, or use one of {', '.join(ARCHITECTURES)}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and its remarks that a head is new: here it always is."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def check_fits(model: PreTrainedModel, batches: Batches, name: str, max_length: int) -> None:
    """Raise `EnergyError` if a batch is longer than the model or has ids that it lacks."""
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


def converter(task: Task, model: PreTrainedModel, device: str) -> Callable[[Batch], Batch]:
    """What turns a batch into the arguments of `model` (not wrapped yet) on `device`.

    Token types go if a model tells fewer than two apart, padding becomes the model's own id,
    and a causal model is asked for the text itself, unmasked.
    """
    config = model.config
    taken = set(inspect.signature(model.forward).parameters)
    if getattr(config, "type_vocab_size", 0) < 2:
        taken.discard("token_type_ids")
    padding, causal = padding_id(config), task.head == "mlm" and not _knows(_MASKED[1], config)

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


def _positions(model: PreTrainedModel) -> int | None:
    """How many tokens a sequence may have; None if the model does not say."""
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
_ADAPTED = {"distilbert": ["q_lin", "v_lin"]}  # queries and values, if peft does not know them


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

    layers = (name for name, module in model.named_modules() if isinstance(module, Linear))
    return [name for name in layers if name.startswith(f"{model.base_model_prefix}.")]
