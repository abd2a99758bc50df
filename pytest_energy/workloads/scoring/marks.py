"""Scores by the libraries that define them: torchmetrics and seqeval. All in per cent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pytest_energy.errors import EnergyError

Scores = dict[str, float]
"""Scores by name, in per cent; the first is the one that the task is known by."""


def mark_classes(answers: Sequence[int], right: Sequence[int], classes: int) -> Scores:
    """Accuracy, and the mean of the classes' F1."""
    import torch

    with _libraries():
        from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score
    given, wanted = torch.tensor(answers), torch.tensor(right)
    accuracy = multiclass_accuracy(given, wanted, num_classes=classes, average="micro")
    f1 = multiclass_f1_score(given, wanted, num_classes=classes, average="macro")
    return {"accuracy": 100 * float(accuracy), "macro F1": 100 * float(f1)}


def mark_entities(answers: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> Scores:
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


def mark_spans(answers: Sequence[str], right: Sequence[Sequence[str]]) -> Scores:
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
            "`pip install 'pytest-energy[scores]'`"
        ) from error
