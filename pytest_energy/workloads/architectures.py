"""The models that are known by name, built without any download; whether the hub has others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_energy.errors import EnergyError, did_you_mean
from pytest_energy.files import digest_of
from pytest_energy.text import one_line

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Architecture:
    """A configuration class of transformers and the sizes in which it is not that class's default.

    `repository` and `revision` say where the hub has weights; without a repository there are none.
    `uncased` models read the 30,522 word pieces of uncased BERT.
    """

    configuration: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    repository: str | None = None
    revision: str | None = None
    uncased: bool = False

    def config(self, labels: int) -> PretrainedConfig:
        """The same as transformers knows it; `labels` counts the head's classes (0: none)."""
        import transformers

        sizes = {**self.sizes, "num_labels": labels} if labels else self.sizes
        config: PretrainedConfig = getattr(transformers, self.configuration)(**sizes)
        return config


# fmt: off
_BERT_LARGE = {
    "num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_BERT_TINY = {
    "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 256,
}
_QWEN2_HALF = {
    "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "eos_token_id": 151643,
}
_LLAMA3_ONE = {
    "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "bos_token_id": 128000,
    "eos_token_id": 128001,
}

ARCHITECTURES: Mapping[str, Architecture] = {
    "bert-base-uncased": Architecture(
        "BertConfig", repository="google-bert/bert-base-uncased",
        revision="86b5e0934494bd15c9632b12f734a8a67f723594", uncased=True),
    "distilbert-base-uncased": Architecture(
        "DistilBertConfig", repository="distilbert/distilbert-base-uncased",
        revision="12040accade4e8a0f71eabdb258fecc2e7e948be", uncased=True),
    "bert-large-uncased": Architecture(
        "BertConfig", _BERT_LARGE, repository="google-bert/bert-large-uncased", uncased=True),
    "bert-base-cased": Architecture(
        "BertConfig", {"vocab_size": 28996}, repository="google-bert/bert-base-cased"),
    "roberta-base": Architecture(
        "RobertaConfig",
        {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
        repository="FacebookAI/roberta-base"),
    "gpt2": Architecture("GPT2Config", repository="openai-community/gpt2"),
    "opt-125m": Architecture("OPTConfig", repository="facebook/opt-125m"),
    "Qwen2.5-0.5B": Architecture("Qwen2Config", _QWEN2_HALF, repository="Qwen/Qwen2.5-0.5B"),
    "Llama-3.2-1B": Architecture(
        "LlamaConfig", _LLAMA3_ONE, repository="meta-llama/Llama-3.2-1B"),
    # Two sizes to try things out with: seconds on a CPU, and no weights anywhere.
    "bert-tiny": Architecture("BertConfig", _BERT_TINY, uncased=True),
    "distilbert-tiny": Architecture(
        "DistilBertConfig", {"n_layers": 1, "dim": 64, "n_heads": 2, "hidden_dim": 256},
        uncased=True),
}
# fmt: on


def known_architecture(model: str) -> Architecture | None:
    """The architecture called `model`, by its own name or by that of its hub repository."""
    if model in ARCHITECTURES:
        return ARCHITECTURES[model]
    return next((each for each in ARCHITECTURES.values() if each.repository == model), None)


# fmt: off
# What tells neither how much a step computes nor what it is made of; two names are of transformers
# before 5, which notes there how a model was once loaded.
_NO_ARCHITECTURE = frozenset({
    "_attn_implementation_autoset", "_name_or_path", "architectures", "bos_token_id", "dtype",
    "eos_token_id", "id2label", "initializer_range", "label2id", "pad_token_id", "problem_type",
    "torch_dtype", "transformers_version", "use_cache",
})
# fmt: on


def architecture_digest(config: PretrainedConfig) -> str:
    """Eight hex digits of what a configuration builds, whatever its labels and special tokens.

    Entries that the configuration's class does not know are notes of whoever saved it.
    """
    fields = type(config)().to_dict().keys() - _NO_ARCHITECTURE
    built = {name: value for name, value in config.to_dict().items() if name in fields}
    return digest_of(built, separators=(", ", ": "))


def hub_name(model: str) -> tuple[str, str | None]:
    """Repository or folder, and the pinned revision, under which transformers finds `model`."""
    known = known_architecture(model)
    if known is None:
        return model, None
    # The small ones have the vocabulary of the full size.
    full = known if known.repository else ARCHITECTURES["bert-base-uncased"]
    return str(full.repository), full.revision


CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def folder_of(model: str, models: Path | None) -> Path | None:
    """The folder that has `model`'s config.json, if there is one.

    In `models` it is called like the model, with or without the part before the slash of a hub's
    name. Else `model` may be a folder itself, unless it is a name that is known.
    """
    if models is not None:
        for name in (model, model.rpartition("/")[2]):
            if name and (models / name / CONFIG).is_file():
                return models / name
    if known_architecture(model) is None and (Path(model).expanduser() / CONFIG).is_file():
        return Path(model).expanduser()
    return None


def brings_weights(model: str, models: Path | None) -> bool:
    """Whether the folder of models has weights of this one."""
    folder = folder_of(model, models)
    return models is not None and folder is not None and has_weights(folder)


def has_weights(folder: Path) -> bool:
    """Whether a model's folder has weights in the safetensors format."""
    return any((folder / name).is_file() for name in WEIGHTS)


def checkpoint_names(models: Path) -> tuple[str, ...]:
    """The models in a folder of them, in alphabetical order: `gpt2` or `facebook/opt-125m`."""
    found = [*models.glob(f"*/{CONFIG}"), *models.glob(f"*/*/{CONFIG}")]
    return tuple(sorted(path.parent.relative_to(models).as_posix() for path in found))


HUB_SECONDS = 5.0
"""How long the hub may take to say whether it has a model: its loaders try for half a minute."""


def require_on_hub(name: str, place: str, revision: str | None = None) -> None:
    """Raise `EnergyError` if the model `name` is neither at `place` nor known to the hub.

    `place` is its folder or its repository. A folder, and what the hub's cache has, is not asked
    for. What else is wrong with the hub is left to who loads from it.
    """
    if Path(place).is_dir():
        return
    from huggingface_hub import constants, hf_hub_url, try_to_load_from_cache
    from huggingface_hub import utils as untyped
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
    )

    hub: Any = untyped
    try:
        if isinstance(try_to_load_from_cache(place, "config.json", revision=revision), str):
            return
        url = hf_hub_url(place, "config.json", revision=revision)
    except HFValidationError:
        why = "is no folder with a config.json, and no name that the hub could have"
        raise _unknown(name, why) from None
    if constants.HF_HUB_OFFLINE:
        raise _unknown(name, "is not in the hub's cache, and `HF_HUB_OFFLINE` is set")
    try:
        # Not by the hub's own functions for files: some versions of them ask again and again.
        answer = hub.get_session().head(url, headers=hub.build_hf_headers(), timeout=HUB_SECONDS)
        hub.hf_raise_for_status(answer)
    except GatedRepoError:
        return
    except RepositoryNotFoundError:
        raise _unknown(name, "is not on the hub, or is private") from None
    except HfHubHTTPError:
        return
    except Exception as error:  # the hub's transport raises what its own transport raises
        why = f"the hub can't be reached ({type(error).__name__})"
        raise _unknown(name, f"is not in the hub's cache, and {why}") from error


def _unknown(name: str, why: str) -> EnergyError:
    meant = did_you_mean(name, ARCHITECTURES)
    return EnergyError(
        f"`{one_line(name)}` cannot be loaded: it {why}; {meant}give a folder with its "
        f"config.json (`--energy-models`), or use one of {', '.join(ARCHITECTURES)}"
    )
