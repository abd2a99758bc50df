"""What the short answers and the page of CI on a CPU say to type, on a meter that costs no time."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from ab_support import TEST, Repository, ledger_repository
from doc_pages import ROOT, blocks
from pytest_energy.baselines.reading import read
from pytest_energy.cli import main
from pytest_energy.metering.hardware import CPU_BUDGET, GPU_BUDGET
from pytest_energy.plugin.options import OPTIONS

HOW_TO = ROOT / "docs" / "how-to.md"
CI = ROOT / "docs" / "ci-on-a-cpu.md"
PLAIN = "def test_plain():\n    pass\n"


@pytest.fixture
def project(tmp_path: Path) -> Repository:
    """A project with a gate in benchmarks/, another test in tests/, and levels of its own."""
    repository = ledger_repository(tmp_path)
    _write(repository, "benchmarks/test_gate.py", TEST)
    _write(repository, "tests/test_plain.py", PLAIN)
    (repository.path / "test_mine.py").unlink()
    repository.commit("A gate")
    return repository


def test_short_answers(project: Repository) -> None:
    typed = [command for block in blocks(HOW_TO) for command in block.commands]
    passed = {
        "pytest --energy-compare=main": "2 passed",
        "pytest                ": "1 passed",
        "pytest benchmarks/": "1 passed",
        "pytest . --ignore=benchmarks": "1 passed",
    }
    _ini(project, "pythonpath = .\n")
    others = {"export OMP_NUM_THREADS=1", "pytest-energy baselines --forget"}

    for command in typed:
        if command in others:
            continue
        (outcome,) = {said for begin, said in passed.items() if command.startswith(begin)}
        if "benchmarks" in command or command.startswith("pytest     "):
            _ini(project, "pythonpath = .\ntestpaths = tests\n")
        done = project.pytest(*_arguments(command))
        assert (done.returncode, outcome in done.stdout) == (0, True), done.stdout + done.stderr

    assert others <= set(typed)


def test_a_local_baseline_is_forgotten(
    project: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ini(project, "pythonpath = .\n")
    first, second = project.pytest(), project.pytest()
    monkeypatch.chdir(project.path)
    assert main(["baselines", "--forget"]) == 0
    third = project.pytest()

    recorded = [" recorded" in done.stdout for done in (first, second, third)]
    assert recorded == [True, False, True]


def test_files_of_short_answers(tmp_path: Path, pytester: pytest.Pytester) -> None:
    files = [block for block in blocks(HOW_TO) if block.title]
    for block in files:
        path = tmp_path / Path(block.title).name
        path.write_text(block.text)
        if path.suffix == ".toml":
            assert read(path).tokens_per_window == 250_000
        else:
            pytester.makeini(block.text)
            pytester.makepyfile(PLAIN)
            assert pytester.runpytest("--strict-config").ret == 0

    assert [block.title for block in files] == ["pytest.ini", "baselines/h200.toml", "pytest.ini"]


def test_the_default_budget_of_a_window_is_told_as_it_is() -> None:
    page = HOW_TO.read_text(encoding="utf-8")
    (option,) = [option for option in OPTIONS if option.name == "tokens"]
    gpu, cpu = GPU_BUDGET, CPU_BUDGET

    assert f"| GPU | {gpu.tokens:,} tokens |" in page
    assert (
        f"| CPU | {cpu.tokens} tokens, in batches of at most {cpu.max_tokens_per_batch} |" in page
    )
    assert option.help.endswith(f"(default: {gpu.tokens:,} on a GPU, {cpu.tokens} on a CPU)")


def test_ci_on_a_cpu(project: Repository) -> None:
    (levels,) = [block for block in blocks(CI) if block.title == "pytest.ini"]
    _ini(project, "pythonpath = .\n" + levels.text.removeprefix("[pytest]\n"))
    project.commit("Levels")
    project.git("checkout", "--quiet", "-b", "change")
    project.variables["CI"] = "true"
    (workflow,) = [block for block in blocks(CI) if block.language == "yaml"]
    (gate,) = [line for line in workflow.text.splitlines() if "bin/pytest " in line]

    green = project.pytest(*_arguments(gate.partition("bin/")[2]))
    project.change("project", "JOULES = 0.005", "JOULES = 0.0065")
    red = [project.pytest(*_arguments(command)) for command in _typed(CI)]

    assert (green.returncode, " within" in green.stdout) == (0, True), green.stdout
    assert (project.path / "energy" / "report.html").is_file()
    for done in red:
        assert (done.returncode, " regression" in done.stdout) == (1, True), done.stdout


def test_a_base_without_the_test_is_missing(project: Repository) -> None:
    _ini(project, "pythonpath = .\n")
    project.commit("Levels")
    _write(
        project,
        "benchmarks/test_more.py",
        TEST.replace("Run(energy.meter)", "Run(energy.meter, 'b')"),
    )

    done = project.pytest("benchmarks/test_more.py", "--energy-compare=HEAD", "--energy-strict")

    assert (done.returncode, " missing" in done.stdout) == (1, True), done.stdout


def _typed(page: Path) -> list[str]:
    return [command for block in blocks(page) for command in block.commands]


def _arguments(command: str) -> list[str]:
    program, *arguments = shlex.split(command, comments=True)
    assert program == "pytest"
    return arguments


def _ini(project: Repository, more: str) -> None:
    own = "energy_meter = ledger\nenergy_idle_seconds = 0\n"
    (project.path / "pytest.ini").write_text(f"[pytest]\n{own}{more}")


def _write(project: Repository, name: str, text: str) -> None:
    path = project.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
