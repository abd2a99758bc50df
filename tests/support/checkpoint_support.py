"""Small models of other families, each in a folder as `--energy-models` wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_energy import FineTuning, open_data, prepare
from workloads_support import SteadyMeter

WORDS = 31_000

_LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": WORDS,
}
_BERT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2Config",
        {"n_layer": 2, "n_head": 2, "n_embd": 32, "vocab_size": WORDS}
        | {"bos_token_id": WORDS - 1, "eos_token_id": WORDS - 1},
    ),
    "facebook/opt-125m": (
        "OPTConfig",
        {"num_hidden_layers": 2, "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64}
        | {"num_attention_heads": 2, "vocab_size": WORDS},
    ),
    "my-llama": ("LlamaConfig", _LLAMA),
    "my-qwen": ("Qwen2Config", _LLAMA),
    "roberta-base": (
        "RobertaConfig",
        {**_BERT, "vocab_size": WORDS, "max_position_embeddings": 66, "type_vocab_size": 1},
    ),
    "my-deberta": ("DebertaV2Config", {**_BERT, "vocab_size": WORDS}),
    "my-albert": ("AlbertConfig", {**_BERT, "embedding_size": 16, "vocab_size": WORDS}),
    "my-t5": ("T5Config", {"num_layers": 1, "d_model": 32}),
    "bert-base-uncased": ("BertConfig", _BERT),
}


def write_configs(folder: Path, *names: str) -> Path:
    """The folder, with the config.json of each of the models, or of those named."""
    import transformers

    for name in names or CONFIGS:
        class_name, sizes = CONFIGS[name]
        getattr(transformers, class_name)(**sizes).save_pretrained(folder / name)
    return folder


def small(task: str, model: str, models: Path | None = None, **changes: Any) -> FineTuning:
    """A run of two or so steps on synthetic data."""
    settings: dict[str, Any] = {
        "data": open_data("synthetic"),
        "meter": SteadyMeter(),
        "tokens_per_window": 400,
        "max_tokens_per_batch": 256,
        "device": "cpu",
        "models": models,
        **changes,
    }
    return prepare(task, model, **settings)
