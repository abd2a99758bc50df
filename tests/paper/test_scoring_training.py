"""Score against joules: small models trained on the real samples, then the benchmark itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from checkpoint_support import small
from paper.epochs import ScoredEpochs
from paper.held_out import held_out
from paper.scoring import make_evaluation
from pytest_energy import DataError, get_task, open_data
from workloads_support import SAMPLES, needs_samples, write, write_vocabulary

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytest.importorskip("torchmetrics")
pytest.importorskip("seqeval")

MODULE = Path(__file__).parents[2] / "benchmarks" / "test_accuracy_tradeoff.py"
CLASSES = {"bert-base-uncased": "BertConfig", "distilbert-base-uncased": "DistilBertConfig"}
SIZES = {
    "BertConfig": {
        "num_hidden_layers": 4,
        "hidden_size": 96,
        "num_attention_heads": 2,
        "intermediate_size": 192,
    },
    "DistilBertConfig": {"n_layers": 2, "dim": 96, "n_heads": 2, "hidden_dim": 192},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small models trained on SST-2's samples from scratch, saved as checkpoints."""
    folder = tmp_path_factory.mktemp("models")
    for name, class_name in CLASSES.items():
        getattr(transformers, class_name)(**SIZES[class_name]).save_pretrained(folder / name)
        vocabulary = SAMPLES / "vocab" / "bert-base-uncased" / "vocab.txt"
        shutil.copy(vocabulary, folder / name / "vocab.txt")
        run = small(
            "sst2",
            name,
            folder,
            data=open_data(str(SAMPLES), folder),
            tokens_per_window=40_000,
            batch_size=32,
        )
        for group in run._optimizer.param_groups:
            group["lr"] = 1e-3
        for _ in range(3):
            run.warm_up()
        run.bare.save_pretrained(folder / name)
    return folder


@pytest.fixture
def spending_seconds(spending_cpu: Path) -> Path:
    """The meter counts a joule for each CPU second: neighbours on this machine change nothing."""
    path = spending_cpu / "spending.py"
    source = path.read_text()
    for used in ("time.monotonic(), joules", "joules - self._before"):
        source = source.replace(used, used.replace("joules", "time.process_time()"))
    path.write_text(source)
    return spending_cpu


def benchmark(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", str(MODULE), "-rs", "-p", "no:cacheprovider"]
    command += ["--energy-meter=spending", f"--rootdir={tmp_path}", *arguments]
    command += ["-c", str(MODULE.parents[1] / "pyproject.toml")]
    variables = {**os.environ, "PYTEST_ENERGY_LOCKS": str(tmp_path / "locks")}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=variables, check=False
    )


@needs_samples
@pytest.mark.usefixtures("spending_seconds")
def test_small_models_trained_on_real_samples(trained: Path, tmp_path: Path) -> None:
    done = benchmark(
        tmp_path,
        "-k=sst2",
        f"--energy-models={trained}",
        f"--energy-data={SAMPLES}",
        "--energy-json=run.json",
    )

    assert done.returncode == 0, done.stdout + done.stderr
    (claim,) = json.loads((tmp_path / "run.json").read_text())["claims"]
    figures = {figure["name"]: figure for figure in claim["figures"]}
    bert, distilbert = (figures[f"sst2: accuracy of {name}"] for name in CLASSES)
    assert min(bert["value"], distilbert["value"]) > 53  # of 300 sentences, half are positive
    assert bert["paper"] == "92.7 (published, not the paper's)"
    assert 50 <= figures["sst2: accuracy of the best constant answer"]["value"] < 53
    saved = figures["sst2: energy saved"]
    assert saved["low"] < saved["value"] < saved["high"]
    (table,) = claim["tables"]
    assert table["title"] == "sst2: score against joules, 3 epochs of 1,000 examples"
    assert [row[:2] for row in table["rows"]] == [[name, 3000] for name in CLASSES]
    (plot,) = claim["plots"]
    for series, row in zip(plot["series"], table["rows"], strict=True):
        joules = [point[0] for point in series["points"]]
        assert joules == sorted(joules)
        assert len(joules) == 3
        assert series["points"][-1] == [pytest.approx(row[3]), row[5]]


INTERRUPTS = """
import os, signal
from torch.optim.optimizer import register_optimizer_step_post_hook

steps = 0

def after_step(optimizer, *_):
    global steps
    steps += "initial_lr" in optimizer.param_groups[0]  # not in warm-up
    if steps == 60:
        os.kill(os.getpid(), signal.SIGINT)

register_optimizer_step_post_hook(after_step)
"""


@pytest.mark.fault(
    "processes and signals",
    "Ctrl-C between two epochs of the trade-off of accuracy",
    "the JSON has what was trained before, with joules and seconds",
)
@needs_samples
@pytest.mark.usefixtures("spending_seconds")
def test_an_interrupt_keeps_what_was_trained(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "site" / "interrupts.py", INTERRUPTS)
    before = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), before]))
    done = benchmark(
        tmp_path,
        "-k=sst2",
        "-p",
        "interrupts",
        f"--energy-models={trained}",
        f"--energy-data={SAMPLES}",
        "--energy-json=run.json",
    )

    assert done.returncode == 2, done.stdout + done.stderr
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["run"]["complete"] is False
    (claim,) = document["claims"]
    (table,) = claim["tables"]
    assert table["columns"][:5] == ["model", "examples", "tokens", "J", "s"]
    # Of 32 steps of an epoch a window has 16; the two take turns there and back.
    bert, distilbert = CLASSES
    assert [row[0] for row in table["rows"]] == [bert, distilbert, distilbert]
    assert all(row[1] == 512 and row[3] > 0 and row[4] > 0 for row in table["rows"][:2])
    assert [row[5] is not None for row in table["rows"]] == [False, False, True]


@pytest.mark.fault(
    "data",
    "a model learns nothing",
    "its score keeps nothing: the claim is not testable, by name",
)
@needs_samples
@pytest.mark.usefixtures("spending_seconds")
def test_a_model_that_learns_nothing_keeps_nothing(trained: Path, tmp_path: Path) -> None:
    # One sentence alone is answered alike each time: whatever is learned scores as a constant does.
    film = "a long and lovely film " * 4
    rows = [f"{film}\t{label}" for label in (0, 1, 1) * 40]
    for name in ("train.tsv", "validation.tsv"):
        write(tmp_path / "data" / "sst2" / name, "\n".join(["sentence\tlabel", *rows]))
    done = benchmark(
        tmp_path,
        "-k=sst2",
        f"--energy-models={trained}",
        f"--energy-data={tmp_path / 'data'}",
        "--energy-json=run.json",
    )

    assert "1 skipped" in done.stdout, done.stdout + done.stderr
    assert "Not testable here: `sst2: score above chance kept`: `bert-base-uncased` did not" in (
        done.stdout
    )
    (claim,) = json.loads((tmp_path / "run.json").read_text())["claims"]
    assert claim["outcome"] == "not testable"
    (kept,) = (f for f in claim["figures"] if f["name"] == "sst2: score above chance kept")
    assert kept["value"] is None
    (table,) = claim["tables"]
    assert re.fullmatch(r"sst2: score .*, 3 epochs of 120 examples", table["title"])


@needs_samples
def test_it_skips_with_what_it_takes(
    trained: Path, pytester: pytest.Pytester, spending_cpu: Path
) -> None:
    shutil.copytree(trained / "bert-base-uncased", pytester.path / "one" / "bert-base-uncased")
    for arguments, reason in (
        ((), "`pytest benchmarks/test_accuracy_tradeoff.py --energy-data=hub`, or with"),
        ((f"--energy-data={SAMPLES}",), "scores take real examples and pre-trained weights"),
        (
            (f"--energy-data={SAMPLES}", "--energy-models=one"),
            "has no weights of distilbert-base-uncased",
        ),
        (("--energy-data=unscored", f"--energy-models={trained}"), "nothing to score `rte` on"),
    ):
        rows = "sentence1\tsentence2\tlabel\na\tb\tentailment\n"
        write(pytester.path / "unscored" / "RTE" / "train.tsv", rows)
        # The module lies elsewhere, and would bring its own ini file and meter.
        ini = ("-c", pytester.path / "tox.ini")
        result = pytester.runpytest(MODULE, *ini, "-rs", "-k=rte", *arguments)
        result.assert_outcomes(skipped=1, deselected=7)
        result.stdout.fnmatch_lines([f"SKIPPED*{reason}*"])


@needs_samples
@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("rte", ["accuracy", "macro F1"]),
        ("conll2003", ["entity F1", "precision", "recall"]),
        ("squad_v1", ["span F1", "exact match"]),
        ("squad_v2", ["span F1", "exact match"]),
    ],
)
def test_each_epoch_is_metered_and_scored(task: str, names: list[str]) -> None:
    samples = open_data(str(SAMPLES))
    run = small(task, "bert-tiny", data=samples, batch_size=16)
    rate = run._optimizer.param_groups[0]["lr"]

    evaluation = make_evaluation(get_task(task), samples, "bert-tiny", run.workload.max_length)

    course = ScoredEpochs(run, samples, evaluation, tokens=2000)
    parts = list(course)

    scores = [part.scores for part in parts if part.scores is not None]
    epochs = get_task(task).epochs
    assert len(scores) == epochs
    assert epochs <= len(parts) <= 2 * epochs  # an epoch of one batch has one part
    assert course.windows == len(parts)
    assert course.tokens == sum(part.window.tokens for part in parts) >= 2000 * epochs
    for part in parts:
        assert part.examples == 16 * part.window.steps < part.available
    for one in scores:
        assert list(one) == names
        assert all(0 <= score <= 100 for score in one.values())
    assert run._optimizer.param_groups[0]["lr"] == 0 < rate
    assert run.bare.training


def one_sentence(folder: Path, *, held_out: str) -> Any:
    write_vocabulary(folder)
    write(folder / "ner" / "train.conll", "ada B-person\nlives O\n\n")
    write(folder / "ner" / "valid.conll", held_out)
    return open_data(str(folder))


def test_a_model_that_is_right_scores_all_there_is(tmp_path: Path) -> None:
    text = "ada B-person\nplaying O\n\nlives O\n\n"
    data = one_sentence(tmp_path, held_out=text)
    evaluation = make_evaluation(get_task("conll2003"), data, "bert-tiny", 16)
    right = []
    for example in evaluation.examples:
        said = torch.zeros(len(example.ids), 3)
        for place, label in enumerate(example.token_labels or ()):
            said[place, label if label >= 0 else 1] = 1
        right.append({"logits": said})
    assert evaluation.score(right)["entity F1"] == 100
    assert evaluation.score([{"logits": -said["logits"]} for said in right])["entity F1"] == 0


def test_tags_that_were_never_trained_are_refused(tmp_path: Path) -> None:
    data = one_sentence(tmp_path, held_out="oslo B-place\n\n")
    with pytest.raises(DataError, match="has the tags B-place, which"):
        make_evaluation(get_task("conll2003"), data, "bert-tiny", 16)


@pytest.mark.parametrize("task", ["sst2", "squad_v1", "imdb", "conll2012"])
def test_without_a_held_out_split_the_error_says_what_was_looked_for(
    task: str, tmp_path: Path
) -> None:
    write(tmp_path / "SST-2" / "train.tsv", "sentence\tlabel\ngood film\t1\n")
    write(tmp_path / "squad_v1" / "dev.json", '{"data": []}')
    write(tmp_path / "aclImdb" / "train" / "pos" / "1.txt", "good")
    write(tmp_path / "aclImdb" / "train" / "neg" / "1.txt", "bad")
    write(tmp_path / "conll2012" / "train" / "a.gold_conll", "x")
    with pytest.raises(DataError, match=f"has nothing to score `{task}` on: looked for .*beside"):
        held_out(open_data(str(tmp_path)), task)


def test_held_out_splits_are_found_beside_training(tmp_path: Path) -> None:
    write(tmp_path / "MNLI" / "train.tsv", "sentence1\tsentence2\tlabel\na\tb\tneutral\n")
    write(tmp_path / "MNLI" / "dev_matched.tsv", "sentence1\tsentence2\tlabel\nc\td\t0\n")
    for split, review in (("train", "good"), ("test", "very good")):
        for kind in ("pos", "neg"):
            write(tmp_path / "aclImdb" / split / kind / "1.txt", review)
    data = open_data(str(tmp_path))
    assert [record.text for record in held_out(data, "mnli")] == ["c"]  # type: ignore[union-attr]
    assert {record.text for record in held_out(data, "imdb")} == {"very good"}  # type: ignore[union-attr]


def test_synthetic_examples_have_no_score() -> None:
    with pytest.raises(DataError, match="`sst2`: synthetic examples have no score"):
        held_out(open_data("synthetic"), "sst2")
