"""Files as people have them, read; files that are wrong, refused by file and line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_energy import DataError, Question, Tagged, get_task
from pytest_energy.workloads.data.columns import (
    label_set,
    read_columns,
    read_ontonotes,
    to_iob2,
)
from pytest_energy.workloads.data.examples import Passage, Skipped, Text
from pytest_energy.workloads.data.readers import (
    read_glue,
    read_review_table,
    read_reviews,
    read_running_text,
    read_squad,
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


@pytest.mark.fault(
    "data",
    "a data file is empty or blank",
    "refused, and what is expected is said",
)
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("content", [b"", b"\n \n"], ids=["nothing", "blanks"])
def test_an_empty_file_is_refused(
    tmp_path: Path, read: Callable[[Path], object], content: bytes
) -> None:
    path = tmp_path / "train.x"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.x`: the file is empty; expected \S"):
        read(path)


@pytest.mark.fault(
    "data",
    "a data file is no UTF-8",
    "refused with the line",
)
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


@pytest.mark.fault(
    "data",
    "columns are missing, labels are unknown, quotes and brackets never close, tags are "
    "of another scheme",
    "refused with file and line, and the true cause",
)
@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (
            glue("rte"),
            "index\tsentence1\tlabel\n0\ta\tentailment\n",
            r"line 1: no column `sentence2` or `hypothesis`; the columns are `index`, `sent",
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
        (
            read_columns,
            "Ada S-PER\nlives O\n",
            r"line 1: tag 'S-PER' is of the scheme BIOES; expected IOB2",
        ),
        (read_columns, "Ada B-PER\nL. L-PER\n", r"line 2: tag 'L-PER' is of the scheme BILOU"),
        (read_columns, "# id 7\nAda B-PER\n", r"line 1: '# id 7' is a comment; expected no lines"),
        (
            read_columns,
            "Ada B-PER\n\n# sent_id = 1\nlives O\n",
            r"line 3: '# sent_id = 1' is a comment",
        ),
        (
            read_columns,
            "Ada B-PER\n\u00a0 O\n",
            r"line 2: the word is U\+00A0 \(no-break space\), which is blank",
        ),
        (
            read_columns,
            "Ada\u00a0B-PER\n",
            r"line 1: 1 columns \(U\+00A0 \(no-break space\) separates none\)",
        ),
        (ontonotes, gold("*", "(GPE*", "*"), r"line 2: named entity '\(GPE\*' is never closed"),
        (
            ontonotes,
            gold("*").replace("word0", "\u00a0"),
            r"line 1: the word is U\+00A0 \(no-break space\)",
        ),
        (
            ontonotes,
            gold("*", "*") + gold("*"),
            r"line 3: word number 0 for word 2 of a sentence",
        ),
        (table, 'text,label\na,1\n"b,1\nc,1\nd,0\n', r"line 3: not CSV: .* is never closed"),
        (
            table,
            'text,label\na,1\n"b,1\n' + "c,1\n" * 50 + '"d" e,0\n',
            r"line 3: not CSV: the row that begins here has .* ends in line 54, where",
        ),
        (
            table,
            'text,label\na,1\n"b,1\n' + "c,1\n" * 50 + '",0,d\n',
            r"line 3: 3 columns; expected 2",
        ),
        (table, 'text,label\na,1\n"b" c,1\n', r"line 3: not CSV: .* that a quote ends, where"),
        (
            table,
            "text,label,label_text\na,1,negative\n",
            r"line 2: `label` is '1' and `label_text` is 'negative'; expected the same",
        ),
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


def test_a_long_review_is_read(tmp_path: Path) -> None:
    review = "good " * 28_000
    path = write(tmp_path / "a.csv", f'text,label\n"{review}",1\n')
    assert read_review_table(path, get_task("imdb")) == [Text(review, None, 1)]


@pytest.mark.fault(
    "data",
    "an answer's start is off by one, a float, a text, or outside",
    "refused with the question's id",
)
@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([{"text": "Oslo", "answer_start": 12}], "has the answer 'Oslo', but ' Osl' at its start"),
        ([{"text": "Oslo", "answer_start": 13.0}], r"has `answer_start` 13\.0; expected a whole"),
        ([{"text": "Oslo", "answer_start": True}], "has `answer_start` True; expected a whole"),
        ([{"text": "Oslo", "answer_start": "13"}], "has `answer_start` '13'; expected a whole"),
        ([{"text": 7, "answer_start": 13}], "has an answer 7; expected a text"),
        (
            [{"text": "Oslo", "answer_start": 13}, {"text": "Ada", "answer_start": 1}],
            "has the answer 'Ada', but 'da ' at its start",
        ),
        ([{"text": "Oslo", "answer_start": -5}], "has an answer outside its context"),
    ],
)
def test_answers_are_where_they_say(tmp_path: Path, answers: list[Any], message: str) -> None:
    entry = {"id": "q7", "question": "where ?", "answers": answers}
    paragraph = {"context": "Ada lives in Oslo.", "qas": [entry]}
    path = write(tmp_path / "a.json", json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    with pytest.raises(DataError, match=rf"question `q7` .* {message}"):
        read_squad(path, get_task("squad_v1"))


@pytest.mark.parametrize(
    ("impossible", "answer", "message"),
    [
        (True, "Oslo", "has `is_impossible` True and 1 answers"),
        (False, None, "has `is_impossible` False and 0 answers"),
        ("false", "Oslo", "has `is_impossible` 'false'; expected true or false"),
        (1, "Oslo", "has `is_impossible` 1; expected true or false"),
    ],
)
def test_an_impossible_question_has_no_answer(
    tmp_path: Path, impossible: object, answer: str | None, message: str
) -> None:
    document = json.loads(squad("Ada lives in Oslo.", q7=answer))
    document["data"][0]["paragraphs"][0]["qas"][0]["is_impossible"] = impossible
    path = write(tmp_path / "a.json", json.dumps(document))
    with pytest.raises(DataError, match=rf"question `q7` .* {message}"):
        read_squad(path, get_task("squad_v2"))


def many(row: str, count: int = 30) -> str:
    return row * count


@pytest.mark.fault(
    "data",
    "one row of many contradicts itself or has no label",
    "left out, and counted",
)
@pytest.mark.parametrize(
    ("read", "text", "kept", "said"),
    [
        (
            lambda path, skipped: read_glue(path, get_task("mnli"), skipped),
            "sentence1\tsentence2\tgold_label\n" + many("a\tb\tneutral\n") + "c\td\t-\n",
            30,
            "1 skipped: label `-`",
        ),
        (
            lambda path, skipped: read_glue(path, get_task("sst2"), skipped),
            "sentence\tlabel\tlabel_text\n" + many("a\t1\tpositive\n") + "b\t1\tnegative\n",
            30,
            "1 skipped: labels that contradict each other",
        ),
        (
            lambda path, skipped: read_squad(path, get_task("squad_v1"), skipped),
            squad("Ada lives in Oslo.", **{f"q{i}": "Oslo" for i in range(31)}).replace(
                "13", "12", 1
            ),
            30,
            "1 skipped: answers that contradict their context",
        ),
        (
            lambda path, skipped: read_ontonotes([path], ("O",), skipped),
            many(gold("*", "*") + "\n") + gold("*") + gold("*"),
            30,
            "1 skipped: word numbers that do not fit their sentence",
        ),
        (
            lambda path, skipped: read_ontonotes([path], ("O",), skipped),
            many(gold("*", "*") + "\n") + gold("*").replace("word0", "\u00a0"),
            30,
            "1 skipped: words without a visible character",
        ),
        (
            read_columns,
            many("Ada B-PER\n\n") + "-DOCSTART- O\nAda B-PER\n\u00a0 O\n",
            30,
            "1 skipped: words without a visible character",
        ),
    ],
)
def test_a_bad_row_among_many_is_left_out_and_counted(
    tmp_path: Path, read: Any, text: str, kept: int, said: str
) -> None:
    skipped = Skipped()
    assert len(read(write(tmp_path / "train.x", text), skipped)) == kept
    assert str(skipped) == said


def test_where_many_rows_are_bad_the_first_is_named(tmp_path: Path) -> None:
    rows = many("a\tb\tneutral\n", 5) + many("a\tb\t-\n", 5)
    path = write(tmp_path / "a.tsv", "sentence1\tsentence2\tgold_label\n" + rows)
    with pytest.raises(DataError, match=r"line 7: label '-'.* \(5 of 10 are like that\)"):
        read_glue(path, get_task("mnli"))


def test_reviews_that_say_otherwise_are_left_out(tmp_path: Path) -> None:
    good = [write(tmp_path / f"pos/{i}_9.txt", "good") for i in range(40)]
    skipped = Skipped()
    odd = [write(tmp_path / "pos/40_2.txt", "bad"), write(tmp_path / "neg/0_1.txt", " \n")]
    assert len(read_reviews([*odd, *good], skipped)) == 40
    assert str(skipped) == "2 skipped: rating of the other class (1), empty file (1)"


@pytest.mark.fault(
    "data",
    "one document of several is empty",
    "the same examples in any order of files",
)
@pytest.mark.parametrize("empty", ["", "\n", "#begin document (a); part 000\n#end document\n"])
def test_an_empty_document_among_others_is_none(tmp_path: Path, empty: str) -> None:
    labels = get_task("conll2012").labels
    first = write(tmp_path / "a.gold_conll", empty)
    other = write(tmp_path / "b.gold_conll", gold("(GPE)"))
    expected = [Tagged(("word0",), ("B-GPE",))]
    assert read_ontonotes([first, other], labels) == expected
    assert read_ontonotes([other, first], labels) == expected
    with pytest.raises(DataError, match="no sentences"):
        read_ontonotes([first, first], labels)


def test_labels_may_be_ids(tmp_path: Path) -> None:
    path = write(tmp_path / "train.tsv", RTE + "0\ta\tb\t1\n")
    assert read_glue(path, get_task("rte")) == [Text("a", "b", 1)]
