"""Scores by the libraries that define them: torchmetrics and seqeval. All in per cent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from paper.held_out import held_out
from paper.inference import without_targets
from pytest_energy import (
    Batches,
    DataError,
    DataSource,
    EnergyError,
    Example,
    FineTuning,
    Question,
    Tagged,
    Task,
    make_examples,
    question_parts,
)

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding


Scores = dict[str, float]
"""Scores by name, in per cent; the first is the one that the task is known by."""


def score_classes(answers: Sequence[int], right: Sequence[int], classes: int) -> Scores:
    """Accuracy, and the mean of the classes' F1."""
    import torch

    with _libraries():
        from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score
    given, wanted = torch.tensor(answers), torch.tensor(right)
    accuracy = multiclass_accuracy(given, wanted, num_classes=classes, average="micro")
    f1 = multiclass_f1_score(given, wanted, num_classes=classes, average="macro")
    return {"accuracy": 100 * float(accuracy), "macro F1": 100 * float(f1)}


def score_entities(answers: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> Scores:
    """F1, precision and recall of whole entities (IOB2 tags, as conlleval counts)."""
    with _libraries():
        from seqeval.metrics import f1_score, precision_score, recall_score
    wanted, given = [list(tags) for tags in right], [list(tags) for tags in answers]
    return {
        name: 100 * float(measure(wanted, given, zero_division=0))
        for name, measure in (
            ("entity F1", f1_score),
            ("precision", precision_score),
            ("recall", recall_score),
        )
    }


def score_spans(answers: Sequence[str], right: Sequence[Sequence[str]]) -> Scores:
    """SQuAD's F1 and exact match, the best over the answers that are right; none is `("",)`."""
    with _libraries():
        from torchmetrics.text import SQuAD
    given = [{"id": str(i), "prediction_text": text} for i, text in enumerate(answers)]
    wanted = [
        {"id": str(i), "answers": {"text": list(texts) or [""], "answer_start": [0]}}
        for i, texts in enumerate(right)
    ]
    found = SQuAD()(given, wanted)
    return {"span F1": float(found["f1"]), "exact match": float(found["exact_match"])}


def require_libraries() -> None:
    """Raise `EnergyError` unless what scores is installed."""
    with _libraries():
        import seqeval  # noqa: F401
        import torchmetrics  # noqa: F401


@contextmanager
def _libraries() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise EnergyError(
            f"scores need `{error.name}`, which is not installed: "
            "`pip install torchmetrics seqeval`"
        ) from error


N_BEST = 20
"""Starts, and ends, of each part that are tried."""

LONGEST_ANSWER = 30
"""Tokens of an answer at most."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a question's context as a model saw it, with what the model said of it.

    `offsets` has one entry a token: its [start, end) in the context's characters, None for tokens
    that are no context. `starts` and `ends` are the logits of those tokens; token 0 stands for no
    answer.
    """

    offsets: Sequence[tuple[int, int] | None]
    starts: Sequence[float]
    ends: Sequence[float]


def best_answer(context: str, parts: Sequence[Part], *, may_abstain: bool) -> str:
    """The text of the span whose logits add up to most; empty where there is none.

    As SQuAD's example scripts decode: of the 20 best starts and ends of each part those count that
    are in the context, in order, and at most 30 tokens apart. With `may_abstain` no answer is
    given where token 0 adds up to more in every part that has a say: the least of them counts.
    """
    spans = [span for part in parts for span in _spans(part)]
    if not spans:
        return ""
    score, start, end = max(spans, key=lambda span: span[0])
    if may_abstain and min(part.starts[0] + part.ends[0] for part in parts) > score:
        return ""
    return context[start:end]


def _spans(part: Part) -> Iterator[tuple[float, int, int]]:
    """The score of each span that is possible, and its [start, end) in characters."""
    ends = _best(part.ends)
    for first in _best(part.starts):
        for last in ends:
            begin, finish = part.offsets[first], part.offsets[last]
            if begin and finish and 0 <= last - first < LONGEST_ANSWER:
                yield part.starts[first] + part.ends[last], begin[0], finish[1]


def _best(logits: Sequence[float]) -> list[int]:
    return sorted(range(len(logits)), key=logits.__getitem__, reverse=True)[:N_BEST]


Outputs = Mapping[str, "torch.Tensor"]
"""What a model says of one example, by name, without padding: [classes], [tokens] or both."""


@dataclass(frozen=True)
class Evaluation:
    """Held-out examples, and what scores a model's outputs, given one for each of them.

    `chance` is the score of the best constant answer (%): the commonest class, no answer, or no
    entity. `count` is how many answers are scored.
    """

    examples: Sequence[Example]
    score: Callable[[Sequence[Outputs]], Scores]
    chance: float
    count: int


def make_evaluation(task: Task, data: DataSource, model: str, max_length: int) -> Evaluation:
    """That of a task on what the data holds out; `DataError` where it holds out nothing."""
    if task.head == "qa":
        return _questions(task, data, model, max_length)
    labels = data.labels(task)
    records = held_out(data, task.name)
    _check_tags([record for record in records if isinstance(record, Tagged)], labels)
    examples = make_examples(
        task,
        records,
        data.tokenizer(model),
        labels=labels,
        max_length=max_length,
        seed=0,
        count=len(records),
    )
    if task.head == "token":
        return Evaluation(
            examples,
            lambda outputs: _score_tags(examples, outputs, labels),
            chance=0.0,
            count=max(1, sum(tag.startswith("B-") for tag in _scored_tags(examples, labels))),
        )
    commonest = max(Counter(example.label for example in examples).values())
    return Evaluation(
        examples,
        lambda outputs: _score_labels(examples, outputs, len(labels)),
        chance=100 * commonest / len(examples),
        count=len(examples),
    )


def evaluate(evaluation: Evaluation, run: FineTuning, batch_size: int) -> Scores:
    """The scores of the model of `run`, which goes on training afterwards."""
    return evaluation.score(list(_outputs(run, evaluation.examples, batch_size)))


def _outputs(run: FineTuning, examples: Sequence[Example], batch_size: int) -> Iterator[Outputs]:
    with run.evaluating() as model:
        for at in range(0, len(examples), batch_size):
            group = examples[at : at + batch_size]
            said = model(**without_targets(run.convert(Batches.of([group]).batches[0])))
            kept = {name: said[name].float().cpu() for name in _SAID if name in said}
            for row, example in enumerate(group):
                length = len(example.ids)
                yield {
                    # One row of classes is of the whole example, more are of its tokens.
                    name: rows[row] if name == "logits" and rows.dim() == 2 else rows[row, :length]
                    for name, rows in kept.items()
                }


_SAID = ("logits", "start_logits", "end_logits")


def _score_labels(examples: Sequence[Example], outputs: Sequence[Outputs], classes: int) -> Scores:
    right = [example.label for example in examples if example.label is not None]
    return score_classes([int(each["logits"].argmax()) for each in outputs], right, classes)


def _score_tags(
    examples: Sequence[Example], outputs: Sequence[Outputs], labels: Sequence[str]
) -> Scores:
    """Of each word the first piece speaks, as in training."""
    given, right = [], []
    for example, said in zip(examples, outputs, strict=True):
        # Tokens that training leaves out have a label below 0.
        scored = [i for i, label in enumerate(example.token_labels or ()) if label >= 0]
        best = said["logits"].argmax(dim=-1).tolist()
        given.append([labels[best[i]] for i in scored])
        right.append([labels[(example.token_labels or ())[i]] for i in scored])
    return score_entities(given, right)


def _scored_tags(examples: Sequence[Example], labels: Sequence[str]) -> Iterator[str]:
    """The tags that are scored; tokens that training leaves out have a label below 0."""
    for example in examples:
        yield from (labels[label] for label in example.token_labels or () if label >= 0)


def _questions(task: Task, data: DataSource, model: str, max_length: int) -> Evaluation:
    stride = task.doc_stride or 0
    asked: list[tuple[Question, list[Sequence[tuple[int, int] | None]]]] = []
    examples: list[Example] = []
    for question, parts in question_parts(
        held_out(data, task.name), data.tokenizer(model), max_length, stride
    ):
        examples += [Example(tuple(p.ids), tuple(p.type_ids), span=(0, 0)) for p in parts]
        asked.append((question, [_context_offsets(part) for part in parts]))

    def score(outputs: Sequence[Outputs]) -> Scores:
        said = iter(outputs)
        answers = []
        for question, offsets in asked:
            parts = [
                Part(places, each["start_logits"].tolist(), each["end_logits"].tolist())
                for places, each in zip(offsets, islice(said, len(offsets)), strict=True)
            ]
            answers.append(best_answer(question.context, parts, may_abstain=task.unanswerable))
        return score_spans(answers, [question.texts for question, _ in asked])

    nothing = score_spans([""] * len(asked), [question.texts for question, _ in asked])
    return Evaluation(examples, score, chance=nothing["span F1"], count=len(asked))


def _context_offsets(part: Encoding) -> list[tuple[int, int] | None]:
    """Where each token is in the context's characters; None for those of the question."""
    return [
        offset if sequence == 1 else None
        for offset, sequence in zip(part.offsets, part.sequence_ids, strict=True)
    ]


def _check_tags(sentences: Sequence[Tagged], labels: Sequence[str]) -> None:
    unknown = sorted({tag for each in sentences for tag in each.tags} - set(labels))
    if unknown:
        raise DataError(
            f"what is held out has the tags {', '.join(unknown)}, which what is trained on lacks: "
            "use splits of one data set"
        )
