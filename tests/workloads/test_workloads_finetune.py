"""The loop: real windows of small models."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest

from pytest_energy import TASKS, DataSource, EnergyError, FineTuning, get_task, open_data, prepare
from pytest_energy.workloads.finetune import make_workload
from workloads_support import SAMPLES, SteadyMeter, needs_samples, write, write_vocabulary

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")


def tiny(
    task: str = "sst2",
    model: str = "bert-tiny",
    data: DataSource | None = None,
    tokens: int = 256,
    **overrides: Any,
) -> FineTuning:
    return prepare(
        task,
        model,
        data=data or open_data("synthetic"),
        meter=SteadyMeter(),
        tokens_per_window=tokens,
        max_tokens_per_batch=256,
        device="cpu",
        **overrides,
    )


def loss_without_dropout(run: FineTuning) -> float:
    """Mean loss of the batches as they are learnt; a window's own holds the luck of dropout."""
    run._model.eval()
    with torch.no_grad():
        losses = [float(run._model(**batch).loss) for batch in run.batches]
    run._model.train()
    return sum(losses) / len(losses)


@pytest.mark.parametrize("model", ["bert-tiny", "distilbert-tiny"])
@pytest.mark.parametrize("task", TASKS)
def test_a_window_of_each_task_and_model(task: str, model: str) -> None:
    run = tiny(task, model)
    window = run.window()
    assert window.name == run.id == f"{task}/{model}"
    assert run.digest == run.workload.digest
    assert window.valid
    assert window.joules > 0
    assert window.tokens == run.tokens >= 256
    assert window.real_tokens == run.real_tokens
    assert run.padding_overhead == window.tokens / window.real_tokens
    assert window.steps == run.steps
    assert window.loss is not None
    assert window.loss > 0
    run.close()


def test_windows_train_on_the_same_batches() -> None:
    run = tiny(tokens=512)
    untrained = loss_without_dropout(run)
    windows = [run.window() for _ in range(6)]
    assert len({(w.tokens, w.real_tokens, w.steps) for w in windows}) == 1
    assert loss_without_dropout(run) < untrained


def test_a_window_may_be_several_passes() -> None:
    run, twin = tiny(), tiny()
    one, three = run.window(), twin.window(3)
    assert run.examples == run.steps * run.workload.batch_size
    assert three.tokens == 3 * one.tokens == 3 * run.tokens
    assert three.real_tokens == 3 * one.real_tokens
    assert three.steps == 3 * one.steps
    assert three.loss != one.loss  # that of the third pass, after two of training
    with pytest.raises(EnergyError, match="`passes` is 0"):
        run.window(0)


def test_warming_up_trains_but_is_not_metered() -> None:
    run = tiny()
    before = run._model.classifier.bias.detach().clone()
    run.warm_up()
    assert not torch.equal(run._model.classifier.bias, before)


def test_runs_of_one_seed_agree_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = [tiny().window().loss, tiny().window().loss]
    assert first[0] == first[1]
    assert tiny(seed=1).window().loss != first[0]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_models_of_one_task_share_their_batches() -> None:
    bert, distilbert = tiny("mnli"), tiny("mnli", "distilbert-tiny")
    for ours, theirs in zip(bert.batches, distilbert.batches, strict=True):
        assert torch.equal(ours["input_ids"], theirs["input_ids"])
    assert "token_type_ids" in bert.batches[0]
    assert "token_type_ids" not in distilbert.batches[0]
    assert bert.digest != distilbert.digest


def test_precisions_take_turns_in_one_process() -> None:
    def precision(run: FineTuning) -> Any:
        seen = []
        layer = run._model.classifier.register_forward_hook(
            lambda _module, _inputs, output: seen.append(output.dtype)
        )
        run.window()
        layer.remove()
        return seen[0]

    full, half = tiny(precision="fp32"), tiny(precision="bf16")
    other = tiny(precision="fp32")
    assert [precision(run) for run in (full, half, other)] == [
        torch.float32,
        torch.bfloat16,
        torch.float32,
    ]
    half.close()
    assert precision(full) == torch.float32


def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    run = tiny()
    step = run._optimizer.step

    def record() -> Any:
        gradients = [p.grad for p in run._model.parameters() if p.grad is not None]
        norms.append(float(torch.norm(torch.stack([g.norm() for g in gradients]))))
        return step()

    monkeypatch.setattr(run._optimizer, "step", record)
    run.window()
    assert norms
    assert all(norm <= 1.0001 for norm in norms)
    assert all(p.grad is None for p in run._model.parameters())


def test_parameters_are_those_trained_and_all() -> None:
    trainable, total = tiny().parameters
    assert trainable == total > 0


@pytest.mark.parametrize("padding", ["dynamic", "grouped", "fixed"])
def test_padding_policies(padding: str) -> None:
    run = tiny(padding=padding, tokens=2000, batch_size=8)
    widths = {batch["input_ids"].shape[1] for batch in run.batches}
    if padding == "fixed":
        assert widths == {128}
    else:
        assert max(widths) < 128
        grouped = tiny(padding="grouped", tokens=2000, batch_size=8).padding_overhead
        assert (grouped < run.padding_overhead) == (padding == "dynamic")


def test_overrides_reach_the_workload() -> None:
    run = tiny(batch_size=3, max_length=16, attention="eager", seed=5)
    assert run.batches[0]["input_ids"].shape[0] == 3
    assert max(batch["input_ids"].shape[1] for batch in run.batches) <= 16
    assert run._model.config._attn_implementation == "eager"
    assert run.workload.seed == 5


def test_a_folder_brings_its_own_labels(tmp_path: Path) -> None:
    write_vocabulary(tmp_path)
    write(tmp_path / "ner" / "train.conll", "ada B-person\nlives O\n\noslo B-place\n\n")
    run = tiny("conll2003", data=open_data(str(tmp_path)))
    assert run.workload.data.startswith("local:")
    assert run._model.classifier.out_features == 5
    assert (run.window().loss or 0) > 0


@needs_samples
@pytest.mark.parametrize("task", TASKS)
def test_real_samples_train(task: str) -> None:
    samples = open_data(str(SAMPLES))
    if reason := samples.missing(task):
        pytest.skip(reason)
    run = tiny(task, data=samples, tokens=1024)
    untrained = loss_without_dropout(run)
    for _ in range(3):
        run.window()
    assert loss_without_dropout(run) < untrained


def test_a_closed_run_has_no_windows() -> None:
    run = tiny()
    run.close()
    run.close()
    with pytest.raises(EnergyError, match="`sst2/bert-tiny` was closed"):
        run.window()


def test_closing_frees_the_model() -> None:
    run = tiny()
    run.window()
    weights = weakref.ref(run._model.classifier.weight)
    run.close()
    assert weights() is None


def test_the_optimizer_is_fused() -> None:
    assert tiny()._optimizer.optimizer.defaults["fused"] is True


def test_data_without_the_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnergyError, match="has nothing for `sst2`"):
        tiny(data=open_data(str(tmp_path)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"batchsize": 4}, r"`batchsize` is not a setting .* did you mean `batch_size`\?"),
        ({"precision": "fp8"}, r"`fp8` is not a precision"),
        ({"tokens": 0}, r"`tokens_per_window` is 0"),
        (
            {"max_length": 1024, "padding": "fixed"},
            r"`max_length` is 1024, but `bert-tiny` has 512 positions",
        ),
    ],
)
def test_wrong_settings_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(EnergyError, match=message):
        tiny(**overrides)


def test_data_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig

    BertConfig(
        vocab_size=500, hidden_size=16, num_hidden_layers=1, num_attention_heads=2
    ).save_pretrained(tmp_path)
    with pytest.raises(EnergyError, match="has 500 word pieces, but the data has id"):
        tiny(model=str(tmp_path))


def test_training_that_diverges_is_refused() -> None:
    run = tiny()
    with torch.no_grad():
        run._model.classifier.weight.fill_(float("nan"))
    with pytest.raises(EnergyError, match="`sst2/bert-tiny` diverged"):
        run.window()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_trains_in_its_own_precision() -> None:
    run = prepare(
        "sst2",
        "bert-tiny",
        data=open_data("synthetic"),
        meter=SteadyMeter(),
        tokens_per_window=4096,
    )
    assert run.device == "cuda"
    standard = make_workload(
        get_task("sst2"), "bert-tiny", device="cuda", data=open_data("synthetic")
    )
    assert run.workload == standard
    assert (run.window().loss or 0) > 0
