"""From logits to answers: known cases, all pairs tried one by one, and real questions."""

from __future__ import annotations

from random import Random

import pytest

from paper.held_out import held_out
from paper.scoring import LONGEST_ANSWER, Part, best_answer, score_spans
from pytest_energy import get_task, open_data, question_parts
from workloads_support import SAMPLES, needs_samples

CONTEXT = "ada lives in oslo"
# [CLS] who [SEP] ada lives in oslo [SEP]
OFFSETS = (None, None, None, (0, 3), (4, 9), (10, 12), (13, 17), None)


def part(starts: dict[int, float], ends: dict[int, float], offsets: object = OFFSETS) -> Part:
    """Logits of the tokens named, -9 for all others."""
    assert isinstance(offsets, tuple)
    return Part(
        offsets,
        [starts.get(i, -9.0) for i in range(len(offsets))],
        [ends.get(i, -9.0) for i in range(len(offsets))],
    )


def answer(*parts: Part, may_abstain: bool = False) -> str:
    return best_answer(CONTEXT, parts, may_abstain=may_abstain)


def test_the_best_start_and_end_make_the_answer() -> None:
    assert answer(part({4: 5}, {6: 5})) == "lives in oslo"
    assert answer(part({6: 5}, {6: 5})) == "oslo"


def test_an_end_before_its_start_is_no_answer() -> None:
    assert answer(part({6: 5, 3: 1}, {4: 5, 6: 2})) == "oslo"
    assert answer(part({6: 5, 3: 2}, {4: 5, 6: 1})) == "ada lives"


def test_tokens_outside_the_context_are_no_answer() -> None:
    assert answer(part({1: 9, 3: 1}, {2: 9, 7: 9, 3: 1})) == "ada"


def test_an_answer_is_at_most_so_long() -> None:
    offsets = (None, *((i, i + 1) for i in range(40)))
    context = "x" * 40

    def longest(tokens: int) -> str:
        asked = part({1: 5, 3: 1}, {tokens: 5}, offsets)
        return best_answer(context, [asked], may_abstain=False)

    assert len(longest(LONGEST_ANSWER)) == LONGEST_ANSWER
    assert len(longest(LONGEST_ANSWER + 1)) == LONGEST_ANSWER - 1


def test_the_best_of_all_parts_counts() -> None:
    first, second = part({3: 5}, {3: 5}), part({6: 6}, {6: 6})
    assert answer(first, second) == answer(second, first) == "oslo"


def test_no_answer_wins_only_where_it_may_and_scores_higher() -> None:
    unsure = part({0: 4, 6: 3}, {0: 4, 6: 3})
    assert answer(unsure) == "oslo"
    assert answer(unsure, may_abstain=True) == ""
    assert answer(part({0: 3, 6: 3}, {0: 3, 6: 3}), may_abstain=True) == "oslo"


def test_one_part_that_has_the_answer_outvotes_those_that_do_not() -> None:
    without, holding = part({0: 9, 3: 1}, {0: 9, 3: 1}), part({0: 1, 6: 5}, {0: 1, 6: 5})
    assert answer(without, holding, may_abstain=True) == "oslo"
    assert answer(without, without, may_abstain=True) == ""


def test_where_no_span_is_possible_there_is_none() -> None:
    assert answer(part({1: 5}, {2: 5}, (None, None, None))) == ""


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_best_of_all_pairs(seed: int) -> None:
    rng = Random(seed)
    offsets = (None, None, *((2 * i, 2 * i + 1) for i in range(12)), None)
    context = "".join(chr(97 + i) + " " for i in range(12))
    starts, ends = ([rng.gauss(0, 3) for _ in offsets] for _ in range(2))
    pairs = [
        (starts[i] + ends[j], context[2 * (i - 2) : 2 * (j - 2) + 1])
        for i in range(2, 14)
        for j in range(i, 14)
    ]
    best, text = max(pairs)
    found = Part(offsets, starts, ends)
    assert best_answer(context, [found], may_abstain=False) == text
    nothing = starts[0] + ends[0] > best
    assert best_answer(context, [found], may_abstain=True) == ("" if nothing else text)


@needs_samples
@pytest.mark.parametrize("task", ["squad_v1", "squad_v2"])
def test_logits_that_point_at_the_truth_score_all_there_is(task: str) -> None:
    pytest.importorskip("torchmetrics")
    pytest.importorskip("tokenizers")
    samples, asked = open_data(str(SAMPLES)), get_task(task)
    given, right = [], []
    questions = held_out(samples, task)
    for question, parts in question_parts(
        questions, samples.tokenizer("bert-base-uncased"), 384, 128
    ):
        pointed = []
        for one in parts:
            inside = [s == 1 for s in one.sequence_ids]
            offsets = [o if i else None for o, i in zip(one.offsets, inside, strict=True)]
            start, end = question.answer or (-1, -1)
            starts = [float(o is not None and o[0] <= start < o[1]) for o in offsets]
            ends = [float(o is not None and o[0] < end <= o[1]) for o in offsets]
            starts[0] = ends[0] = 0.6
            pointed.append(Part(offsets, starts, ends))
        given.append(best_answer(question.context, pointed, may_abstain=asked.unanswerable))
        right.append(question.texts)

    scores = score_spans(given, right)
    wrong = score_spans(["nothing of it"] * len(right), right)

    assert len(given) == len(questions) > 300
    assert scores["span F1"] > 99
    assert scores["exact match"] > 98
    assert wrong["exact match"] == 0
    assert score_spans([""] * len(right), right)["exact match"] == pytest.approx(
        100 * sum(not texts for texts in right) / len(right), abs=1e-3
    )
