"""What `make perf` says of the loop: FLOPs worked out by hand, and both loops on the same work."""

from __future__ import annotations

import pytest

from checkpoint_support import small
from flops import multiplying_weights, peak_flops, training_flops

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")


def test_flops_of_a_pass() -> None:
    # 2 sequences of 3 tokens: 6 x (6 x 10 weights + 12 x 2 layers x 4 wide x 3 long).
    assert training_flops(10, 2, 4, [(2, 3)]) == 6 * (60 + 288)
    assert training_flops(10, 2, 4, [(2, 3), (1, 1)]) == 6 * (60 + 288) + 60 + 96


def test_tables_that_are_only_looked_up_do_not_multiply() -> None:
    run = small("sst2", "bert-tiny")
    tables = sum(
        module.weight.numel()
        for module in run.bare.modules()
        if isinstance(module, torch.nn.Embedding)
    )
    assert multiplying_weights(run.bare) == run.parameters[1] - tables
    language = small("mlm", "bert-tiny").bare
    words = language.get_output_embeddings().weight.numel()
    assert multiplying_weights(language) > words


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H200", 989.4),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
    ],
)
def test_peaks_of_cards(name: str, teraflops: float) -> None:
    assert peak_flops(name) == pytest.approx(teraflops * 1e12)


def test_a_card_that_is_not_known_has_no_peak() -> None:
    assert peak_flops("Quadro RTX 8000") is None


def test_both_loops_take_the_same_steps() -> None:
    from loop_speed import alternate, report

    run = small("sst2", "bert-tiny", tokens_per_window=128)
    ours, theirs = alternate(run, rounds=2)
    assert len(ours) == len(theirs) == 2
    assert min(spent.seconds for spent in ours + theirs) > 0
    text = report(run, ours, theirs)
    assert text.startswith("sst2/bert-tiny, fp32, batches of ")
    assert "over 2 rounds" in text
