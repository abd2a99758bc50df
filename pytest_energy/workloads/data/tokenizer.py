"""The WordPiece tokenizer: from a `vocab.txt` in the folder, else the model's own from the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_energy.errors import EnergyError
from pytest_energy.workloads.architectures import hub_name, known_architecture
from pytest_energy.workloads.checkpoints import folder_of
from pytest_energy.workloads.data.files import fault, read_lines, read_text

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
    known = known_architecture(model)
    return known is not None and known.uncased


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


def checkpoint_tokenizer(model: str, models: Path | None) -> Path | None:
    """The file of a checkpoint that makes its tokenizer, if it has one that is known."""
    folder = folder_of(model, models)
    names = () if folder is None else ("tokenizer.json", "vocab.txt", "merges.txt")
    return next((folder / name for name in names if folder and (folder / name).is_file()), None)


def tokenizer_for(model: str, root: Path | None = None, models: Path | None = None) -> Tokenizer:
    """The tokenizer of `model`: its checkpoint's, the data folder's `root`, or the hub's.

    `EnergyError` where none of them has it.
    """
    own = checkpoint_tokenizer(model, models)
    vocabulary = vocabulary_of(root, model) if root and own is None else own
    if vocabulary is not None and vocabulary.name == "vocab.txt":
        return tokenizer_from(vocabulary, lower_case=_lower_case(model, vocabulary.parent))
    from transformers import AutoTokenizer

    name, revision = hub_name(model) if own is None else (str(own.parent), None)
    try:
        loaded = AutoTokenizer.from_pretrained(name, revision=revision, use_fast=True)
    except Exception as error:  # the loader raises whatever its transport raises
        where = f"put its vocab.txt into `{root}`, or " if root else ""
        raise EnergyError(
            f"no tokenizer for `{model}`: the hub can't be reached or does not have it "
            f"({type(error).__name__}); {where}put its files into its folder of `--energy-models`, "
            "or use `--energy-data=synthetic`"
        ) from error
    backend: Tokenizer | None = getattr(loaded, "backend_tokenizer", None)
    if backend is None:
        raise EnergyError(f"`{model}` has no fast tokenizer: use `--energy-data=synthetic`")
    return backend


def _lower_case(model: str, folder: Path) -> bool:
    """Whether a vocabulary is of lower-case text: what is written beside it, else by its name."""
    written = folder / "tokenizer_config.json"
    if written.is_file():
        said = json.loads(read_text(written, "JSON")).get("do_lower_case")
        if isinstance(said, bool):
            return said
    return shares_uncased_vocabulary(model) or "uncased" in model or "cased" not in model
