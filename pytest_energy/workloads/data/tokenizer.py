"""The WordPiece tokenizer: from a `vocab.txt` in the folder, else the model's own from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.errors import EnergyError
from pytest_energy.workloads.data.files import fault, read_lines

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNCASED = "bert-base-uncased"


def vocabulary_of(root: Path, model: str) -> Path | None:
    """The `vocab.txt` that serves `model` in the folder, if there is one.

    `vocab/<model>/vocab.txt` comes first, then the uncased one for models that share it, then the
    folder's own `vocab.txt`.
    """
    names = [model, UNCASED] if shares_uncased_vocabulary(model) else [model]
    places = [root / "vocab" / name / "vocab.txt" for name in names] + [root / "vocab.txt"]
    return next((place for place in places if place.is_file()), None)


def shares_uncased_vocabulary(model: str) -> bool:
    """Whether `model` reads the 30,522 word pieces of uncased BERT."""
    from pytest_energy.workloads.models import ARCHITECTURES

    return model in ARCHITECTURES


def tokenizer_from(vocabulary: Path, *, lower_case: bool) -> Tokenizer:
    """BERT's tokenizer over the word pieces of `vocabulary`, one a line."""
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece

    pieces = {piece: index for index, piece in enumerate(read_lines(vocabulary, "word pieces"))}
    for special in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"):
        if special not in pieces:
            raise fault(vocabulary, None, f"no `{special}`", "one word piece of BERT a line")
    tokenizer = Tokenizer(WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", pieces["[SEP]"]), ("[CLS]", pieces["[CLS]"])
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return tokenizer


def tokenizer_for(model: str, root: Path | None = None) -> Tokenizer:
    """The tokenizer of `model`; `EnergyError` where neither folder nor hub has it."""
    vocabulary = vocabulary_of(root, model) if root else None
    if vocabulary:
        lower_case = shares_uncased_vocabulary(model) or "uncased" in model or "cased" not in model
        return tokenizer_from(vocabulary, lower_case=lower_case)
    from transformers import AutoTokenizer

    from pytest_energy.workloads.models import hub_name

    name, revision = hub_name(model)
    try:
        loaded = AutoTokenizer.from_pretrained(name, revision=revision, use_fast=True)
    except Exception as error:  # the loader raises whatever its transport raises
        where = f"put its vocab.txt into `{root}`, or " if root else ""
        raise EnergyError(
            f"no tokenizer for `{model}`: the hub can't be reached or does not have it "
            f"({type(error).__name__}); {where}use `--energy-data=synthetic`"
        ) from error
    backend: Tokenizer | None = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        raise EnergyError(f"`{model}` has no fast tokenizer: use `--energy-data=synthetic`")
    return backend
