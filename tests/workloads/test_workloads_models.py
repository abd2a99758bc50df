"""Models: published sizes, seeded weights, heads, folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_energy import EnergyError, get_task
from pytest_energy.workloads.architectures import ARCHITECTURES, hub_name
from pytest_energy.workloads.models import build_model, parameters

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.mark.parametrize(
    ("model", "task", "labels", "count"),
    [
        ("bert-base-uncased", "sst2", 2, 109_483_778),
        ("bert-base-uncased", "mnli", 3, 109_484_547),
        ("bert-base-uncased", "squad_v1", 0, 108_893_186),
        ("bert-base-uncased", "conll2003", 9, 108_898_569),
        ("bert-base-uncased", "mlm", 0, 109_514_298),
        ("distilbert-base-uncased", "sst2", 2, 66_955_010),
        ("distilbert-base-uncased", "squad_v1", 0, 66_364_418),
        ("distilbert-base-uncased", "mlm", 0, 66_985_530),
    ],
)
def test_models_have_their_published_sizes(model: str, task: str, labels: int, count: int) -> None:
    with torch.device("meta"):
        built = build_model(get_task(task), model, labels=labels)
    assert parameters(built) == (count, count)


def test_frozen_parameters_are_not_trainable() -> None:
    model = build_model(get_task("sst2"), "bert-tiny", labels=2)
    for parameter in model.base_model.parameters():
        parameter.requires_grad = False
    trainable, total = parameters(model)
    assert trainable == 64 * 2 + 2
    assert total > trainable


@pytest.mark.parametrize("model", ["bert-tiny", "distilbert-tiny"])
def test_weights_follow_the_seed_and_leave_the_random_state_alone(model: str) -> None:
    def weights(seed: int) -> list[float]:
        built = build_model(get_task("sst2"), model, labels=2, seed=seed)
        return [float(parameter.detach().sum()) for parameter in built.parameters()]

    state = torch.random.get_rng_state()
    assert weights(0) == weights(0)
    assert weights(0) != weights(1)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_is_the_one_asked_for(attention: str) -> None:
    model = build_model(get_task("sst2"), "bert-tiny", labels=2, attention=attention)
    assert model.config._attn_implementation == attention
    assert model.training


def test_hub_revisions_are_pinned() -> None:
    assert hub_name("bert-base-uncased") == (
        "google-bert/bert-base-uncased",
        "86b5e0934494bd15c9632b12f734a8a67f723594",
    )
    assert hub_name("distilbert-base-uncased") == (
        "distilbert/distilbert-base-uncased",
        "12040accade4e8a0f71eabdb258fecc2e7e948be",
    )
    assert hub_name("roberta-base") == ("FacebookAI/roberta-base", None)


@pytest.mark.parametrize("pretrained", [False, True])
def test_a_model_may_come_from_a_folder(tmp_path: Path, pretrained: bool) -> None:
    task = get_task("conll2003")
    saved = build_model(task, "bert-tiny", labels=5, seed=7)
    saved.save_pretrained(tmp_path)
    loaded = build_model(task, str(tmp_path), labels=5, pretrained=pretrained)
    assert parameters(loaded) == parameters(saved)
    assert loaded.config.num_labels == 5
    same = all(
        torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True)
    )
    assert same is pretrained


@pytest.mark.parametrize("pretrained", [False, True])
def test_a_model_that_cannot_be_loaded_names_those_that_need_no_hub(
    monkeypatch: pytest.MonkeyPatch, pretrained: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EnergyError, match="`nobody/nothing` cannot be loaded") as error:
        build_model(get_task("sst2"), "nobody/nothing", labels=2, pretrained=pretrained)
    assert all(name in str(error.value) for name in ARCHITECTURES)


def test_a_slip_in_a_models_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EnergyError, match=r"did you mean `bert-base-uncased`\?"):
        build_model(get_task("sst2"), "bert-base-uncase", labels=2)


def test_a_small_model_has_no_weights_to_load() -> None:
    model = build_model(get_task("sst2"), "bert-tiny", labels=2, pretrained=True)
    assert model.config.hidden_size == 64
