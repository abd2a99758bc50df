"""`--energy-models`: what a folder of checkpoints has to be, and what is taken from it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from checkpoint_support import small, write_configs
from pytest_energy import brings_weights, checkpoint_names, get_task, open_data
from pytest_energy.workloads.architectures import folder_of, has_weights
from pytest_energy.workloads.models import build_model
from workloads_support import PIECES, write, write_vocabulary

TEST = """
    def test_mine(finetune):
        run = finetune("sst2", model="bert-base-uncased")
        print("layers", run.bare.config.num_hidden_layers)
        print("bias", run.bare.classifier.bias.tolist())
"""


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that a run imports: inner runs forget what they import, and torch bears it once only."""
    pytest.importorskip("accelerate")
    small("sst2", "bert-base-uncased", checkpoint(tmp_path_factory.mktemp("first"))).window()


def checkpoint(folder: Path, model: str = "bert-base-uncased", labels: int = 2) -> Path:
    """A small model with weights, whose head's bias is 7."""
    torch = pytest.importorskip("torch")
    write_configs(folder, model)
    built = build_model(get_task("sst2"), model, labels=labels, models=folder)
    with torch.no_grad():
        built.get_parameter("classifier.bias").fill_(7.0)
    built.save_pretrained(folder / model)
    return folder


def test_models_are_found_by_their_name(tmp_path: Path) -> None:
    for name in ("bert-base-uncased", "facebook/opt-125m", "notes"):
        (tmp_path / name).mkdir(parents=True)
    write(tmp_path / "bert-base-uncased" / "config.json", "{}")
    write(tmp_path / "facebook" / "opt-125m" / "config.json", "{}")

    assert checkpoint_names(tmp_path) == ("bert-base-uncased", "facebook/opt-125m")
    assert folder_of("bert-base-uncased", tmp_path) == tmp_path / "bert-base-uncased"
    assert folder_of("google-bert/bert-base-uncased", tmp_path) == tmp_path / "bert-base-uncased"
    assert folder_of("facebook/opt-125m", tmp_path) == tmp_path / "facebook" / "opt-125m"
    assert folder_of("notes", tmp_path) is None
    assert folder_of("bert-base-uncased", None) is None


def test_weights_are_safetensors(tmp_path: Path) -> None:
    write(tmp_path / "m" / "config.json", "{}")
    write(tmp_path / "m" / "pytorch_model.bin", "")
    assert not brings_weights("m", tmp_path)
    write(tmp_path / "m" / "model.safetensors.index.json", "{}")
    assert has_weights(tmp_path / "m")
    assert brings_weights("m", tmp_path)
    assert not brings_weights("other", tmp_path)


BUDGETS = """
    import pytest

    @pytest.mark.parametrize("task", ["sst2", "rte"])
    def test_mine(task, finetune):
        print(task, finetune(task, model="bert-tiny").tokens)
"""
FILE = """
schema = 1
[hardware]
key = "cpu"
tokens_per_window = 64
tokens_of_tasks = {{ {} = 640 }}
max_tokens_per_batch = 512
"""


@pytest.mark.parametrize(
    ("arguments", "least"),
    [((), {"sst2": 640, "rte": 64}), (("--energy-tokens=128",), {"sst2": 128, "rte": 128})],
    ids=["file", "option"],
)
def test_a_task_has_the_budget_that_the_baseline_file_gives_it(
    pytester: pytest.Pytester, spending_cpu: Path, arguments: Sequence[str], least: dict[str, int]
) -> None:
    write(pytester.path / "baselines" / "cpu.toml", FILE.format("sst2"))
    pytester.makepyfile(BUDGETS)

    result = pytester.runpytest("-s", *arguments)

    result.assert_outcomes(passed=2)
    found = re.findall(r"(sst2|rte) (\d+)", result.stdout.str())
    assert [task for task, _ in found] == list(least)
    for task, tokens in found:
        assert least[task] <= int(tokens) < least[task] + 512


def test_a_budget_of_no_task_is_refused(pytester: pytest.Pytester, spending_cpu: Path) -> None:
    write(pytester.path / "baselines" / "cpu.toml", FILE.format("sts2"))
    pytester.makepyfile(BUDGETS)

    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*`hardware.tokens_of_tasks` in *cpu.toml` has no task:*`sst2`*"])


def test_finetune_takes_architecture_and_weights_from_it(
    pytester: pytest.Pytester, spending_cpu: Path, tmp_path: Path
) -> None:
    checkpoint(tmp_path / "models")
    pytester.makepyfile(TEST)

    result = pytester.runpytest(
        "-s", f"--energy-models={tmp_path / 'models'}", "--energy-tokens=64"
    )

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*layers 2", "bias [[]7.0, 7.0[]]"])


def test_the_ini_twin_is_relative_to_the_root(
    pytester: pytest.Pytester, spending_cpu: Path
) -> None:
    write_configs(pytester.path / "models", "bert-base-uncased")
    pytester.makeini(
        "[pytest]\nenergy_meter = spending\nenergy_idle_seconds = 0\nenergy_models = models\n"
    )
    pytester.makepyfile(TEST)

    result = pytester.runpytest("-s", "--energy-tokens=64")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*layers 2"])


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("nowhere", "*`--energy-models=*nowhere` is no folder; give one that has a folder for*"),
        ("empty", "*`--energy-models=*empty` has no checkpoint; put config.json*named like it*"),
    ],
)
def test_a_folder_without_checkpoints_ends_the_run_before_it_starts(
    pytester: pytest.Pytester, spending: Path, folder: str, message: str
) -> None:
    pytester.mkdir("empty")
    pytester.makepyfile("def test_mine(finetune): open('ran', 'w').close()")

    result = pytester.runpytest(f"--energy-models={folder}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert not (pytester.path / "ran").exists()


def test_a_head_of_another_task_is_learnt_anew(tmp_path: Path) -> None:
    checkpoint(tmp_path, labels=3)
    run = small("sst2", "bert-base-uncased", tmp_path)
    assert run.bare.classifier.out_features == 2


def test_the_digest_does_not_tell_weights_apart(tmp_path: Path) -> None:
    checkpoint(tmp_path / "with")
    write_configs(tmp_path / "without", "bert-base-uncased")
    with_weights, without, known = (
        small("sst2", "bert-base-uncased", tmp_path / "with").workload,
        small("sst2", "bert-base-uncased", tmp_path / "without").workload,
        small("sst2", "bert-tiny").workload,
    )
    assert with_weights.digest == without.digest
    assert with_weights.architecture is not None
    assert known.architecture is None


@pytest.mark.parametrize(("lower", "first"), [(True, "good"), (False, "[UNK]")])
def test_text_is_cut_by_the_checkpoints_own_tokenizer(
    tmp_path: Path, lower: bool, first: str
) -> None:
    models = write_configs(tmp_path / "models", "bert-base-uncased")
    write_vocabulary(models / "bert-base-uncased")
    said = json.dumps({"do_lower_case": lower})
    write(models / "bert-base-uncased" / "tokenizer_config.json", said)
    write(tmp_path / "data" / "SST-2" / "train.tsv", "sentence\tlabel\nGood film\t1\n")
    data = open_data(str(tmp_path / "data"), models)

    (example,) = data.examples("sst2", model="bert-base-uncased", max_length=16, seed=0, count=9)

    assert [PIECES[i] for i in example.ids] == ["[CLS]", first, "film", "[SEP]"]
