"""Exams: what a model is asked about a held-out split, and how its outputs become scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from pytest_energy.errors import DataError
from pytest_energy.workloads.data.batches import collate
from pytest_energy.workloads.data.features import make_examples, question_parts
from pytest_energy.workloads.data.protocol import IGNORED, DataSource, Example
from pytest_energy.workloads.data.records import Question, Tagged
from pytest_energy.workloads.finetune import FineTuning
from pytest_energy.workloads.placing import without_targets
from pytest_energy.workloads.scoring.marks import Scores, mark_classes, mark_entities, mark_spans
from pytest_energy.workloads.scoring.spans import Part, best_answer
from pytest_energy.workloads.tasks import Task

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding

Outputs = Mapping[str, "torch.Tensor"]
"""What a model says of one example, by name, without padding: [classes], [tokens] or both."""


@dataclass(frozen=True)
class Exam:
    """Examples to ask a model, and what marks its outputs, given one for each example."""

    examples: Sequence[Example]
    mark: Callable[[Sequence[Outputs]], Scores]


def make_exam(task: Task, data: DataSource, model: str, max_length: int) -> Exam:
    """The exam of a task on what the data holds out; `DataError` where it holds out nothing."""
    if task.head == "qa":
        return _questions(task, data, model, max_length)
    labels = data.labels(task)
    records = data.held_out(task)
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
        return Exam(examples, lambda outputs: _mark_tags(examples, outputs, labels))
    return Exam(examples, lambda outputs: _mark_classes(examples, outputs, len(labels)))


def sit(exam: Exam, run: FineTuning, batch_size: int) -> Scores:
    """Ask the model of `run` and mark what it says; it goes on training afterwards."""
    return exam.mark(list(_outputs(run, exam.examples, batch_size)))


def _outputs(run: FineTuning, examples: Sequence[Example], batch_size: int) -> Iterator[Outputs]:
    with run.evaluating() as model:
        for at in range(0, len(examples), batch_size):
            group = examples[at : at + batch_size]
            said = model(**without_targets(run.convert(collate(group))))
            kept = {name: said[name].float().cpu() for name in _SAID if name in said}
            for row, example in enumerate(group):
                length = len(example.ids)
                yield {
                    # One row of classes is of the whole example, more are of its tokens.
                    name: rows[row] if name == "logits" and rows.dim() == 2 else rows[row, :length]
                    for name, rows in kept.items()
                }


_SAID = ("logits", "start_logits", "end_logits")


def _mark_classes(examples: Sequence[Example], outputs: Sequence[Outputs], classes: int) -> Scores:
    right = [example.label for example in examples if example.label is not None]
    return mark_classes([int(each["logits"].argmax()) for each in outputs], right, classes)


def _mark_tags(
    examples: Sequence[Example], outputs: Sequence[Outputs], labels: Sequence[str]
) -> Scores:
    """Of each word the first piece speaks, as in training."""
    given, right = [], []
    for example, said in zip(examples, outputs, strict=True):
        marked = [i for i, label in enumerate(example.token_labels or ()) if label != IGNORED]
        best = said["logits"].argmax(dim=-1).tolist()
        given.append([labels[best[i]] for i in marked])
        right.append([labels[(example.token_labels or ())[i]] for i in marked])
    return mark_entities(given, right)


def _questions(task: Task, data: DataSource, model: str, max_length: int) -> Exam:
    stride = task.doc_stride or 0
    asked: list[tuple[Question, list[Sequence[tuple[int, int] | None]]]] = []
    examples: list[Example] = []
    for question, parts in question_parts(
        data.held_out(task), data.tokenizer(model), max_length, stride
    ):
        examples += [Example(tuple(p.ids), tuple(p.type_ids), span=(0, 0)) for p in parts]
        asked.append((question, [_context_offsets(part) for part in parts]))

    def mark(outputs: Sequence[Outputs]) -> Scores:
        said = iter(outputs)
        answers = []
        for question, offsets in asked:
            parts = [
                Part(places, each["start_logits"].tolist(), each["end_logits"].tolist())
                for places, each in zip(offsets, islice(said, len(offsets)), strict=True)
            ]
            answers.append(best_answer(question.context, parts, may_abstain=task.unanswerable))
        return mark_spans(answers, [question.texts for question, _ in asked])

    return Exam(examples, mark)


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
