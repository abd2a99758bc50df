"""Files as people have them, read; files that are wrong, refused by file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_energy import DataError, Question, Tagged, get_task
from pytest_energy.workloads.data.examples import Passage, Text
from pytest_energy.workloads.data.readers import (
    label_set,
    read_columns,
    read_glue,
    read_ontonotes,
    read_review_table,
    read_reviews,
    read_running_text,
    read_squad,
    to_iob2,
)
from workloads_support import squad, write

_COLUMNS = """
index promptID pairID genre sentence1_binary_parse sentence2_binary_parse
sentence1_parse sentence2_parse sentence1 sentence2 label1 gold_label
"""
MNLI_COLUMNS = _COLUMNS.split()


def test_rte(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.tsv",
        "index\tsentence1\tsentence2\tlabel\n"
        '0\tShe said "no.\tShe spoke.\tentailment\n'
        "1\tIt rained.\tIt\u2028snowed.\tnot_entailment\n",
    )
    assert read_glue(path, get_task("rte")) == [
        Text('She said "no.', "She spoke.", 0),
        Text("It rained.", "It\u2028snowed.", 1),
    ]


def test_mnli_with_its_twelve_columns(tmp_path: Path) -> None:
    row = [f"{name}!" for name in MNLI_COLUMNS[:-1]] + ["contradiction"]
    path = write(tmp_path / "train.tsv", "\t".join(MNLI_COLUMNS) + "\r\n" + "\t".join(row) + "\r\n")
    assert read_glue(path, get_task("mnli")) == [Text("sentence1!", "sentence2!", 2)]


def test_sst2(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", "\ufeffsentence\tlabel\na \"good' film \t1\nbad\t0\n")
    assert read_glue(path, get_task("sst2")) == [
        Text("a \"good' film ", None, 1),
        Text("bad", None, 0),
    ]


@pytest.mark.parametrize(
    "table",
    [
        "text,label\ngood,1\nbad,0\n",
        "review,sentiment\ngood,positive\nbad,negative\n",
        "Label,Text\npos,good\nneg,bad\n",
        '"SENTIMENT","id","REVIEW"\r\nPositive,1,"good"\r\nNegative,2,bad\r\n',
    ],
)
def test_reviews_in_a_table(tmp_path: Path, table: str) -> None:
    records = read_review_table(write(tmp_path / "train.csv", table), get_task("imdb"))
    assert records == [Text("good", None, 1), Text("bad", None, 0)]


def test_a_review_may_span_lines_and_quote(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"It said ""no"",\nthen ended",neg\n')
    assert read_review_table(path, get_task("imdb")) == [Text('It said "no",\nthen ended', None, 0)]


def test_reviews_one_a_file(tmp_path: Path) -> None:
    paths = [write(tmp_path / "neg/1_2.txt", "bad"), write(tmp_path / "pos/1_9.txt", "good")]
    assert read_reviews(paths) == [Text("bad", None, 0), Text("good", None, 1)]


def test_squad_questions_with_and_without_an_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "train.json", squad("Ada lives in Oslo.", a="Oslo", b=None))
    assert read_squad(path, get_task("squad_v2")) == [
        Question("where does ada play ?", "Ada lives in Oslo.", (13, 17), ("Oslo",)),
        Question("where does ada play ?", "Ada lives in Oslo.", None),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "-DOCSTART- -X- O O\n\nEU NNP B-NP I-ORG\nsays VBZ B-VP O\n\nAda NNP B-NP I-PER\n",
        "-DOCSTART-\tO\n\nEU\tB-ORG\nsays\tO\n \nAda\tB-PER\n\n\n",
        "EU I-ORG\r\nsays O\r\n\r\nAda I-PER",
    ],
    ids=["IOB1, 4 columns", "IOB2, 2 columns with tabs", "IOB1, no end of line"],
)
def test_conll_columns(tmp_path: Path, text: str) -> None:
    assert read_columns(write(tmp_path / "train.conll", text)) == [
        Tagged(("EU", "says"), ("B-ORG", "O")),
        Tagged(("Ada",), ("B-PER",)),
    ]


@pytest.mark.parametrize(
    ("tags", "iob2"),
    [
        ("O I-PER I-PER O", "O B-PER I-PER O"),
        ("I-PER B-PER I-PER", "B-PER B-PER I-PER"),
        ("I-PER I-LOC", "B-PER B-LOC"),
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC"),
        ("B-PER I-LOC", "B-PER B-LOC"),
    ],
)
def test_iob1_becomes_iob2(tags: str, iob2: str) -> None:
    assert to_iob2(tags.split()) == tuple(iob2.split())


def test_labels_are_those_of_the_file() -> None:
    sentences = [Tagged(("a", "b"), ("B-product", "O")), Tagged(("c",), ("B-group",))]
    assert label_set(sentences) == ("O", "B-group", "I-group", "B-product", "I-product")


def gold(*entities: str) -> str:
    """Lines of OntoNotes with these cells in the column of named entities."""
    return "".join(
        f"bc/cctv/0   0   {i}   word{i}   NN   (NP*   -   -   -   Ada#1   {cell}   *   -\n"
        for i, cell in enumerate(entities)
    )


def test_ontonotes_brackets_become_iob2(tmp_path: Path) -> None:
    text = (
        "#begin document (bc/cctv/00/cctv_0000); part 000\n"
        + gold("(PERSON*", "*", "*)", "*", "(GPE)", "(DATE)")
        + "\n"
        + gold("*")
        + "\n#end document\n"
    )
    path = write(tmp_path / "a.v4_gold_conll", text)
    assert read_ontonotes([path], get_task("conll2012").labels) == [
        Tagged(
            tuple(f"word{i}" for i in range(6)),
            ("B-PERSON", "I-PERSON", "I-PERSON", "O", "B-GPE", "B-DATE"),
        ),
        Tagged(("word0",), ("O",)),
    ]


def test_running_text_without_its_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "train.txt", " = Oslo = \n\n \nIt lies by a lake .\n")
    assert read_running_text(path) == [Passage(" = Oslo = \nIt lies by a lake .")]


def glue(name: str) -> Callable[[Path], object]:
    return lambda path: read_glue(path, get_task(name))


def table(path: Path) -> object:
    return read_review_table(path, get_task("imdb"))


def questions(path: Path) -> object:
    return read_squad(path, get_task("squad_v1"))


def ontonotes(path: Path) -> object:
    return read_ontonotes([path], get_task("conll2012").labels)


READERS: list[Any] = [
    pytest.param(glue("rte"), id="glue"),
    pytest.param(table, id="table"),
    pytest.param(questions, id="squad"),
    pytest.param(read_columns, id="columns"),
    pytest.param(ontonotes, id="ontonotes"),
    pytest.param(read_running_text, id="text"),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("content", [b"", b"\n \n"], ids=["nothing", "blanks"])
def test_an_empty_file_is_refused(
    tmp_path: Path, read: Callable[[Path], object], content: bytes
) -> None:
    path = tmp_path / "train.x"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.x`: the file is empty; expected \S"):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_undecodable_bytes_are_refused_with_their_line(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "train.x"
    path.write_bytes(b"one\ntwo\nthree \xff\n")
    with pytest.raises(DataError, match=r"train\.x`, line 3: byte 0xff is not UTF-8; expected \S"):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_cannot_be_opened_is_refused(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(DataError, match=r"gone\.x` cannot be read: No such file"):
        read(tmp_path / "gone.x")


RTE = "index\tsentence1\tsentence2\tlabel\n"


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (
            glue("rte"),
            "index\tsentence1\tlabel\n0\ta\tentailment\n",
            r"line 1: no column `sentence2`; the columns are `index`, `sentence1`, `label`",
        ),
        (
            glue("mnli"),
            "sentence1\tsentence2\tlabel1\na\tb\tneutral\n",
            r"line 1: no column `gold_label` or `label`",
        ),
        (glue("rte"), RTE + "0\ta\tb\tentailment\n1\ta\tb\n", r"line 3: 3 columns; expected 4"),
        (
            glue("rte"),
            RTE + "0\ta\tb\tmaybe\n",
            r"line 2: label 'maybe'; expected entailment or not_entailment",
        ),
        (glue("sst2"), "sentence\tlabel\na\t2\n", r"line 2: label '2'; expected negative or pos"),
        (glue("sst2"), "sentence\tlabel\n", r"line 1: nothing below the header"),
        (table, "text,stars\na,5\n", r"line 1: no column `label` or `sentiment` or `class`"),
        (table, "text,label\na,1\nb,1,c\n", r"line 3: 3 columns; expected 2"),
        (table, 'text,label\n"a\nb",1\nc,good\n', r"line 4: label 'good'"),
        (table, 'text,label\n"a,1\n', r"line 2: not CSV"),
        (table, "text,label\n", r"line 1: nothing below the header"),
        (questions, '{"data": [\n{"paragraphs": [}\n', r"line 2: broken JSON"),
        (questions, '{"version": "1.1"}', r"no `data` in the top; expected `data` > "),
        (questions, '{"data": []}', r"no questions"),
        (questions, "[]", r"not the nesting of SQuAD at the top"),
        (
            questions,
            '{"data": [{"paragraphs": [{"context": "a"}]}]}',
            r"no `qas` in `data\[0\].paragraphs\[0\]`",
        ),
        (
            questions,
            squad("Ada lives in Oslo.", a="Oslo", b=None),
            r"line \d+: question `b` \(`data\[0\].paragraphs\[0\].qas\[1\]`\) has no answer; "
            r"expected one, or a folder named `squad_v2`",
        ),
        (
            questions,
            squad("Ada lives in Oslo.", a="Oslo").replace("13", "99"),
            r"line 10: question `a` .* has an answer outside its context",
        ),
        (read_columns, "EU B-ORG\nsays\n", r"line 2: 1 columns; expected a word and"),
        (read_columns, "EU B-ORG\n\nsays VBZ O\n", r"line 3: 3 columns"),
        (read_columns, "a b c d O\n", r"line 1: 5 columns"),
        (read_columns, "EU B-ORG\nsays VERB\n", r"line 2: tag 'VERB'; expected `O`, `B-…` or"),
        (read_columns, "-DOCSTART- -X- O O\n", r"no sentences"),
        (ontonotes, gold("*", "(HERO)"), r"line 2: named entity '\(HERO\)'; expected `\*`"),
        (ontonotes, "\n" + gold("*", "*)"), r"line 3: named entity '\*\)'"),
        (ontonotes, gold("(GPE*", "(DATE)"), r"line 2: named entity"),
        (ontonotes, "a 0 0 word\n", r"line 1: 4 columns; expected OntoNotes"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    tmp_path: Path, read: Callable[[Path], object], text: str, message: str
) -> None:
    path = write(tmp_path / "train.x", text)
    with pytest.raises(DataError, match=rf"`{path}`(, )?(: )?{message}"):
        read(path)


def test_the_line_of_a_question_is_where_its_id_is(tmp_path: Path) -> None:
    text = squad("Ada lives in Oslo.", a="Oslo", b=None)
    line = text[: text.index('"b"')].count("\n") + 1
    with pytest.raises(DataError, match=rf"line {line}: question `b`"):
        questions(write(tmp_path / "train.json", text))


def test_labels_may_be_ids(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", RTE + "0\ta\tb\t1\n")
    assert read_glue(path, get_task("rte")) == [Text("a", "b", 1)]
