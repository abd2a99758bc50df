"""The models: BERT and DistilBERT in their published sizes, or any other the user names.

Weights are drawn from a seed unless pretrained ones are asked for: what a token costs depends on
the architecture, not on what the weights say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pytest_energy.errors import EnergyError
from pytest_energy.workloads.choices import did_you_mean
from pytest_energy.workloads.tasks import Head, Task

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Architecture:
    """The sizes of a model of the BERT family; `repository` and `revision` say where weights are.

    Without a repository there are no weights to load.
    """

    family: Literal["bert", "distilbert"]
    layers: int
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int = 30522
    positions: int = 512
    repository: str | None = None
    revision: str | None = None

    def config(self, labels: int) -> PretrainedConfig:
        """The same as transformers knows it."""
        from transformers import BertConfig, DistilBertConfig

        sizes: dict[str, Any] = {
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
        }
        if labels:
            sizes["num_labels"] = labels
        if self.family == "distilbert":
            return DistilBertConfig(
                n_layers=self.layers,
                dim=self.hidden,
                n_heads=self.heads,
                hidden_dim=self.feed_forward,
                **sizes,
            )
        return BertConfig(
            num_hidden_layers=self.layers,
            hidden_size=self.hidden,
            num_attention_heads=self.heads,
            intermediate_size=self.feed_forward,
            **sizes,
        )


ARCHITECTURES: Mapping[str, Architecture] = {
    "bert-base-uncased": Architecture(
        "bert",
        layers=12,
        hidden=768,
        heads=12,
        feed_forward=3072,
        repository="google-bert/bert-base-uncased",
        revision="86b5e0934494bd15c9632b12f734a8a67f723594",
    ),
    "distilbert-base-uncased": Architecture(
        "distilbert",
        layers=6,
        hidden=768,
        heads=12,
        feed_forward=3072,
        repository="distilbert/distilbert-base-uncased",
        revision="12040accade4e8a0f71eabdb258fecc2e7e948be",
    ),
    # Two sizes to try things out with: seconds on a CPU, and no weights anywhere.
    "bert-tiny": Architecture("bert", layers=2, hidden=64, heads=2, feed_forward=256),
    "distilbert-tiny": Architecture("distilbert", layers=1, hidden=64, heads=2, feed_forward=256),
}

_CLASSES: Mapping[Head, str] = {
    "sequence": "AutoModelForSequenceClassification",
    "qa": "AutoModelForQuestionAnswering",
    "token": "AutoModelForTokenClassification",
    "mlm": "AutoModelForMaskedLM",
}


def hub_name(model: str) -> tuple[str, str | None]:
    """Repository or folder, and the pinned revision, under which transformers finds `model`."""
    known = ARCHITECTURES.get(model)
    if known is None:
        return model, None
    # The small ones have the vocabulary of the full size.
    full = known if known.repository else ARCHITECTURES["bert-base-uncased"]
    return str(full.repository), full.revision


def build_model(
    task: Task,
    model_name: str,
    *,
    labels: int,
    attention: str = "sdpa",
    seed: int = 0,
    pretrained: bool = False,
) -> PreTrainedModel:
    """The model with the task's head, in fp32 on the CPU, ready to train.

    `model_name` is one of `ARCHITECTURES`, a folder with a config.json, or a name on the hub;
    `labels` counts the head's classes (0: the head has none); `pretrained` loads weights where
    there are any. The caller's random state stays as it was.
    """
    import torch
    import transformers

    head: Any = getattr(transformers, _CLASSES[task.head])
    known = ARCHITECTURES.get(model_name)
    # fork_rng without devices: drawing on the CPU gives the same weights on all hardware.
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        if known and not (pretrained and known.repository):
            config = known.config(labels)
            model = head.from_config(config, attn_implementation=attention)
        else:
            model = _from_elsewhere(head, model_name, labels, attention, pretrained)
    model = model.float()
    model.train()
    built: PreTrainedModel = model
    return built


def parameters(model: PreTrainedModel) -> tuple[int, int]:
    """How many parameters are trained, and how many there are; shared ones count once."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def _from_elsewhere(head: Any, name: str, labels: int, attention: str, pretrained: bool) -> Any:
    """A model from a folder or the hub: its weights if asked for, else its architecture alone."""
    from transformers import AutoConfig

    repository, revision = hub_name(name)
    options: dict[str, Any] = {"revision": revision} if revision else {}
    if labels:
        options["num_labels"] = labels
    try:
        if pretrained:
            return head.from_pretrained(
                repository, attn_implementation=attention, use_safetensors=True, **options
            )
        config = AutoConfig.from_pretrained(repository, **options)
        return head.from_config(config, attn_implementation=attention)
    except Exception as error:  # loaders raise whatever their transport raises
        reason = str(error).splitlines()[0] if str(error) else "no reason given"
        raise EnergyError(
            f"`{name}` cannot be loaded ({type(error).__name__}: {reason}); "
            f"{did_you_mean(name, ARCHITECTURES)}give a folder with its config.json, connect to "
            f"the hub, or use one of {', '.join(ARCHITECTURES)}"
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
