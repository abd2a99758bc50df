"""The page of faults and attacks says what the marks of the tests say, and lacks no kind."""

from __future__ import annotations

import pytest

from reliability import KINDS, ROOT, page, rows, rows_of

FEWEST_FAULTS = 60

ATTACKS = [
    ("locks", "puts a link, a pipe or a folder where a lock's file will be"),
    ("locks", "has a private folder taken for the one of locks"),
    ("ranks", "connects to the machine's address"),
    ("locks", "removes a lock's file"),
    ("locks", "writes what is no text into a command line"),
    ("secrets", "reads what is printed or stored for a password"),
    ("commands", "keeps a record that no run writes"),
    ("stores", "sends a Parquet file with missing columns"),
    ("stores", "puts a pipe, an endless device or a sparse file into a history"),
    ("plugs and pipes", "answers a byte at a time"),
    ("text", "gives names with line breaks"),
    ("commands", "names a device as the place of a report"),
    ("plugs and pipes", "sends requests on to another host"),
    ("commands", "changes a document at random"),
    ("plugs and pipes", "writes into a side's channel without an end"),
    ("commands", "gives a commit that git would read as an option"),
    ("ends", "kills a run"),
]
"""What every kind of attack is called in the text of at least one row."""


def test_the_page_is_what_the_marks_say() -> None:
    written = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")

    assert written == page(), "run `make docs`"


def test_there_are_faults_of_every_kind_and_many_of_them() -> None:
    faults = [row for row in rows() if row.mark == "fault"]

    assert {row.kind for row in faults} == set(KINDS["fault"])
    assert len(faults) >= FEWEST_FAULTS


@pytest.mark.parametrize(("kind", "words"), ATTACKS, ids=[words for _, words in ATTACKS])
def test_every_kind_of_attack_is_tried(kind: str, words: str) -> None:
    tried = [row.tried for row in rows() if (row.mark, row.kind) == ("attack", kind)]

    assert [text for text in tried if words in text], tried


def test_no_row_is_there_twice() -> None:
    found = [(row.mark, row.kind, row.tried) for row in rows()]

    assert [each for each in found if found.count(each) > 1] == []


def test_marks_are_found_above_tests_and_among_their_cases() -> None:
    text = """
CASES = [pytest.param(1, marks=pytest.mark.fault("NVML", "in a list", "seen"))]

@pytest.mark.attack("ends", "stands " "above", "seen")
@pytest.mark.parametrize("one", CASES)
@pytest.mark.parametrize("two", [pytest.param(2, marks=pytest.mark.fault("RAPL", "here", "seen"))])
def test_it(one, two): ...

@pytest.mark.fault("NVML", "above no test", "unseen")
def helper(): ...
"""
    assert [(row.mark, row.tried, row.test) for row in rows_of(text, "x.py")] == [
        ("attack", "stands above", "test_it"),
        ("fault", "in a list", "test_it"),
        ("fault", "here", "test_it"),
    ]


@pytest.mark.parametrize("given", ['"nothing", "a", "b"', '"NVML", "a"', '"NVML", "a", name'])
def test_a_mark_that_is_not_as_it_has_to_be_is_named(given: str) -> None:
    with pytest.raises(ValueError, match=r"`x\.py`, `test_it`: `fault` takes its kind and two"):
        list(rows_of(f"@pytest.mark.fault({given})\ndef test_it(): ...", "x.py"))
