"""Inference: the run's own model and examples, without dropout, gradients or padding it can do
without."""

from __future__ import annotations

import pytest

from checkpoint_support import small
from paper.inference import Inference
from pytest_energy import EnergyError, Sampler

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")


def test_one_by_one_has_the_same_examples_and_no_padding() -> None:
    run = small("sst2", "bert-tiny", batch_size=4)
    single, batched = Inference(run, single=True), Inference(run)

    assert single.examples == batched.examples == 4 * run.steps
    assert single.tokens == single.real_tokens == run.real_tokens
    assert batched.tokens == run.tokens > run.real_tokens
    assert (single.padding_overhead, batched.padding_overhead) == (1.0, run.padding_overhead)
    rows = [row["input_ids"][0].tolist() for row in single._batches]
    assert rows == [
        [i for i, real in zip(ids, mask, strict=True) if real]
        for batch in run.batches
        for ids, mask in zip(
            batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True
        )
    ]


@pytest.mark.parametrize("task", ["sst2", "squad_v1", "conll2003"])
def test_a_window_infers_and_trains_nothing(task: str) -> None:
    run = small(task, "bert-tiny")
    seen: list[tuple[bool, bool, bool]] = []
    run.bare.register_forward_hook(
        lambda model, _, out: seen.append(
            (model.training, torch.is_grad_enabled(), out.loss is None)
        )
    )
    before = [values.detach().clone() for values in run.bare.parameters()]

    window = Inference(run, single=True).window()

    assert window.valid
    assert window.name == f"{task}/bert-tiny+inference1"
    assert (window.tokens, window.steps) == (run.real_tokens, len(seen))
    assert set(seen) == {(False, False, True)}
    assert all(a.equal(b) for a, b in zip(before, run.bare.parameters(), strict=True))
    assert Inference(run, single=True).window(passes=2).tokens == 2 * run.real_tokens
    assert run.window().loss
    assert seen[-1] == (True, True, False)


def test_each_is_work_of_its_own_that_can_be_gated() -> None:
    run = small("sst2", "bert-tiny", batch_size=4)
    single, batched = Inference(run, single=True), Inference(run)
    assert batched.id == "sst2/bert-tiny+inference4"
    assert len({run.digest, single.digest, batched.digest}) == 3
    assert Sampler(single, lambda *_: None).measure().joules_per_token > 0


def test_it_lives_as_long_as_its_run() -> None:
    run = small("sst2", "bert-tiny")
    inference = Inference(run)
    run.close()
    with pytest.raises(EnergyError, match="`sst2/bert-tiny` was closed"):
        inference.window()
