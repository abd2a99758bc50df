"""The hub's data sets, from small copies on disk in the hub's own layout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pytest_energy import TASKS, EnergyError, Example
from pytest_energy.errors import DataError
from pytest_energy.workloads.data.examples import IGNORED
from pytest_energy.workloads.data.features import tokenizer_from
from pytest_energy.workloads.data.sources import DATASETS, HubDataset, HubSource
from pytest_energy.workloads.tasks import get_task
from workloads_support import ids, write_vocabulary

datasets = pytest.importorskip("datasets")
transformers = pytest.importorskip("transformers")

TAGS = datasets.ClassLabel(names=["O", "B-LOC", "I-LOC", "B-PER", "I-PER"])
SENTENCE = {"words": ["ada", "playing", "oslo"], "named_entities": [4, 0, 2]}

ROWS: dict[str, dict[str, list[Any]]] = {
    "rte": {"sentence1": ["it is good"], "sentence2": ["it is bad"], "label": [1], "idx": [0]},
    "mnli": {"premise": ["it is good"], "hypothesis": ["it is bad"], "label": [2], "idx": [0]},
    "sst2": {"sentence": ["good film"], "label": [1], "idx": [0]},
    "imdb": {"text": ["good film"], "label": [1]},
    "squad_v1": {
        "question": ["who is ada ?"],
        "context": ["ada lives in oslo"],
        "answers": [{"text": ["oslo"], "answer_start": [13]}],
    },
    "squad_v2": {
        "question": ["who is ada ?", "who is it ?"],
        "context": ["ada lives in oslo", "ada lives"],
        "answers": [
            {"text": ["oslo"], "answer_start": [13]},
            {"text": [], "answer_start": []},
        ],
    },
    "conll2003": {"tokens": [SENTENCE["words"]], "ner_tags": [SENTENCE["named_entities"]]},
    "conll2012": {"document_id": ["d"], "sentences": [[SENTENCE, SENTENCE]]},
    "mlm": {"text": ["", " = good film = \n"] + ["the good film is a very bad play .\n"] * 20},
}


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No network, and a cache of the test's own."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    yield
    if shown:
        datasets.enable_progress_bars()


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder with the tokenizer of the small vocabulary."""
    folder = tmp_path / "model"
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer_from(write_vocabulary(folder), lower_case=True)
    )
    tokenizer.save_pretrained(folder)
    return str(folder)


def on_disk(folder: Path, task: str) -> HubSource:
    """The task's data set where its entry for the hub says, but below `folder`."""
    features = None
    if task == "conll2003":
        features = datasets.Features(
            {
                "tokens": datasets.Sequence(datasets.Value("string")),
                "ner_tags": datasets.Sequence(TAGS),
            }
        )
    if task == "conll2012":
        sentence = {
            "words": datasets.Sequence(datasets.Value("string")),
            "named_entities": datasets.Sequence(TAGS),
        }
        features = datasets.Features(
            {"document_id": datasets.Value("string"), "sentences": [sentence]}
        )
    rows = datasets.Dataset.from_dict(ROWS[task], features=features)
    place = DATASETS[task]
    repository = folder / place.repository
    file = (place.files or f"{place.config or 'plain_text'}/train-0.parquet").replace("*", "0000")
    (repository / file).parent.mkdir(parents=True)
    rows.to_parquet(repository / file)
    if not place.files:
        name = place.config or "plain_text"
        (repository / "README.md").write_text(
            f"---\nconfigs:\n- config_name: {name}\n  data_files:\n  - split: train\n"
            f"    path: {name}/train-*\n---\n"
        )
    return HubSource({task: replace(place, repository=str(repository))})


def examples(source: HubSource, task: str, model: str, max_length: int = 32) -> list[Example]:
    return source.examples(task, model=model, max_length=max_length, seed=0, count=10)


def test_every_task_is_pinned() -> None:
    assert set(DATASETS) == set(TASKS)
    for name, place in DATASETS.items():
        commit = re.fullmatch("[0-9a-f]{40}", place.revision)
        # Of these two the hub has nothing but its own conversion of a loading script.
        assert bool(commit) == (name not in ("conll2003", "conll2012"))


@pytest.mark.parametrize(
    ("task", "example"),
    [
        ("rte", Example(ids("[CLS] it is good [SEP] it is bad [SEP]"), (0,) * 5 + (1,) * 4, 1)),
        ("mnli", Example(ids("[CLS] it is good [SEP] it is bad [SEP]"), (0,) * 5 + (1,) * 4, 2)),
        ("sst2", Example(ids("[CLS] good film [SEP]"), (0,) * 4, 1)),
        ("imdb", Example(ids("[CLS] good film [SEP]"), (0,) * 4, 1)),
        (
            "squad_v1",
            Example(
                ids("[CLS] who is ada ? [SEP] ada lives in oslo [SEP]"),
                (0,) * 6 + (1,) * 5,
                span=(9, 9),
            ),
        ),
        (
            "conll2003",
            Example(
                ids("[CLS] ada play ##ing oslo [SEP]"),
                (0,) * 6,
                token_labels=(IGNORED, 3, 0, IGNORED, 1, IGNORED),
            ),
        ),
    ],
)
def test_rows_become_examples(tmp_path: Path, model: str, task: str, example: Example) -> None:
    source = on_disk(tmp_path, task)
    assert source.missing(task) is None
    assert source.identity(task) == "hub"
    assert examples(source, task, model) == [example]


def test_questions_may_have_no_answer(tmp_path: Path, model: str) -> None:
    spans = [example.span for example in examples(on_disk(tmp_path, "squad_v2"), "squad_v2", model)]
    assert sorted(spans, key=str) == [(0, 0), (9, 9)]


def test_each_pass_counts_anew_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"sentence": ["good film"] * 40, "label": [1] * 39 + [-1], "idx": [0] * 40}
    monkeypatch.setitem(ROWS, "sst2", rows)
    source = on_disk(tmp_path, "sst2")

    for _ in range(2):
        assert len(list(source.records(get_task("sst2"), Random(0)))) == 39

    assert "(1 skipped: no label so far)" in source.described()[0]


def test_where_many_rows_are_bad_the_first_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"sentence": ["good film"] * 10, "label": [1] * 5 + [-1] * 5, "idx": [0] * 10}
    monkeypatch.setitem(ROWS, "sst2", rows)

    with pytest.raises(DataError, match=r"label -1 \(5 of 10 are like that\)"):
        list(on_disk(tmp_path, "sst2").records(get_task("sst2"), Random(0)))


def test_documents_become_sentences(tmp_path: Path, model: str) -> None:
    source = on_disk(tmp_path, "conll2012")
    assert source.labels("conll2012") == tuple(TAGS.names)
    first, second = examples(source, "conll2012", model)
    assert first == second
    assert first.token_labels == (IGNORED, 3, 0, IGNORED, 1, IGNORED)


def test_running_text_fills_its_sequences(tmp_path: Path, model: str) -> None:
    sequences = examples(on_disk(tmp_path, "mlm"), "mlm", model, max_length=16)
    assert len(sequences) == 10
    assert {len(sequence.ids) for sequence in sequences} == {16}


@pytest.mark.parametrize("task", TASKS)
def test_without_the_hub_the_error_names_what_works_without_it(task: str) -> None:
    with pytest.raises(EnergyError, match=r"`--energy-data=hub`: .* cannot be loaded") as error:
        examples(HubSource(), task, "bert-base-uncased")
    assert DATASETS[task].repository in str(error.value)
    assert "`--energy-data=synthetic` or a folder" in str(error.value)


def test_a_hub_that_cannot_be_reached_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def unreachable(repository: str, *_: object, **__: object) -> None:
        tried.append(repository)
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    source = HubSource()
    for task in ("rte", "imdb"):
        with pytest.raises(EnergyError, match="no route"):
            examples(source, task, "bert-base-uncased")
    assert tried == ["nyu-mll/glue"]


def test_without_a_tokenizer_the_error_says_so(tmp_path: Path) -> None:
    source = on_disk(tmp_path, "sst2")
    with pytest.raises(EnergyError, match="no tokenizer for `nobody/nothing`"):
        examples(source, "sst2", "nobody/nothing")


def test_a_task_without_a_place_is_missing() -> None:
    assert HubSource({}).missing("rte") == "the hub has nothing for `rte`"
    assert HubSource({"rte": HubDataset("a/b", "c")}).missing("rte") is None
