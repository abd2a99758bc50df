"""From records to examples: tokenizers, and what each head is asked of a text.

Masking is done by hand on purpose: a baseline's digest stands for exact batches, which a library
may change with any release.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_energy.documents import FaultyDocumentError, parse_json, shown
from pytest_energy.errors import DataError, EnergyError
from pytest_energy.files import fault, read_bytes, read_lines
from pytest_energy.text import one_line
from pytest_energy.workloads.architectures import (
    folder_of,
    hub_name,
    known_architecture,
    require_on_hub,
)
from pytest_energy.workloads.data.examples import (
    IGNORED,
    Example,
    Passage,
    Question,
    Record,
    Tagged,
    Text,
)
from pytest_energy.workloads.tasks import Task, get_task

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


PREDICTED = 0.15
KEPT_OR_RANDOM = 0.1


def masked_example(ids: tuple[int, ...], rng: Random, *, mask: int, words: range) -> Example:
    """An example that asks for 15 % of the tokens of `ids`, its first and last one left alone.

    Of those asked for, 80 % read `mask`, 10 % a random id of `words`, 10 % what they were (BERT,
    arXiv 1810.04805, section 3.1). At least one token is asked for.
    """
    shown = list(ids)
    asked = [IGNORED] * len(ids)
    inner = range(1, len(ids) - 1)
    chosen = [i for i in inner if rng.random() < PREDICTED] or [1 + int(rng.random() * len(inner))]
    for i in chosen:
        asked[i] = ids[i]
        share = rng.random()
        if share >= 2 * KEPT_OR_RANDOM:
            shown[i] = mask
        elif share >= KEPT_OR_RANDOM:
            shown[i] = words[int(rng.random() * len(words))]
    return Example(ids=tuple(shown), types=(0,) * len(ids), token_labels=tuple(asked))


UNCASED = "bert-base-uncased"


def tokenizer_file(model: str, root: Path | None, models: Path | None) -> Path | None:
    """The file that makes `model`'s tokenizer: in its folder of `models`, else in that of data.

    Of the data folder `root` it is `vocab/<model>/vocab.txt`, then the uncased one for models that
    share it, then its own `vocab.txt`.
    """
    folder, places = folder_of(model, models), []
    if folder is not None:
        places += [folder / name for name in ("tokenizer.json", "vocab.txt", "merges.txt")]
    if root is not None:
        known = known_architecture(model)
        names = [model, UNCASED] if known is not None and known.uncased else [model]
        places += [root / "vocab" / name / "vocab.txt" for name in names] + [root / "vocab.txt"]
    return next((place for place in places if place.is_file()), None)


def tokenizer_from(vocabulary: Path, *, lower_case: bool) -> Tokenizer:
    """BERT's tokenizer over the word pieces of `vocabulary`, one a line."""
    from tokenizers import BertWordPieceTokenizer

    # Read here: a byte order mark or the ends of lines are no part of a word piece.
    pieces = {piece.rstrip(): place for place, piece in enumerate(read_lines(vocabulary, _PIECES))}
    for special in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"):
        if special not in pieces:
            raise fault(vocabulary, None, f"no `{special}`", _PIECES)
    made = BertWordPieceTokenizer(pieces, lowercase=lower_case)
    tokenizer: Tokenizer = made._tokenizer
    return tokenizer


_PIECES = "one word piece of BERT a line"


def tokenizer_for(model: str, root: Path | None, models: Path | None) -> Tokenizer:
    """The tokenizer of `model`, from its file or the hub; `EnergyError` if neither has it."""
    file = tokenizer_file(model, root, models)
    if file is not None and file.name == "vocab.txt":
        return tokenizer_from(file, lower_case=_lower_case(model, file.parent))
    name, revision = hub_name(model) if file is None else (str(file.parent), None)
    where = f"put its vocab.txt into `{root}`, or " if root else ""
    try:
        require_on_hub(model, name, revision)
    except EnergyError as error:
        raise EnergyError(
            f"no tokenizer for `{model}`: {where}put its files into its folder of "
            f"`--energy-models`, or use `--energy-data=synthetic`; {error}"
        ) from error
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(name, revision=revision, use_fast=True)
    except Exception as error:  # the loader raises whatever its transport raises
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
        said = _json_table(written).get("do_lower_case")
        if isinstance(said, bool):
            return said
    return "uncased" in model or "cased" not in model


def _json_table(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(read_bytes(path))
    except FaultyDocumentError as error:
        raise DataError(f"`{path}` {error}: mend it, or remove it") from None
    if not isinstance(found, dict):
        raise DataError(f"`{path}` is {shown(found)}, not a table of JSON: mend it, or remove it")
    return found


class RecordSource(ABC):
    """A source of records, tokenised by each model's own tokenizer.

    `root` is its folder, if it has one; `models` that of checkpoints, whose tokenizers come first.
    """

    def __init__(self, root: Path | None = None, models: Path | None = None) -> None:
        self._root, self._models = root, models
        self._tokenizers: dict[str, Tokenizer] = {}

    def vocabularies(self) -> tuple[str, ...]:
        """For each model whose tokenizer was used, where that came from."""
        told = []
        for model in self._tokenizers:
            file = tokenizer_file(model, self._root, self._models)
            by = "the hub" if file is None else f"`{one_line(file)}`"
            told.append(f"text for `{model}` is cut by {by}")
        return tuple(told)

    def tokenizer(self, model: str) -> Tokenizer:
        """The checkpoint's own, else that of a `vocab.txt` in the folder, else the hub's."""
        if model not in self._tokenizers:
            self._tokenizers[model] = tokenizer_for(model, self._root, self._models)
        return self._tokenizers[model]

    def examples(
        self, task: Task | str, *, model: str, max_length: int, seed: int, count: int
    ) -> list[Example]:
        """Up to `count` examples in `model`'s word pieces, from records in an order by `seed`."""
        task = get_task(task)
        return make_examples(
            task,
            self.records(task, Random(f"pytest-energy order {seed}")),
            self.tokenizer(model),
            labels=self.labels(task),
            max_length=max_length,
            seed=seed,
            count=count,
        )

    @abstractmethod
    def labels(self, task: Task | str) -> tuple[str, ...]:
        """The names of the task's labels."""

    @abstractmethod
    def records(self, task: Task, rng: Random) -> Iterator[Record]:
        """The records to train on, in random order."""


R = TypeVar("R", Text, Question, Tagged, Passage)

_AT_ONCE = 64
LONGEST_QUESTION = 64
_DEFAULT_MASK = 103


def make_examples(
    task: Task,
    records: Iterable[Record],
    tokenizer: Tokenizer,
    *,
    labels: Sequence[str],
    max_length: int,
    seed: int,
    count: int,
) -> list[Example]:
    """The first `count` examples that the records make; no more of them are tokenised than needed.

    A long context makes several examples, each with the part of the answer's span that it holds.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenised: Iterator[Example]
    if task.head == "sequence":
        tokenised = _texts(records, tokenizer, max_length)
    elif task.head == "qa":
        asked = question_parts(records, tokenizer, max_length, task.doc_stride or 0)
        tokenised = (
            Example(tuple(part.ids), tuple(part.type_ids), span=_span(part, question.answer))
            for question, parts in asked
            for part in parts
        )
    elif task.head == "token":
        tokenised = _sentences(records, tokenizer, max_length, labels)
    else:
        tokenised = _masked(records, tokenizer, max_length, seed)
    examples = list(islice(tokenised, count))
    if not examples:
        raise DataError(
            f"`{task.name}`: too little text for one example of {max_length} tokens; use a larger "
            "file or a smaller `max_length`"
        )
    return examples


def _chunks(records: Iterable[Record], kind: type[R]) -> Iterator[list[R]]:
    """Records of a kind, as many at a time as are tokenised at once."""
    stream = (record for record in records if isinstance(record, kind))
    while chunk := list(islice(stream, _AT_ONCE)):
        yield chunk


def _texts(records: Iterable[Record], tokenizer: Tokenizer, max_length: int) -> Iterator[Example]:
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    for texts in _chunks(records, Text):
        encodings = tokenizer.encode_batch(
            [text.text if text.pair is None else (text.text, text.pair) for text in texts]
        )
        for text, encoding in zip(texts, encodings, strict=True):
            yield Example(tuple(encoding.ids), tuple(encoding.type_ids), label=text.label)


def question_parts(
    records: Iterable[Record], tokenizer: Tokenizer, max_length: int, doc_stride: int
) -> Iterator[tuple[Question, list[Encoding]]]:
    """Each question with as much of its context as fits, in as many overlapping parts as it takes.

    `doc_stride` tokens (at most half of a part) are in two neighbours.
    """
    for asked in _chunks(records, Question):
        questions = tokenizer.encode_batch([q.question for q in asked], add_special_tokens=False)
        contexts = tokenizer.encode_batch([q.context for q in asked], add_special_tokens=False)
        for record, question, context in zip(asked, questions, contexts, strict=True):
            question.truncate(min(LONGEST_QUESTION, max_length // 2))
            special = tokenizer.num_special_tokens_to_add(True)
            room = max_length - len(question) - special
            context.truncate(room, stride=min(doc_stride, room // 2))
            pieces = (context, *context.overflowing)
            yield record, [tokenizer.post_process(question, piece) for piece in pieces]


def _span(encoding: Encoding, answer: tuple[int, int] | None) -> tuple[int, int]:
    """First and last token of the answer's characters; (0, 0) unless all of it is there."""
    if answer is None:
        return 0, 0
    start, end = answer
    inside = [i for i, sequence in enumerate(encoding.sequence_ids) if sequence == 1]
    offsets = encoding.offsets
    if not inside or start < offsets[inside[0]][0] or end > offsets[inside[-1]][1]:
        return 0, 0
    covered = [i for i in inside if offsets[i][1] > start and offsets[i][0] < end]
    return (covered[0], covered[-1]) if covered else (0, 0)


def _sentences(
    records: Iterable[Record], tokenizer: Tokenizer, max_length: int, labels: Sequence[str]
) -> Iterator[Example]:
    """A word's first piece carries its label; its other pieces and special tokens carry none."""
    ids = {label: index for index, label in enumerate(labels)}
    tokenizer.enable_truncation(max_length)
    for sentences in _chunks(records, Tagged):
        encodings = tokenizer.encode_batch(
            [list(sentence.words) for sentence in sentences], is_pretokenized=True
        )
        for sentence, encoding in zip(sentences, encodings, strict=True):
            words = encoding.word_ids
            asked = [
                IGNORED if word is None or word == before else ids[sentence.tags[word]]
                for before, word in zip([None, *words], words, strict=False)
            ]
            yield Example(tuple(encoding.ids), tuple(encoding.type_ids), token_labels=tuple(asked))


def _masked(
    records: Iterable[Record], tokenizer: Tokenizer, max_length: int, seed: int
) -> Iterator[Example]:
    """Text joined and cut into sequences that are full to the last token; a rest is dropped."""
    rng = Random(f"pytest-energy masking {seed}")
    mask = tokenizer.token_to_id("[MASK]") or tokenizer.token_to_id("<mask>") or _DEFAULT_MASK
    size = tokenizer.get_vocab_size()
    # The first and last ids of a vocabulary are no words in one family of models or another.
    words = range(size // 10, size - size // 10)
    # What stands around a text: both ends in BERT's family, the first alone in some decoders'.
    around = tokenizer.encode("").ids
    first, last = around[:1], around[1:][-1:]
    room = max_length - len(first) - len(last)
    waiting: list[int] = []
    for passages in _chunks(records, Passage):
        texts = [passage.text for passage in passages]
        for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
            waiting += encoding.ids
            while len(waiting) >= room:
                body, waiting = waiting[:room], waiting[room:]
                yield masked_example((*first, *body, *last), rng, mask=mask, words=words)
