"""A folder of data sets: what is found in it, and what its files become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_energy import TASKS, DataError, DataSource, EnergyError, Example, get_task, open_data
from pytest_energy.workloads.data.examples import IGNORED
from pytest_energy.workloads.data.features import tokenizer_file
from pytest_energy.workloads.data.layouts import LAYOUTS, find
from pytest_energy.workloads.data.sources import LocalSource
from workloads_support import PIECES, SAMPLES, ids, needs_samples, squad, write, write_vocabulary

RTE = "index\tsentence1\tsentence2\tlabel\n0\tit is good\tit is bad\tnot_entailment\n"
SST2 = "sentence\tlabel\ngood film\t1\nbad film\t0\n"
CONLL = "ada B-PER\nlives O\nin O\noslo B-LOC\n\n"
pytest.importorskip("tokenizers")


def examples(
    source: DataSource, task: str, count: int = 10, max_length: int = 32, seed: int = 0
) -> list[Example]:
    return source.examples(
        task, model="bert-base-uncased", max_length=max_length, seed=seed, count=count
    )


def source(folder: Path, **files: str) -> LocalSource:
    """A folder with the small vocabulary and these files (`__` for `/`, `_0_` for a dot)."""
    write_vocabulary(folder)
    for name, text in files.items():
        write(folder / name.replace("__", "/").replace("_0_", "."), text)
    return LocalSource(folder)


@pytest.mark.parametrize(
    ("task", "file"),
    [
        ("rte", "RTE/train.tsv"),
        ("rte", "rte/validation.tsv"),
        ("rte", "glue_data/RTE/train.tsv"),
        ("mnli", "MNLI/train.tsv"),
        ("mnli", "mnli/dev_matched.tsv"),
        ("sst2", "SST-2/train.tsv"),
        ("sst2", "sst2/train.tsv"),
        ("sst2", "SST_2/Train.tsv"),
        ("squad_v1", "SQuAD/train-v1.1.json"),
        ("squad_v1", "squad/train.json"),
        ("squad_v1", "squad_v1.1/dev-v1.1.json"),
        ("squad_v1", "squad_v1/train.json"),
        ("squad_v2", "squad_v2/train.json"),
        ("squad_v2", "SQuAD-2.0/train-v2.0.json"),
        ("squad_v2", "SQuAD/train-v2.0.json"),
        ("conll2003", "CoNLL-2003/eng.train"),
        ("conll2003", "conll2003/train.txt"),
        ("conll2003", "wnut17_ner/train.conll"),
        ("conll2003", "mine/my-ner-train.conll"),
        ("conll2003", "conll2003.conll"),
        ("conll2012", "ontonotes/data/train/english/bc/a_0001.gold_conll"),
        ("conll2012", "CoNLL-2012/a/b/c/d/e.v4_gold_conll"),
        ("imdb", "imdb/IMDB Dataset.csv"),
        ("imdb", "IMDB Dataset.csv"),
        ("imdb", "IMDb/train.csv"),
        ("mlm", "wikitext2_raw/train.txt"),
        ("mlm", "wikitext-2-raw/wiki.train.raw"),
        ("mlm", "text/train.txt"),
        ("mlm", "mlm/novel.txt"),
    ],
)
def test_where_tasks_are_found(tmp_path: Path, task: str, file: str) -> None:
    path = write(tmp_path / file, "x")
    for name in TASKS:
        found = find(tmp_path, LAYOUTS[name])
        assert (found.files if found else None) == ((path,) if name == task else None)


@pytest.mark.parametrize(
    ("task", "file"),
    [
        ("rte", "glue_data/glue/RTE/train.tsv"),
        ("rte", "SuperGLUE/RTE/train.jsonl"),
        ("mnli", "multinli_1.0/multinli_1.0_train.jsonl"),
        ("mnli", "multinli_1.0/multinli_1.0_train.txt"),
        ("mnli", "downloads/multinli_1.0_train.jsonl"),
        ("mnli", "glue_data/MNLI/original/multinli_1.0_train.jsonl"),
        ("sst2", "sst2_csv/train.csv"),
        ("sst2", "SST-2/SST-2/train.tsv"),
        ("sst2", "sst2/data/train.csv"),
        ("sst2", "SetFit___sst2/train.jsonl"),
        ("sst2", "stanford-sst2/sst_train.csv"),
        ("squad_v1", "train-v1.1.json"),
        ("squad_v1", "stanford-question-answering-dataset/train-v1.1.json"),
        ("squad_v1", "squad/v1.1/train-v1.1.json"),
        ("squad_v2", "stanford-question-answering-dataset/train-v2.0.json"),
        ("squad_v2", "squad/v2.0/train.json"),
        ("conll2003", "conll003-englishversion/train.txt"),
        ("conll2003", "kaggle/conll003-englishversion/train.txt"),
        ("conll2003", "conll03/data/eng.train"),
        ("conll2003", "downloads/eng.train"),
        ("conll2012", "conll-formatted-ontonotes-5.0/data/train/data/english/a.gold_conll"),
        ("imdb", "imdb-dataset-of-50k-movie-reviews/IMDB Dataset.csv"),
        ("imdb", "archive/IMDB Dataset.csv"),
        ("mlm", "wikitext-2-raw-v1/wikitext-2-raw/wiki.train.raw"),
        ("imdb", "imdb/latest_reviews.csv"),
        ("sst2", "my-test-data/SST-2/train.tsv"),
        ("sst2", "test_data/SST-2/train.tsv"),
    ],
)
def test_downloads_are_found_as_they_are_called(tmp_path: Path, task: str, file: str) -> None:
    test_where_tasks_are_found(tmp_path, task, file)


@pytest.mark.fault(
    "data",
    "the files of a task are called otherwise",
    "not found, and the nearest names are said",
)
@pytest.mark.parametrize(
    ("file", "task", "said"),
    [
        ("sts2/train.tsv", "sst2", "nearest is `sts2/`"),
        ("mrc/squad-like.json", "squad_v1", "nearest is `mrc/squad-like.json`"),
        (
            "glue/sst2/train-00000-of-00001.parquet",
            "sst2",
            "nearest is `glue/sst2/train-00000-of-00001.parquet`; Parquet is not read here: use",
        ),
        ("SST-2/train.zip", "sst2", "there is `SST-2/`; nearest is `SST-2/train.zip`"),
    ],
)
def test_what_is_not_found_names_what_is_near(
    tmp_path: Path, file: str, task: str, said: str
) -> None:
    write(tmp_path / file, "x")
    missing = LocalSource(tmp_path).missing(task)
    assert missing is not None
    assert said in missing


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    assert "the folder is empty" in str(LocalSource(tmp_path).missing("rte"))


def test_what_was_read_is_described(tmp_path: Path) -> None:
    rows = "a\tb\tneutral\n" * 30 + "a\tb\t-\n"
    text = "sentence1\tsentence2\tgold_label\n" + rows
    folder = source(tmp_path, MNLI__dev_matched_0_tsv=text)
    assert folder.described() == ()
    examples(folder, "mnli")
    assert folder.described() == (
        "`mnli` is 30 examples of `MNLI/dev_matched.tsv` (1 skipped: label `-`)",
        f"text for `bert-base-uncased` is cut by `{tmp_path / 'vocab.txt'}`",
    )


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_a_vocabulary(tmp_path: Path, mark: str, end: str) -> None:
    folder = source(tmp_path, sst2__train_0_tsv=SST2)
    write(tmp_path / "vocab.txt", mark + end.join(PIECES) + end)
    tokenizer = folder.tokenizer("bert-base-uncased")
    assert tokenizer.get_vocab_size() == len(PIECES)
    assert tokenizer.token_to_id("[PAD]") == 0


def test_multinli_in_json_lines(tmp_path: Path) -> None:
    rows = [
        {"annotator_labels": votes, "gold_label": gold, "sentence1": "it is good",
         "sentence2": "it is bad", "pairID": str(number)}
        for number, (votes, gold) in enumerate(
            [(["neutral"] * 3 + ["entailment"] * 2, "neutral")] * 30
            + [(["neutral", "entailment"], "-"), (["entailment"] * 5, "neutral")]
        )
    ]  # fmt: skip
    text = "\n".join(map(json.dumps, rows))
    write_vocabulary(tmp_path)
    write(tmp_path / "multinli_1.0" / "multinli_1.0_train.jsonl", text)
    folder = LocalSource(tmp_path)
    assert [example.label for example in examples(folder, "mnli", count=99)] == [1] * 30
    assert "2 skipped: label `-` (1), labels that contradict each other (1)" in str(
        folder.described()
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no JSON; expected a JSON object a line"),
        ("[]", r"line 2: '\[\]' is no object"),
        ('{"text": "bad"}', "line 2: no `label`; expected the names of the first line"),
        ('{"text": "bad", "label": 1.0}', r"line 2: label '1\.0'"),
        ('{"text": "bad", "label": true}', r"line 2: label 'True'"),
    ],
)
def test_broken_json_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    write_vocabulary(tmp_path)
    write(tmp_path / "sst2" / "train.jsonl", '{"text": "good", "label": 1}\n' + line)
    with pytest.raises(DataError, match=rf"train\.jsonl`, {message}"):
        examples(LocalSource(tmp_path), "sst2")


def test_the_folder_may_be_the_task_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "SST-2" / "train.tsv", SST2)
    found = find(tmp_path / "SST-2", LAYOUTS["sst2"])
    assert found is not None
    assert found.files == (path,)


def test_training_sets_come_before_others_and_test_sets_never(tmp_path: Path) -> None:
    for split in ("test", "train", "dev"):
        write(tmp_path / "ner" / f"{split}.conll", CONLL)
    found = find(tmp_path, LAYOUTS["conll2003"])
    assert found is not None
    assert [path.name for path in found.files] == ["train.conll"]
    write(tmp_path / "other" / "RTE" / "test.tsv", RTE)
    assert find(tmp_path, LAYOUTS["rte"]) is None
    for name in ("imdb_test.csv", "Test-Set.csv", "testdata.csv", "test2.csv", "x.testa.csv"):
        write(tmp_path / "imdb" / name, "x")
    for folder in ("test", "my_test", "Testing", "test-split"):
        write(tmp_path / "imdb" / folder / "imdb" / "reviews.csv", "x")
    assert find(tmp_path, LAYOUTS["imdb"]) is None


def test_reviews_as_a_tree(tmp_path: Path) -> None:
    for name in ("train/pos/0_9.txt", "train/neg/0_1.txt", "test/pos/0_9.txt"):
        write(tmp_path / "aclImdb" / name, "x")
    found = find(tmp_path, LAYOUTS["imdb"])
    assert found is not None
    assert [path.parent.name for path in found.files] == ["neg", "pos"]


def test_ontonotes_keeps_to_english_training_files(tmp_path: Path) -> None:
    tree = tmp_path / "conll-2012" / "v4" / "data"
    for name in ("train/data/english/a", "train/data/arabic/b", "test/data/english/c"):
        write(tree / f"{name}.gold_conll", "x")
    found = find(tmp_path, LAYOUTS["conll2012"])
    assert found is not None
    assert [path.name for path in found.files] == ["a.gold_conll"]


def test_a_task_that_is_not_there_says_what_was_looked_for(tmp_path: Path) -> None:
    folder = source(tmp_path, RTE__train_0_tsv=RTE)
    assert folder.missing("rte") is None
    assert folder.missing("mnli") == (
        f"`{tmp_path}` has nothing for `mnli`: looked for train.tsv or dev_matched.tsv in a "
        "folder named `MNLI`, or multinli_1.0_train.jsonl; there is `RTE/`, `vocab.txt`"
    )
    for call in (folder.identity, folder.labels, lambda task: examples(folder, task)):
        with pytest.raises(DataError, match="has nothing for `mnli`"):
            call("mnli")


@pytest.mark.parametrize("name", ["nowhere", "file.txt"])
def test_a_source_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path / "file.txt", "x")
    with pytest.raises(EnergyError, match="give `synthetic`, `hub` or a folder"):
        open_data(str(tmp_path / name))


def test_open_data_knows_the_three_kinds(tmp_path: Path) -> None:
    kinds = [open_data(name).kind for name in ("synthetic", "hub", str(tmp_path))]
    assert kinds == ["synthetic", "hub", "local"]


def test_identity_follows_what_the_files_hold(tmp_path: Path) -> None:
    first = source(tmp_path / "a", RTE__train_0_tsv=RTE).identity("rte")
    assert first == source(tmp_path / "b", rte__train_0_tsv=RTE).identity("rte")
    assert first != source(tmp_path / "c", RTE__train_0_tsv=RTE + "\n").identity("rte")
    write(tmp_path / "a" / "vocab.txt", "\n".join([*PIECES, "more"]))
    assert first != LocalSource(tmp_path / "a").identity("rte")
    assert first.startswith("local:")


def test_the_vocabulary_of_the_model_comes_first(tmp_path: Path) -> None:
    assert tokenizer_file("bert-tiny", tmp_path, None) is None
    top = write_vocabulary(tmp_path)
    assert tokenizer_file("bert-tiny", tmp_path, None) == top
    uncased = write_vocabulary(tmp_path / "vocab" / "bert-base-uncased")
    cased = write_vocabulary(tmp_path / "vocab" / "bert-base-cased")
    assert tokenizer_file("distilbert-base-uncased", tmp_path, None) == uncased
    assert tokenizer_file("bert-base-cased", tmp_path, None) == cased


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not valid JSON"), ("[]", "is a list, not a table"), ("", "is empty")],
)
def test_a_broken_configuration_of_a_tokenizer_is_named(
    tmp_path: Path, text: str, said: str
) -> None:
    write_vocabulary(tmp_path)
    path = write(tmp_path / "tokenizer_config.json", text)

    with pytest.raises(DataError, match=f"`{path}` {said}"):
        LocalSource(tmp_path).tokenizer("bert-base-uncased")


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    folder = source(tmp_path, sst2__train_0_tsv=SST2)
    write(tmp_path / "vocab.txt", "good\nbad\n")
    with pytest.raises(DataError, match=r"vocab\.txt`: no `\[PAD\]`"):
        examples(folder, "sst2")


def test_a_sentence_becomes_word_pieces(tmp_path: Path) -> None:
    folder = source(tmp_path, sst2__train_0_tsv="sentence\tlabel\nGood films playing\t1\n")
    assert examples(folder, "sst2") == [
        Example(ids("[CLS] good film ##s play ##ing [SEP]"), (0,) * 7, label=1)
    ]


def test_a_pair_has_two_token_types_and_is_cut_to_the_cap(tmp_path: Path) -> None:
    folder = source(tmp_path, RTE__train_0_tsv=RTE)
    whole = Example(ids("[CLS] it is good [SEP] it is bad [SEP]"), (0,) * 5 + (1,) * 4, label=1)
    assert examples(folder, "rte") == [whole]
    assert len(examples(folder, "rte", max_length=8)[0].ids) == 8


def test_only_the_first_piece_of_a_word_is_labelled(tmp_path: Path) -> None:
    folder = source(tmp_path, ner__train_0_conll="ada I-PER\nplaying O\nOslo I-LOC\n")
    assert folder.labels("conll2003") == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert examples(folder, "conll2003") == [
        Example(
            ids("[CLS] ada play ##ing oslo [SEP]"),
            (0,) * 6,
            token_labels=(IGNORED, 3, 0, IGNORED, 1, IGNORED),
        )
    ]


def test_an_answer_is_found_among_the_word_pieces(tmp_path: Path) -> None:
    text = squad("Ada, it is unknown, lives in Oslo.", a="unknown", b=None)
    folder = source(tmp_path, squad_v2__train_0_json=text)
    found = {example.span: example for example in examples(folder, "squad_v2")}
    assert set(found) == {(11, 12), (0, 0)}
    answered = found[11, 12]
    assert answered.ids[11:13] == ids("un ##known")
    assert answered.types == (0,) * 7 + (1,) * (len(answered.ids) - 7)


def test_a_long_context_makes_overlapping_examples(tmp_path: Path) -> None:
    context = "a " * 30 + "lake " + "a " * 30
    folder = source(tmp_path, squad__train_0_json=squad(context, a="lake"))
    parts = examples(folder, "squad_v1", max_length=32)
    # The question takes 5 of 32 tokens and special tokens 3: 24 are left, half of them shared.
    assert [len(part.ids) for part in parts] == [32, 32, 32, 32, 21]
    spans = [part.span for part in parts]
    assert spans[0] == spans[3] == spans[4] == (0, 0)
    for part in parts[1:3]:
        assert part.span is not None
        start, end = part.span
        assert part.ids[start : end + 1] == ids("lake")


def test_documents_overlap_by_the_stride_of_the_task(tmp_path: Path) -> None:
    context = " ".join(PIECES[5 + i % 7] for i in range(900))
    folder = source(tmp_path, squad__train_0_json=squad(context, a="the"))
    parts = examples(folder, "squad_v1", max_length=384)
    room = 384 - 5 - 3
    assert [len(part.ids) - 8 for part in parts] == [room, room, room, 900 - 3 * (room - 128)]
    assert parts[0].ids[-1 - 128 : -1] == parts[1].ids[7 : 7 + 128]


def test_running_text_fills_its_sequences(tmp_path: Path) -> None:
    folder = source(tmp_path, mlm__train_0_txt="the good film\n\nthe bad film\n" * 40)
    sequences = examples(folder, "mlm", count=100, max_length=16)
    assert {len(sequence.ids) for sequence in sequences} == {16}
    assert len(sequences) == 240 // 14
    for sequence in sequences:
        asked = [label for label in sequence.token_labels or () if label != IGNORED]
        assert asked
        assert set(asked) <= set(ids("the good bad film"))
        assert (sequence.ids[0], sequence.ids[-1]) == ids("[CLS] [SEP]")


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    folder = source(tmp_path, mlm__train_0_txt="the good film\n")
    with pytest.raises(DataError, match="`mlm`: too little text for one example of 16 tokens"):
        examples(folder, "mlm", max_length=16)


def test_the_file_is_shuffled_and_more_begin_with_the_same(tmp_path: Path) -> None:
    rows = "".join(f"{'good ' * i}\t{i % 2}\n" for i in range(1, 30))
    folder = source(tmp_path, sst2__train_0_tsv="sentence\tlabel\n" + rows)
    ten = examples(folder, "sst2")
    assert ten == examples(folder, "sst2", count=20)[:10]
    assert ten != examples(folder, "sst2", seed=1)
    assert max(len(example.ids) for example in ten) > 12
    assert len(examples(folder, "sst2", count=100)) == 29


def test_an_error_in_a_file_names_it(tmp_path: Path) -> None:
    folder = source(tmp_path, sst2__train_0_tsv="sentence\tlabel\ngood\tfine\n")
    with pytest.raises(DataError, match=r"train\.tsv`, line 2: label 'fine'"):
        examples(folder, "sst2")


@needs_samples
@pytest.mark.parametrize(
    ("task", "labels"),
    [("rte", 2), ("sst2", 2), ("squad_v1", 0), ("squad_v2", 0), ("conll2003", 13), ("mlm", 0)],
)
def test_real_samples(task: str, labels: int) -> None:
    samples = open_data(str(SAMPLES))
    if samples.missing(task):
        pytest.skip(str(samples.missing(task)))
    cap = get_task(task).max_length
    some = examples(samples, task, count=120, max_length=cap)
    assert len(samples.labels(task)) == labels
    assert len(some) == 120
    assert all(len(example.ids) == len(example.types) <= cap for example in some)
    assert max(max(example.ids) for example in some) < 30522
    unknown = sum(example.ids.count(100) for example in some)
    assert unknown < 0.02 * sum(len(example.ids) for example in some)
    if labels == 13:
        used = {i for example in some for i in example.token_labels or ()}
        assert used <= {IGNORED, *range(13)}
        assert len(used) > 5


@needs_samples
@pytest.mark.parametrize("task", ["rte", "sst2", "squad_v1"])
def test_real_samples_are_as_long_as_was_measured(task: str) -> None:
    samples = open_data(str(SAMPLES))
    cap = get_task(task).max_length
    some = examples(samples, task, count=900, max_length=cap)
    mean = sum(len(example.ids) for example in some) / len(some)
    assert mean == pytest.approx(get_task(task).lengths.mean, rel=0.1)


def test_the_report_says_which_data_it_was(pytester: pytest.Pytester, spending: Path) -> None:
    pytest.importorskip("xdist")
    rows = "good film\t1\nbad film\t0\n" * 20
    write(pytester.path / "data" / "SST-2" / "train.tsv", "sentence\tlabel\n" + rows)
    write_vocabulary(pytester.path / "data")
    pytester.makepyfile(
        """
        import pytest
        import spending


        @pytest.fixture
        def energy_workload():
            return lambda batch: spending.spend(1.0)


        def test_it(finetune, energy_gate):
            energy_gate.joules_per_token(finetune("sst2"))
        """
    )

    # By way of a worker, whose report comes to the controller.
    result = pytester.runpytest_subprocess(
        "--energy-data=data", "--energy-tokens=64", "--energy-json=run.json", "-n", "1"
    )

    first, second = json.loads((pytester.path / "run.json").read_text())["run"]["data"]
    assert first == "`sst2` is 40 examples of `SST-2/train.tsv`"
    assert second.startswith("text for `bert-base-uncased` is cut by ")
    assert second.endswith("data/vocab.txt`")
    result.stdout.fnmatch_lines([f"data: {first}", f"data: {second}"])
