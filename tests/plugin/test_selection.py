"""What is stored for a hardware and was not measured: when it is looked for, and what is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FILE = "schema = 1\n[hardware]\nkey = 'h200'\nmatch = ['NVIDIA H200*']\ntokens_per_window = 1000\n"

ENTRY = """
[joules_per_token.'{id}']
workload = '{digest}'
sessions = [
{{ date = 2026-11-20T10:00:00Z, windows = 10, tokens = 1000, mean = 0.005, cv = 0.003 }},
]
"""

STORED = "stored and not measured: `a/gone`"


@pytest.fixture
def project(pytester: pytest.Pytester, spending: Path) -> pytest.Pytester:
    """A suite of one gate, where two figures are stored."""
    folder = pytester.mkdir("baselines")
    entries = [("a/here", "0badcafe"), ("a/gone", "00000001")]
    text = "".join(ENTRY.format(id=name, digest=digest) for name, digest in entries)
    (folder / "h200.toml").write_text(FILE + text)
    gate = "def test_gate(energy_gate): energy_gate.joules_per_token(Run('a/here'))\n"
    tests = pytester.mkdir("tests")
    (tests / "test_here.py").write_text(
        f"from gated import Run\n{gate}def test_plain(): pass\ndef test_more(energy_gate): pass\n"
    )
    return pytester


def _not_measured(project: pytest.Pytester) -> list[str]:
    document = json.loads((project.path / "run.json").read_text())
    return [row["id"] for row in document["not_measured"]]


@pytest.mark.fault(
    "stores and documents",
    "a test is deleted whose baseline stays stored",
    "every report of the whole suite lists what is stored and not measured",
)
def test_every_report_of_the_whole_suite_lists_it(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "summary.md"))

    result = project.runpytest(
        "--energy-json=run.json", "--energy-markdown=run.md", "--energy-html=run.html"
    )

    assert result.ret == 0
    result.stdout.fnmatch_lines([f"*{STORED}*"])
    document = json.loads((project.path / "run.json").read_text())
    assert document["not_measured"] == [
        {"metric": "joules_per_token", "id": "a/gone", "renamed": None}
    ]
    for name in ("run.md", "summary.md", "run.html"):
        text = (project.path / name).read_text()
        assert "stored and not measured: <code>a/gone</code>" in text, name


@pytest.mark.parametrize(
    ("arguments", "whole"),
    [
        ((), True),
        (("tests",), True),
        (("-k", "gate or more"), True),  # what is left out has no gate
        (("-k", "gate"), False),
        (("--deselect", "tests/test_here.py::test_more"), False),
        (("tests/test_here.py",), False),
        (("tests/test_here.py::test_gate",), False),
        (("--maxfail=1", "-x"), True),
    ],
)
def test_a_part_of_the_suite_lists_nothing_and_fails_nothing(
    project: pytest.Pytester, arguments: tuple[str, ...], whole: bool
) -> None:
    result = project.runpytest("--energy-require-all", "--energy-json=run.json", *arguments)

    assert _not_measured(project) == (["a/gone"] if whole else [])
    assert ("only a part of the suite ran" in result.stdout.str()) != whole
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if whole else pytest.ExitCode.OK)


def test_folders_are_held_against_testpaths(project: pytest.Pytester) -> None:
    with (project.path / "tox.ini").open("a") as file:
        file.write("\ntestpaths = tests more\n")
    (project.mkdir("more") / "test_more.py").write_text("def test_other(): pass\n")

    found = []
    for arguments in ((), ("tests",), ("more", "tests"), (".",)):
        project.runpytest("--energy-json=run.json", *arguments)
        found.append(_not_measured(project))

    assert found == [["a/gone"], [], ["a/gone"], ["a/gone"]]


def test_a_run_that_stops_early_lists_nothing(project: pytest.Pytester) -> None:
    (project.path / "tests" / "test_first.py").write_text("def test_fails(): assert 0\n")
    stopped = project.runpytest("-x", "--energy-hw=h200", "--energy-json=run.json")
    listed = _not_measured(project)
    (project.path / "tests" / "test_first.py").write_text("import nothing\n")
    project.runpytest("--continue-on-collection-errors", "--energy-json=run.json")

    assert stopped.ret == pytest.ExitCode.TESTS_FAILED
    assert listed == _not_measured(project) == []


def test_a_skipped_gate_fails_where_all_is_required(project: pytest.Pytester) -> None:
    (project.path / "tests" / "test_here.py").write_text(
        "import pytest\npytest.skip('no torch', allow_module_level=True)\n"
    )
    nothing = project.runpytest("--energy-require-all")
    (project.path / "tests" / "test_plain.py").write_text("def test_plain(): pass\n")
    result = project.runpytest("--energy-require-all", "--energy-json=run.json")

    assert nothing.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert _not_measured(project) == ["a/here", "a/gone"]
    result.stdout.fnmatch_lines(
        ["not all was measured*`--energy-require-all`: `a/here`, `a/gone`*"]
    )


@pytest.mark.parametrize(
    ("name", "digest"), [("zzz", "00000001"), ("a/gone-2", "12345678"), ("zzz", "12345678")]
)
def test_a_renamed_figure_stands_beside_its_old_name(
    project: pytest.Pytester, name: str, digest: str
) -> None:
    with (project.path / "tests" / "test_here.py").open("a") as file:
        file.write(
            "def test_new(energy_gate):\n"
            f"    energy_gate.joules_per_token(Run('{name}', digest='{digest}'))\n"
        )

    result = project.runpytest("--energy-json=run.json")

    result.stdout.fnmatch_lines(
        [f"*`a/gone` is stored and not measured; `{name}` is measured and not stored: renamed?"]
    )


def test_under_xdist_the_controller_looks(project: pytest.Pytester) -> None:
    whole = project.runpytest_subprocess("-n", "2", "--energy-json=run.json")
    listed = _not_measured(project)
    project.runpytest_subprocess("-n", "2", "-k", "gate", "--energy-json=run.json")

    assert whole.ret == 0
    assert (listed, _not_measured(project)) == (["a/gone"], [])
