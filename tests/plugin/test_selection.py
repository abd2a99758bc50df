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
        {"metric": "joules_per_token", "id": "a/gone", "renamed": None, "fails": False}
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


def test_a_figure_judged_by_real_tokens_is_measured(project: pytest.Pytester) -> None:
    file = project.path / "baselines" / "h200.toml"
    row = "mean = 0.005, cv = 0.003, padding_overhead = 1.5 }"
    text = FILE + ENTRY.format(id="a/here", digest="0badcafe")
    file.write_text(text.replace("mean = 0.005, cv = 0.003 }", row))

    project.runpytest("--energy-json=run.json")

    document = json.loads((project.path / "run.json").read_text())
    assert [row["metric"] for row in document["verdicts"]] == ["joules_per_real_token"]
    assert document["not_measured"] == []


@pytest.fixture
def required(project: pytest.Pytester) -> pytest.Pytester:
    """The same suite beside a folder without gates; the ini file wants all measured."""
    with (project.path / "tox.ini").open("a") as file:
        file.write("\nenergy_require_all = true\n")
    (project.mkdir("unit") / "test_unit.py").write_text("def test_unit(): pass\n")
    return project


def test_a_folder_without_gates_is_a_part_and_opens_no_meter(required: pytest.Pytester) -> None:
    (required.path / "site" / "spending.py").write_text("raise RuntimeError('opened')\n")

    result = required.runpytest("unit")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["`--energy-require-all` was not looked at*"])


@pytest.mark.parametrize("testpaths", ["", "tests unit"])
def test_the_folder_one_is_in_is_a_part(
    required: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, testpaths: str
) -> None:
    with (required.path / "tox.ini").open("a") as file:
        file.write(f"testpaths = {testpaths}\n")
    monkeypatch.chdir(required.path / "tests")

    result = required.runpytest()

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*`--energy-require-all` was not looked at*"])


def test_under_xdist_a_named_folder_is_whole_if_it_holds_a_gate(required: pytest.Pytester) -> None:
    (required.path / "unit" / "test_unit.py").write_text("def test_unit(energy): pass\n")

    part = required.runpytest_subprocess("-n1", "unit")
    whole = required.runpytest_subprocess("-n1", "tests")

    assert (part.ret, whole.ret) == (0, pytest.ExitCode.TESTS_FAILED)


@pytest.mark.parametrize("how", ["a filter", "PYTEST_ADDOPTS"])
def test_what_is_left_out_without_a_word_makes_a_part(
    required: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "a filter":
        required.makeconftest(
            "def pytest_collection_modifyitems(items):\n"
            "    items[:] = [item for item in items if item.name != 'test_more']\n"
        )
    else:
        monkeypatch.setenv("PYTEST_ADDOPTS", "--ignore=tests/test_other.py", prepend=" ")
        (required.path / "tests" / "test_other.py").write_text("def test_b(energy_gate): pass\n")

    result = required.runpytest()

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*`--energy-require-all` was not looked at*"])


def test_what_the_ini_file_ignores_is_no_part_of_the_suite(required: pytest.Pytester) -> None:
    with (required.path / "tox.ini").open("a") as file:
        file.write("addopts = --ignore=unit\n")

    assert required.runpytest().ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(("where", "code"), [("energy_hw = h200", 0), ("--energy-hw=h200", 1)])
def test_only_the_command_line_wants_something_metered(
    project: pytest.Pytester, where: str, code: int
) -> None:
    (project.path / "tests" / "test_here.py").write_text(
        "import pytest\n@pytest.mark.skip\ndef test_a(energy): pass\ndef test_b(): pass\n"
    )
    if not where.startswith("--"):
        with (project.path / "tox.ini").open("a") as file:
            file.write(f"\n{where}\n")

    assert project.runpytest(*[where] * code).ret == code


@pytest.mark.parametrize("before", [True, False])
def test_an_update_that_skips_its_gates_says_so(project: pytest.Pytester, before: bool) -> None:
    check = "energy_gate.joules_per_token(Run('a/new'))"
    lines = ["pytest.skip('no data')", check] if before else [check, "pytest.skip('no data')"]
    (project.path / "tests" / "test_here.py").write_text(
        "import pytest\nfrom gated import Run\n"
        f"def test_a(energy_gate):\n    {lines[0]}\n    {lines[1]}\n"
    )

    result = project.runpytest("--energy-update=new")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["nothing was recorded*no test that passed has checked a figure*"])
    assert "a/new" not in (project.path / "baselines" / "h200.toml").read_text()
