"""Synthetic data: as long as the real one, and learnable."""

from __future__ import annotations

import pytest

from pytest_energy import FINE_TUNING_TASKS, TASKS, Example, get_task, open_data
from pytest_energy.workloads.data.examples import IGNORED, make_batches
from pytest_energy.workloads.data.synthetic import CLS, MASK, SEP

VOCABULARY = 30522


def draw(name: str, count: int, seed: int = 0, max_length: int | None = None) -> list[Example]:
    cap = max_length or get_task(name).max_length
    return open_data("synthetic").examples(
        name, model="bert-base-uncased", max_length=cap, seed=seed, count=count
    )


@pytest.mark.parametrize("batch_size", [16, 32])
@pytest.mark.parametrize("name", FINE_TUNING_TASKS)
def test_padding_overhead_is_the_measured_one(name: str, batch_size: int) -> None:
    count = min(16_000, int(600_000 / get_task(name).lengths.mean))
    lengths = [len(example.ids) for example in draw(name, count, seed=1)]
    batches = [lengths[at : at + batch_size] for at in range(0, len(lengths), batch_size)]
    processed = sum(max(batch) * len(batch) for batch in batches)
    measured = get_task(name).lengths.padding_overhead[batch_size]
    assert processed / sum(lengths) == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize("name", TASKS)
def test_examples_are_well_formed(name: str) -> None:
    task = get_task(name)
    for example in draw(name, 300):
        size = len(example.ids)
        assert len(example.types) == size <= task.max_length
        assert all(0 < token < VOCABULARY for token in example.ids)
        assert example.ids[0] == CLS
        assert example.ids[-1] == SEP
        assert example.ids.count(SEP) == 1 + task.pair
        assert max(example.types) == int(task.pair)
        if task.head == "sequence":
            assert example.label in range(len(task.labels))
        elif task.head == "qa":
            assert example.span is not None
            start, end = example.span
            assert start <= end < size
            assert (start, end) == (0, 0) or example.types[start] == 1
        else:
            assert example.token_labels is not None
            assert len(example.token_labels) == size
            assert example.token_labels[0] == example.token_labels[-1] == IGNORED


def test_only_squad_v2_has_questions_without_an_answer() -> None:
    def share(name: str) -> float:
        return sum(example.span == (0, 0) for example in draw(name, 600)) / 600

    assert share("squad_v1") == 0
    assert share("squad_v2") == pytest.approx(1 / 3, abs=0.06)


def test_tags_are_iob2() -> None:
    labels = get_task("conll2003").labels
    for example in draw("conll2003", 200):
        tags = [labels[i] for i in (example.token_labels or ())[1:-1]]
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:]


@pytest.mark.parametrize("max_length", [128, 512])
def test_masked_sequences_are_full_and_ask_for_15_percent(max_length: int) -> None:
    examples = draw("mlm", 50, max_length=max_length)
    assert {len(example.ids) for example in examples} == {max_length}
    asked = [
        (shown, label)
        for example in examples
        for shown, label in zip(example.ids, example.token_labels or (), strict=True)
        if label != IGNORED
    ]
    assert len(asked) / (50 * max_length) == pytest.approx(0.15, abs=0.02)
    assert sum(shown == MASK for shown, _ in asked) / len(asked) == pytest.approx(0.8, abs=0.05)
    assert sum(shown == label for shown, label in asked) / len(asked) == pytest.approx(
        0.1, abs=0.05
    )


def test_the_seed_decides_and_more_begin_with_the_same() -> None:
    assert draw("sst2", 20) == draw("sst2", 20)
    assert draw("sst2", 20) == draw("sst2", 50)[:20]
    assert draw("sst2", 20, seed=1) != draw("sst2", 20)


def test_the_first_example_is_the_same_for_good() -> None:
    assert draw("sst2", 1) == [Example((101, 1028, 1996, 1997, 2052, 1031, 102), (0,) * 7, label=1)]


def test_a_cap_cuts_the_long_ones() -> None:
    lengths = [len(example.ids) for example in draw("imdb", 200, max_length=64)]
    assert max(lengths) == 64
    assert min(lengths) < 64


@pytest.mark.parametrize("name", ["mnli", "squad_v2", "conll2012", "mlm"])
def test_a_model_learns_what_it_has_not_seen(name: str) -> None:
    torch = pytest.importorskip("torch")
    from pytest_energy.workloads.models import build_model

    task = get_task(name)
    steps, cap = (6, 32) if name == "mlm" else (25, 48)
    train = make_batches(
        draw(name, 32 * steps, max_length=cap), 32, "fixed", cap, 32 * cap * steps, 0
    )
    unseen = make_batches(draw(name, 64, 9, cap), 64, "dynamic", cap, 1, 0).batches[0]
    model = build_model(task, "bert-tiny", labels=len(task.labels))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def loss() -> float:
        model.train(False)
        with torch.no_grad():
            value = float(model(**unseen).loss)
        model.train()
        return value

    before = loss()
    for batch in train.batches:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss() < (0.95 if name == "mlm" else 0.6) * before
