"""Tokenise records into examples of at most a given length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from pytest_energy.errors import DataError
from pytest_energy.workloads.data.masking import masked_example
from pytest_energy.workloads.data.protocol import IGNORED, Example
from pytest_energy.workloads.data.records import Passage, Question, Record, Tagged, Text
from pytest_energy.workloads.tasks import Task

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

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
        tokenised = _questions(records, tokenizer, max_length, task.doc_stride or 0)
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


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    stream = iter(records)
    while chunk := list(islice(stream, _AT_ONCE)):
        yield chunk


def _texts(records: Iterable[Record], tokenizer: Tokenizer, max_length: int) -> Iterator[Example]:
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    for chunk in _chunks(records):
        texts = [record for record in chunk if isinstance(record, Text)]
        encodings = tokenizer.encode_batch(
            [text.text if text.pair is None else (text.text, text.pair) for text in texts]
        )
        for text, encoding in zip(texts, encodings, strict=True):
            yield Example(tuple(encoding.ids), tuple(encoding.type_ids), label=text.label)


def _questions(
    records: Iterable[Record], tokenizer: Tokenizer, max_length: int, doc_stride: int
) -> Iterator[Example]:
    for record, parts in question_parts(records, tokenizer, max_length, doc_stride):
        for part in parts:
            span = _span(part, record.answer)
            yield Example(tuple(part.ids), tuple(part.type_ids), span=span)


def question_parts(
    records: Iterable[Record], tokenizer: Tokenizer, max_length: int, doc_stride: int
) -> Iterator[tuple[Question, list[Encoding]]]:
    """Each question with as much of its context as fits, in as many overlapping parts as it takes.

    `doc_stride` tokens (at most half of a part) are in two neighbours.
    """
    for chunk in _chunks(records):
        asked = [record for record in chunk if isinstance(record, Question)]
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
    for chunk in _chunks(records):
        sentences = [record for record in chunk if isinstance(record, Tagged)]
        encodings = tokenizer.encode_batch(
            [list(sentence.words) for sentence in sentences], is_pretokenized=True
        )
        for sentence, encoding in zip(sentences, encodings, strict=True):
            words = encoding.word_ids
            marked = [
                IGNORED if word is None or word == before else ids[sentence.tags[word]]
                for before, word in zip([None, *words], words, strict=False)
            ]
            yield Example(tuple(encoding.ids), tuple(encoding.type_ids), token_labels=tuple(marked))


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
    for chunk in _chunks(records):
        passages = [record.text for record in chunk if isinstance(record, Passage)]
        for encoding in tokenizer.encode_batch(passages, add_special_tokens=False):
            waiting += encoding.ids
            while len(waiting) >= room:
                body, waiting = waiting[:room], waiting[room:]
                yield masked_example((*first, *body, *last), rng, mask=mask, words=words)
