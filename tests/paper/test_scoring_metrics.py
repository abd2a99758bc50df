"""Scores on cases worked out by hand, and which choices are on the front."""

from __future__ import annotations

import sys

import pytest

from paper.epochs import on_front
from paper.scoring import require_libraries, score_classes, score_entities, score_spans
from pytest_energy import EnergyError


def test_classes() -> None:
    pytest.importorskip("torchmetrics")
    scores = score_classes([0, 0, 0, 1], [0, 0, 1, 1], 2)
    # Class 0: precision 2/3, recall 1; class 1: precision 1, recall 1/2.
    assert scores["accuracy"] == pytest.approx(75)
    assert scores["macro F1"] == pytest.approx(100 * (0.8 + 2 / 3) / 2)


def test_entities_count_whole() -> None:
    pytest.importorskip("seqeval")
    right = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"]]
    given = [["B-PER", "O", "O", "B-LOC"], ["B-PER", "B-LOC"]]
    scores = score_entities(given, right)
    assert scores["precision"] == pytest.approx(50)
    assert scores["recall"] == pytest.approx(200 / 3)
    assert next(iter(scores)) == "entity F1"
    assert scores["entity F1"] == pytest.approx(400 / 7)


def test_no_entities_found_is_nothing_and_no_warning() -> None:
    pytest.importorskip("seqeval")
    assert score_entities([["O"]], [["B-LOC"]])["entity F1"] == 0


def test_spans_take_the_best_of_several_right_answers() -> None:
    pytest.importorskip("torchmetrics")
    scores = score_spans(
        ["The lake.", "blue lake", "", "something"],
        [("a lake", "the sea"), ("the lake",), (), ()],
    )
    assert scores["exact match"] == pytest.approx(50)
    assert scores["span F1"] == pytest.approx((100 + 200 / 3 + 100 + 0) / 4, abs=1e-3)


@pytest.mark.parametrize("missing", ["torchmetrics", "seqeval"])
def test_without_the_libraries_the_error_says_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchmetrics")
    pytest.importorskip("seqeval")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(EnergyError, match=f"`{missing}`.*`pip install torchmetrics seqeval`"):
        require_libraries()


def test_the_front() -> None:
    points = [(10.0, 90.0), (5.0, 88.0), (6.0, 87.0), (10.0, 89.0), (5.0, 88.0)]
    assert on_front(points) == [True, True, False, False, True]
    assert on_front([]) == []
