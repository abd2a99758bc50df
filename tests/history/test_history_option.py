"""`--energy-history`: one record a session, of failing ones too, by the controller alone."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

_PASSING = """
    from spending import spend

    def test_mine(energy):
        with energy.window("train"):
            spend(120.0)
"""


@pytest.fixture(autouse=True)
def _no_ci_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_SHA", "GITHUB_REF_NAME", "GITHUB_HEAD_REF", "RUNNER_NAME"):
        monkeypatch.delenv(name, raising=False)


def _records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("*.json"))]


def test_a_session_leaves_one_record(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(_PASSING)

    result = pytester.runpytest("--energy-history=past", "--energy-json=run.json")

    result.assert_outcomes(passed=1)
    (path,) = (pytester.path / "past").rglob("*.json")
    (record,) = _records(pytester.path / "past")
    date = record["date"]
    assert path.relative_to(pytester.path / "past").parts[:3] == ("h200", date[:4], date[5:7])
    assert path.stem.startswith(date[:19].replace("-", "").replace(":", ""))
    assert path.stem.endswith(record["session"])
    document = json.loads((pytester.path / "run.json").read_text())
    assert {name: record[name] for name in document} == document
    assert record["history"] == 1
    assert record["host"] == record["runner"]


def test_sessions_pile_up_and_never_overwrite(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(_PASSING)

    for _ in range(3):
        pytester.runpytest("--energy-history=past")

    sessions = {record["session"] for record in _records(pytester.path / "past")}
    assert len(sessions) == 3
    # The nightly workflow takes this folder for a record that could not be added.
    assert not (pytester.path / ".pytest_cache" / "d" / "energy" / "unsent").exists()


def test_a_failing_session_is_kept_too(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(_PASSING + "        assert 0\n")

    result = pytester.runpytest("--energy-history=past")

    result.assert_outcomes(failed=1)
    assert len(_records(pytester.path / "past")[0]["verdicts"]) == 1


def test_the_ini_twin_counts_from_the_root(pytester: pytest.Pytester, spending: Path) -> None:
    ini = pytester.path / "tox.ini"
    ini.write_text(ini.read_text() + "\nenergy_history = past\n")
    test = pytester.mkdir("below") / "test_it.py"
    test.write_text("def test_mine(energy):\n    with energy.window('train'):\n        pass\n")

    pytester.runpytest("below")

    assert len(_records(pytester.path / "past")) == 1


def test_xdist_workers_leave_one_record_together(pytester: pytest.Pytester, spending: Path) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(_PASSING + _PASSING.replace("test_mine", "test_other"))

    result = pytester.runpytest_subprocess("-n2", "--energy-history=past")

    result.assert_outcomes(passed=2)
    (record,) = _records(pytester.path / "past")
    assert len(record["verdicts"]) == 2


def test_nothing_metered_leaves_no_record(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile("def test_plain():\n    pass\n")

    result = pytester.runpytest("--energy-history=past")

    result.assert_outcomes(passed=1)
    assert not (pytester.path / "past").exists()


def test_commit_branch_and_dirt_come_from_git(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(_PASSING)
    _git("init", "-q", "-b", "trunk")
    _git("add", "-A")
    _git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")

    pytester.runpytest("--energy-history=past")
    (pytester.path / "tox.ini").write_text((pytester.path / "tox.ini").read_text() + "\n")
    pytester.runpytest("--energy-history=past")

    clean, dirty = _records(pytester.path / "past")
    assert clean["commit"] == _git("rev-parse", "HEAD").strip()
    assert (clean["branch"], clean["dirty"]) == ("trunk", False)
    assert dirty["dirty"] is True


def test_without_git_the_ci_says(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(_PASSING)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(pytester.path.parent))
    monkeypatch.setenv("GITHUB_SHA", "abc123")
    monkeypatch.setenv("GITHUB_REF_NAME", "main")
    monkeypatch.setenv("RUNNER_NAME", "gpu-7")

    pytester.runpytest("--energy-history=past")

    (record,) = _records(pytester.path / "past")
    assert (record["commit"], record["branch"], record["dirty"]) == ("abc123", "main", None)
    assert record["runner"] == "gpu-7"


@pytest.mark.fault(
    "files",
    "git refuses a checkout of another owner",
    "said, with git's remedy",
)
def test_a_checkout_that_git_refuses_is_told_with_its_remedy(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(_PASSING)
    _git("init", "-q")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GITHUB_SHA", "abc123")

    result = pytester.runpytest("--energy-history=past")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "git refuses to look into `*`: fatal: detected dubious ownership in repository at *"
            "git config --global --add safe.directory *the CI's variables*"
        ]
    )
    (record,) = _records(pytester.path / "past")
    assert (record["commit"], record["dirty"]) == ("abc123", None)


def test_no_repository_is_no_refusal(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(_PASSING)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(pytester.path.parent))

    result = pytester.runpytest("--energy-history=past")

    result.stdout.no_fnmatch_line("*git*")


def test_names_that_are_not_utf_8_end_no_run(pytester: pytest.Pytester, spending: Path) -> None:
    """Git quotes names of files unless it is told not to; those of branches it never does."""
    pytester.makepyfile(_PASSING)
    _git("init", "-q", "-b", "trunk")
    _git("config", "core.quotePath", "false")
    latin = pytester.path / os.fsdecode(b"caf\xe9.txt")
    latin.write_text("one")
    _git("add", "-A")
    _git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    latin.write_text("two")
    head = pytester.path / ".git" / "HEAD"
    head.write_bytes(b"ref: refs/heads/caf\xe9\n")

    result = pytester.runpytest("--energy-history=past")

    result.assert_outcomes(passed=1)
    (record,) = _records(pytester.path / "past")
    assert record["branch"] == "caf\ufffd"
    assert record["dirty"] is True


@pytest.mark.fault(
    "stores and documents",
    "a history becomes unwritable while tests run",
    "the run fails, and says where its record is kept",
)
def test_a_history_that_breaks_meanwhile_fails_the_run_and_loses_nothing(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(_PASSING + "        open('past', 'w').close()\n")

    result = pytester.runpytest("--energy-history=past")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["ERROR: the session was not added to the history: *past*its record is kept in *unsent*"]
    )
    (kept,) = (pytester.path / ".pytest_cache").rglob("unsent/h200/*/*/*.json")
    assert json.loads(kept.read_text())["verdicts"][0]["value"] == pytest.approx(120.0)


def test_an_interrupted_upload_loses_nothing(pytester: pytest.Pytester, spending: Path) -> None:
    pytest.importorskip("fsspec")
    pytester.makepyfile(_PASSING)
    (spending / "sitecustomize.py").write_text(
        "import fsspec\n"
        "from fsspec.implementations.memory import MemoryFileSystem\n"
        "class Slow(MemoryFileSystem):\n"
        "    protocol = 'slow'\n"
        "    def pipe_file(self, *args, **options):\n"
        "        raise KeyboardInterrupt\n"
        "fsspec.register_implementation('slow', Slow)\n"
    )

    pytester.runpytest_subprocess("--energy-history=slow://past")

    (kept,) = (pytester.path / ".pytest_cache").rglob("unsent/h200/*/*/*.json")
    assert json.loads(kept.read_text())["verdicts"][0]["value"] == pytest.approx(120.0)


def test_what_a_rerun_took_back_is_not_kept(pytester: pytest.Pytester, spending: Path) -> None:
    pytest.importorskip("pytest_rerunfailures")
    pytester.makepyfile(
        """
        import pytest
        import spending

        attempts = []

        def test_twice(energy):
            attempts.append(1)
            if len(attempts) == 2:
                pytest.skip("not again")
            with energy.window("w"):
                spending.spend(5.0)
            assert False
        """
    )

    result = pytester.runpytest_subprocess(
        *("-p", "pytest_rerunfailures", "--reruns=1", "--energy-history=past")
    )

    result.assert_outcomes(skipped=1)
    assert not list(pytester.path.rglob("*.json"))
    assert not list(pytester.path.rglob("unsent"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense://x", "*`--energy-history`: `nonsense://x` cannot be opened: Protocol*"),
        ("tox.ini", "*`--energy-history=*tox.ini` is a file; give a folder or a URL*"),
    ],
)
def test_a_destination_that_cannot_be_is_found_before_anything_is_metered(
    pytester: pytest.Pytester, spending: Path, url: str, message: str
) -> None:
    pytest.importorskip("fsspec")
    pytester.makepyfile(_PASSING)

    result = pytester.runpytest(f"--energy-history={url}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(_PASSING)
    # A package that cannot be imported stands for one that is not there.
    (spending / "fsspec.py").write_text("raise ModuleNotFoundError('fsspec')\n")

    result = pytester.runpytest_subprocess("--energy-history=s3://bucket/past")
    local = pytester.runpytest_subprocess("--energy-history=past")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*needs fsspec*`pip install fsspec s3fs`*"])
    local.assert_outcomes(passed=1)
    assert len(_records(pytester.path / "past")) == 1


def test_any_fsspec_url_takes_records(pytester: pytest.Pytester, spending: Path) -> None:
    pytest.importorskip("fsspec")
    pytester.makepyfile(_PASSING)
    (spending / "sitecustomize.py").write_text(
        "import fsspec\n"
        "from fsspec.implementations.local import LocalFileSystem\n"
        "class Other(LocalFileSystem):\n"
        "    protocol = 'other'\n"
        "    @classmethod\n"
        "    def _strip_protocol(cls, path):\n"
        "        return super()._strip_protocol(path.removeprefix('other://'))\n"
        "fsspec.register_implementation('other', Other)\n"
    )

    url = f"other://{pytester.path}/past"
    result = pytester.runpytest_subprocess(f"--energy-history={url}")

    result.assert_outcomes(passed=1)
    assert len(_records(pytester.path / "past")) == 1


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
    return done.stdout
