"""The page of evidence is what its command prints, and says nothing that its pages do not say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from evidence import PLACES, ROOT, Promise, Shown, page, promises

PAGES = (
    *("README.md", "how-it-measures.md", "how-the-gate-decides.md", "comparing.md", "drift.md"),
    *("bisect.md", "claims.md", "accept.md", "qualify.md", "reliability.md"),
)
"""Pages that promise something."""

GATE = "how-the-gate-decides.md"
SHOWN = Shown("simulation", "python perf/comparability.py", ("comparable | unchanged fails",), GATE)
PROMISE = Promise(GATE, "`tolerance` (2 %) is allowed", (SHOWN,))


def test_the_page_is_what_the_command_prints() -> None:
    written = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")

    assert written == page(), "run `make docs`"


def test_every_page_that_promises_is_there_and_every_place_is_counted() -> None:
    assert {each.page for each in promises()} == set(PAGES)
    rows = re.findall(r"^\| ([^|]+) \| [^|]*\| \d+ \|$", page(), re.MULTILINE)
    assert rows == [*PLACES, "all"]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_that_a_page_has_figures_of_is_there(name: str) -> None:
    folder = ROOT if name == "README.md" else ROOT / "docs"
    named = set(re.findall(r"perf/\w+\.py", (folder / name).read_text(encoding="utf-8")))
    shown = " ".join(each.command for promise in promises() for each in promise.shown)

    assert [script for script in sorted(named) if script not in shown] == []


def test_a_figure_is_that_of_its_page() -> None:
    assert "| comparable: unchanged fails 0.00 % |" in page([PROMISE])
    cell = replace(SHOWN, figures=("1 % & new ones before a failure | pairs, unchanged / +5 %",))
    piece = replace(SHOWN, figures=("With windows of 1 %",), page="comparing.md")
    assert "| With windows of 1 % |" in page([replace(PROMISE, shown=(piece,))])
    with pytest.raises(ValueError, match="is in 0 rows of tables"):
        page([replace(PROMISE, shown=(cell,))])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (replace(PROMISE, says="`tolerance` (3 %) is allowed"), "does not say: `tolerance` "),
        *(
            (replace(PROMISE, shown=(replace(SHOWN, **other),)), said)
            for other, said in (
                ({"figures": ("unchanged code never fails",)}, "does not say: unchanged code"),
                ({"figures": ("comparable | fails by far",)}, "is in 0 rows"),
                ({"figures": ("comparable | passed",)}, "is in 0 rows"),  # there are two of it
                ({"figures": ()}, "has no figure"),
                ({"note": "99 % of all"}, "figures come from a page"),
                ({"command": "python perf/gone.py"}, "names `perf/gone.py`, which is not there"),
                ({"command": "pytest tests/conftest.py::test_gone"}, "has no `test_gone`"),
            )
        ),
    ],
    ids=range(8),
)
def test_what_is_not_so_any_more_is_refused(changed: Promise, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        page([changed])


def test_a_place_or_a_name_that_is_not_known_is_refused(tmp_path: Path) -> None:
    for row in ('where = "somewhere"', 'where = "not yet", figure = "1 %"'):
        table = tmp_path / "promises.toml"
        table.write_text(f'[["README.md"]]\nsays = "x"\nshown = [{{ {row} }}]\n')
        with pytest.raises(ValueError, match="`where` is one of real GPU"):
            promises(table)
