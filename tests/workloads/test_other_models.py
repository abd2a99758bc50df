"""Models of other families: their heads, padding, targets, positions and adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from checkpoint_support import WORDS, small, write_configs
from pytest_energy import EnergyError, Example, get_task
from pytest_energy.workloads.architectures import ARCHITECTURES, architecture_digest
from pytest_energy.workloads.data.examples import IGNORED, collate
from pytest_energy.workloads.models import build_model, converter, padding_id, parameters

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

DECODERS = ("gpt2", "facebook/opt-125m", "my-llama", "my-qwen")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_configs(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("gpt2", 124_439_808),
        ("opt-125m", 125_239_296),
        ("facebook/opt-125m", 125_239_296),
        ("roberta-base", 124_697_433),
        ("Qwen2.5-0.5B", 494_032_768),
        ("Llama-3.2-1B", 1_235_814_400),
        ("bert-large-uncased", 335_174_458),
        ("bert-base-cased", 108_340_804),
    ],
)
def test_known_names_have_their_published_sizes_with_a_language_model_on_top(
    model: str, count: int
) -> None:
    with torch.device("meta"):
        built = build_model(get_task("mlm"), model, labels=0)
    assert parameters(built) == (count, count)


@pytest.mark.parametrize("task", ["mnli", "squad_v1", "mlm"])
@pytest.mark.parametrize("model", [*DECODERS, "roberta-base", "my-albert"])
def test_each_family_trains(task: str, model: str, models: Path) -> None:
    changes = {"max_length": 64} if model == "roberta-base" else {}
    run = small(task, model, models, **changes)
    window = run.window()
    assert window.name == f"{task}/{model}"
    assert (window.loss or 0) > 0
    assert run.parameters[0] == run.parameters[1]


@pytest.mark.parametrize("model", [*DECODERS, "my-albert"])
def test_adapters_fit_each_family(model: str, models: Path) -> None:
    pytest.importorskip("peft")
    run = small("sst2", model, models, lora=2)
    before = {name: values.detach().clone() for name, values in run._model.named_parameters()}

    run.window()

    trained, total = run.parameters
    assert 0 < trained < total / 100
    moved = {n for n, values in run._model.named_parameters() if not values.equal(before[n])}
    assert any("lora_" in name for name in moved)
    assert all("lora_" in name or "modules_to_save" in name for name in moved)


def test_a_decoder_learns_running_text_unmasked(models: Path) -> None:
    task = get_task("mlm")
    model = build_model(task, "gpt2", labels=0, models=models)
    masked = Example((5, 103, 7, 8), (0,) * 4, token_labels=(IGNORED, 6, IGNORED, IGNORED))
    short = Example((5, 103), (0,) * 2, token_labels=(IGNORED, 6))

    batch = converter(task, model, "cpu")(collate([masked, short]))

    padding = WORDS - 1
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [5, 6, padding, padding]]
    assert batch["labels"].tolist() == [[5, 6, 7, 8], [5, 6, IGNORED, IGNORED]]
    assert "token_type_ids" not in batch


def test_an_encoder_keeps_its_masks(models: Path) -> None:
    task = get_task("mlm")
    model = build_model(task, "bert-tiny", labels=0)
    masked = Example((5, 103, 7), (0, 1, 1), token_labels=(IGNORED, 6, IGNORED))

    batch = converter(task, model, "cpu")(collate([masked], length=4))

    assert batch["input_ids"].tolist() == [[5, 103, 7, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, IGNORED, IGNORED]]
    assert batch["token_type_ids"].tolist() == [[0, 1, 1, 0]]


@pytest.mark.parametrize("model", ["gpt2", "facebook/opt-125m", "my-llama", "my-qwen"])
def test_padding_changes_nothing_for_a_decoder(model: str, models: Path) -> None:
    task = get_task("sst2")
    built: Any = build_model(task, model, labels=2, models=models).train(False)
    convert = converter(task, built, "cpu")
    example = Example((5, 2000, 2001), (0,) * 3, label=1)
    with torch.no_grad():
        alone, padded = (
            built(**convert(collate([example], length))).logits for length in (None, 9)
        )
    assert torch.allclose(alone, padded, atol=1e-5)
    assert built.config.use_cache is False


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"pad_token_id": 3}, 3),
        ({"pad_token_id": None, "eos_token_id": 9}, 9),
        ({"pad_token_id": None, "eos_token_id": [8, 9]}, 8),
        ({"pad_token_id": None, "eos_token_id": None}, 0),
    ],
)
def test_what_pads(sizes: dict[str, object], expected: int) -> None:
    assert padding_id(transformers.LlamaConfig(vocab_size=10, **sizes)) == expected


def test_positions_that_padding_takes_are_not_there_for_text(models: Path) -> None:
    assert small("sst2", "roberta-base", models, max_length=64, padding="fixed").window().valid
    with pytest.raises(EnergyError, match="`roberta-base` has 64 positions"):
        small("sst2", "roberta-base", models, max_length=65, padding="fixed")


@pytest.mark.parametrize(
    ("task", "model", "message"),
    [
        ("sst2", "my-t5", r"`my-t5` \(t5\) is an encoder with a decoder.*`energy_workload`"),
        ("conll2003", "facebook/opt-125m", r"no head for `conll2003` on .* \(opt\)"),
        ("sst2", "my-deberta", r"no `sdpa` attention for `my-deberta`: give `attention='eager'`"),
    ],
)
def test_what_cannot_be_trained_says_so(task: str, model: str, message: str, models: Path) -> None:
    with pytest.raises(EnergyError, match=message):
        small(task, model, models)


def test_attention_that_a_model_has_is_taken(models: Path) -> None:
    assert small("sst2", "my-deberta", models, attention="eager").window().valid


def test_a_folder_that_is_not_what_its_name_says_is_other_work(models: Path) -> None:
    plain, folder = small("sst2", "gpt2", models), small("sst2", "bert-tiny", models)
    assert folder.workload.architecture is None
    assert plain.workload.architecture is not None
    assert plain.digest != small("sst2", "gpt2", models, seed=1).digest
    assert plain.workload.architecture == small("mnli", "gpt2", models).workload.architecture


def test_a_folder_that_is_what_its_name_says_is_the_same_work(tmp_path: Path) -> None:
    config = ARCHITECTURES["bert-tiny"].config(3)
    config.save_pretrained(tmp_path / "bert-tiny")

    run, known = small("sst2", "bert-tiny", tmp_path), small("sst2", "bert-tiny")

    assert run.digest == known.digest
    wider = transformers.BertConfig(hidden_size=96, num_attention_heads=2)
    assert architecture_digest(wider) != architecture_digest(config)
