"""How commands end: unexpected errors, bad files, the version, and what their help says."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from planted import days, records
from pytest_energy.cli import COMMANDS, SUBCOMMANDS, main
from pytest_energy.history.store import LocalStore


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history of 25 sessions, below the current folder."""
    monkeypatch.chdir(tmp_path)
    store = LocalStore(tmp_path / "past")
    for record in records(days(25)):
        store.create(record.name, record.text.encode())
    return tmp_path / "past"


def _run(
    *arguments: str, path: str = "", stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{os.environ.get('PYTHONPATH')}"}
    return subprocess.run(
        [sys.executable, "-m", "pytest_energy", *arguments],
        env=variables,
        text=True,
        check=False,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


@pytest.mark.attack(
    "commands",
    "something makes a command crash",
    "exit code 3, which is no verdict's",
)
def test_an_unexpected_error_has_an_exit_code_of_its_own(past: Path, tmp_path: Path) -> None:
    """1 would mean drift: here a library that reading needs is broken."""
    (past / "x.parquet").write_bytes(b"PAR1")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pyarrow.py").write_text("raise RuntimeError('broken build')\n")

    done = _run("drift", "past", path=str(tmp_path / "lib"))

    assert done.returncode == 3
    first, *trace = done.stderr.splitlines()
    assert first.startswith("pytest-energy: unexpected error (RuntimeError), so there is no result")
    assert "please report it with the lines below at https://" in first
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == "RuntimeError: broken build"
    assert done.stdout == ""


def test_a_reader_that_has_read_enough_is_no_error(past: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    done = _run("history", "past", stdout=writing)
    os.close(writing)

    assert done.returncode == 141
    assert "Traceback" not in done.stderr


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pytest-energy {version('pytest-energy')}\n"


_CALLS = [[name] for name in COMMANDS] + [
    [name, what] for name, whats in SUBCOMMANDS.items() for what in whats
]


@pytest.mark.parametrize("call", _CALLS, ids=" ".join)
def test_help_has_a_sentence_and_an_example(
    call: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*call, "--help"])

    usage, sentence, *rest = capsys.readouterr().out.split("\n\n")
    assert usage.startswith("usage: ")
    assert sentence.partition(".")[0][0].isupper()
    assert rest[-1].startswith("example")
    assert f"  pytest-energy {' '.join(call)}" in rest[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["history", "past"],
        ["history", "list", "past"],
        ["history", "--history", "past"],
        ["history", "--last", "30", "past"],
    ],
)
def test_a_history_is_named_the_same_way_everywhere(
    past: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith("25 sessions with figures in past\n")
    assert main(["drift", "past"]) == main(["drift", "--history", "past"]) == 0


def _folder(path: Path) -> None:
    path.mkdir()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _latin(path: Path) -> None:
    path.write_bytes(b'"caf\xe9"')


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.fault(
    "stores and documents",
    "a command is given a folder, an empty file, a pipe, bytes that are no text, or an "
    "endless device",
    "exit code 4, one sentence",
)
@pytest.mark.parametrize("make", [_folder, _empty, _pipe, _latin, _endless])
@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "x"],
        ["export", "x", "--format=bencher"],
        ["baselines", "--check", "b/h200.toml"],
        ["baselines", "--prune", "b/h200.toml"],
        ["drift", "past", "--baselines=b"],
        ["estimate", "sst2", "--hw=h200", "--baselines=b"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_file_of_another_kind_ends_in_one_sentence(
    past: Path, make: object, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("b").mkdir()
    assert callable(make)
    make(Path("x"))
    make(Path("b/h200.toml"))

    if make is _folder and arguments[:2] == ["baselines", "--prune"]:
        pytest.skip("a folder is one of baseline files there")
    code = main(arguments)

    said = capsys.readouterr().err
    assert code == 4
    assert said.startswith("pytest-energy: `")
    assert said.count("\n") == 1
