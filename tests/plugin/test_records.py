"""Records that a run leaves behind: figures as they come, and what an early end leaves out."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from pytest_energy.results.json_codec import read_document

WINDOWS = """
    import os
    import signal
    import pytest
    import spending

    def metered(energy, name):
        with energy.window(name):
            spending.spend(5.0)

    def test_first(energy):
        metered(energy, "one")

    def test_second(energy):
        metered(energy, "two")
        {ends}

    def test_third(energy):
        metered(energy, "three")

    @pytest.mark.energy(max_joules=8)
    def test_fourth():
        spending.spend(5.0)
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
EARLY = {
    "ctrl-c": ("raise KeyboardInterrupt", (), "Ctrl-C"),
    "exit": ("pytest.exit('enough')", (), "`pytest.exit`: enough"),
    "first-failure": ("assert False", ("-x",), "stopping after 1 failures"),
    "hook": ("open('broken', 'w').close()", (), "internal error: RuntimeError: broken hook"),
}


def _project(pytester: pytest.Pytester, ends: str) -> None:
    pytester.makepyfile(WINDOWS.replace("{ends}", ends))
    pytester.makeconftest(
        """
        import os

        def pytest_runtest_logfinish(nodeid):
            if os.path.exists("broken"):
                raise RuntimeError("broken hook")
        """
    )


def _document(pytester: pytest.Pytester) -> Any:
    return json.loads((pytester.path / "run.json").read_text())


def _names(document: Any) -> list[str]:
    return [verdict["id"].rpartition("/")[2] for verdict in document["verdicts"]]


def _tests(document: Any) -> list[str]:
    return [test.rpartition("::")[2] for test in document["run"]["unfinished"]]


@pytest.mark.fault(
    "processes and signals",
    "a run is killed",
    "its finished figures are in its JSON, marked as not complete",
)
@pytest.mark.parametrize("how", [KILLED, "os._exit(1)"], ids=["killed", "exited"])
def test_a_killed_run_keeps_its_finished_figures(
    pytester: pytest.Pytester, spending: Path, how: str
) -> None:
    _project(pytester, how)

    result = pytester.runpytest_subprocess("--energy-json=run.json", "--energy-history=past")

    assert result.ret in (1, -signal.SIGKILL)
    document = _document(pytester)
    assert _names(document) == ["one", "two"]
    run = document["run"]
    assert (run["complete"], run["interrupted"]) == (
        False,
        "it had not ended when this was written",
    )
    assert _tests(document) == ["test_second", "test_third", "test_fourth"]
    assert run["joules"] == 5.0
    # Nothing enters a history before its end; what would have is kept.
    assert not (pytester.path / "past").exists()
    (kept,) = (pytester.path / ".pytest_cache" / "d" / "energy" / "unsent").rglob("*.json")
    assert _names(json.loads(kept.read_text())) == ["one", "two"]


@pytest.mark.fault(
    "processes and signals",
    "Ctrl-C in the middle of a claim",
    "what it has noted is kept, and nothing is asserted of it",
)
def test_an_interrupt_keeps_what_a_claim_has_noted(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        def test_whole(energy_claim):
            energy_claim.figure("r_squared", 0.9)

        def test_broken_off(energy_claim):
            energy_claim.figure("kept", 0.5, at_least=0.8, exact=True)
            energy_claim.table("epochs", ("epoch", "J"), (1, 5.0))
            raise KeyboardInterrupt
        """
    )

    result = pytester.runpytest_subprocess("--energy-json=run.json")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    whole, broken_off = _document(pytester)["claims"]
    assert [figure["name"] for figure in whole["figures"]] == ["r_squared"]
    (figure,) = broken_off["figures"]
    assert (figure["value"], figure["doubt"]) == (0.5, "the test was interrupted")
    assert broken_off["tables"][0]["rows"] == [[1, 5.0]]


@pytest.mark.attack(
    "ends",
    "something kills a run before its record was added to a history",
    "each later run says where the record lies, until somebody takes it away",
)
@pytest.mark.parametrize("history", [(), ("--energy-history=past",)])
def test_what_a_killed_run_kept_is_said_by_the_next(
    pytester: pytest.Pytester, spending: Path, history: tuple[str, ...]
) -> None:
    _project(pytester, KILLED)
    pytester.runpytest_subprocess("--energy-history=past")

    later = pytester.runpytest_subprocess("-k", "first", *history)
    (kept,) = (pytester.path / ".pytest_cache" / "d" / "energy" / "unsent").rglob("*.json")
    kept.unlink()
    last = pytester.runpytest_subprocess("-k", "first", *history)

    assert later.ret == last.ret == 0
    later.stdout.fnmatch_lines([f"*unsent` holds `h200/20*{kept.name}`, of runs that were killed*"])
    last.stdout.no_fnmatch_line("*unsent*")


@pytest.mark.fault(
    "neighbours",
    "pytest-timeout ends the process",
    "its finished figures are kept",
)
def test_a_test_that_takes_too_long_loses_no_figure(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytest.importorskip("pytest_timeout")
    _project(pytester, "import time; time.sleep(60)")

    pytester.runpytest_subprocess(
        "--timeout=1", "--timeout-method=thread", "--energy-json=run.json", "-p", "timeout"
    )

    assert _names(_document(pytester)) == ["one", "two"]


def test_a_killed_controller_keeps_what_its_workers_have_sent(
    pytester: pytest.Pytester, spending: Path
) -> None:
    _project(pytester, "pass")
    pytester.makeconftest(
        """
        import os, signal

        def pytest_runtest_logreport(report):
            last = report.when == "teardown" and "test_third" in report.nodeid
            if last and hasattr(report, "node"):
                os.kill(os.getpid(), signal.SIGKILL)
        """
    )

    pytester.runpytest_subprocess("-n", "1", "--energy-json=run.json")

    document = _document(pytester)
    assert _names(document)[:2] == ["one", "two"]
    assert document["run"]["complete"] is False
    assert document["hardware"]["key"] == "h200"


@pytest.mark.fault(
    "processes and signals",
    "a worker of pytest-xdist is killed",
    "its finished figures are kept",
)
def test_a_worker_that_is_killed_keeps_its_finished_figures(
    pytester: pytest.Pytester, spending: Path
) -> None:
    _project(pytester, KILLED)

    pytester.runpytest_subprocess(
        "-n", "1", "--max-worker-restart=0", "--energy-json=run.json", "--energy-markdown=run.md"
    )

    document = _document(pytester)
    assert _names(document) == ["one"]
    assert _tests(document)[-2:] == ["test_third", "test_fourth"]
    assert document["run"]["interrupted"]


@pytest.mark.fault(
    "processes and signals",
    "Ctrl-C, `pytest.exit`, a first failure, a hook that raises",
    "every report says so, and which tests are missing",
)
@pytest.mark.parametrize(("ends", "arguments", "why"), EARLY.values(), ids=EARLY.keys())
def test_a_run_that_ends_early_says_so_and_what_is_missing(
    pytester: pytest.Pytester,
    spending: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: str,
    arguments: tuple[str, ...],
    why: str,
) -> None:
    for name in ("jinja2", "plotly"):
        pytest.importorskip(name)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    _project(pytester, ends)

    result = pytester.runpytest_subprocess(
        *("--energy-json=run.json", "--energy-markdown=run.md", "--energy-html=run.html"),
        "--energy-history=past",
        *arguments,
    )

    document = _document(pytester)
    assert document["run"]["complete"] is False
    assert why in document["run"]["interrupted"]
    left = _tests(document)
    assert left[-2:] == ["test_third", "test_fourth"]
    assert _names(document) == ["one", "two"]
    for name in ("run.md", "run.html", "summary.md"):
        text = (pytester.path / name).read_text()
        assert "interrupted" in text
        assert "has not come to its end" in text
    if result.ret != pytest.ExitCode.INTERNAL_ERROR:  # of which pytest shows the traceback alone
        result.stdout.fnmatch_lines(["warning: this run has not come to its end: *test_fourth*"])
    # Its figures are whole, and a regression that ends a run must not be lost to its history.
    (record,) = (pytester.path / "past").rglob("*.json")
    assert json.loads(record.read_text())["run"]["interrupted"]
    assert not list((pytester.path / ".pytest_cache" / "d" / "energy").rglob("*.json"))


def test_a_run_that_stops_at_its_last_test_is_complete(
    pytester: pytest.Pytester, spending: Path
) -> None:
    _project(pytester, "pass")

    pytester.runpytest_subprocess("--energy-json=run.json", "--maxfail=1")
    whole = _document(pytester)["run"]

    assert (whole["complete"], whole["interrupted"], whole["unfinished"]) == (True, None, [])


def test_an_earlier_document_is_not_taken_for_this_run(
    pytester: pytest.Pytester, spending: Path
) -> None:
    (pytester.path / "run.json").write_text("of yesterday")
    pytester.makepyfile("import os\ndef test_kills(): os._exit(1)\ndef test_after(energy): pass\n")

    pytester.runpytest_subprocess("--energy-json=run.json")

    assert _document(pytester)["run"]["complete"] is False


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_an_earlier_document_is_replaced_before_any_test_runs(
    pytester: pytest.Pytester, spending: Path, workers: tuple[str, ...]
) -> None:
    (pytester.path / "run.json").write_text("of yesterday")
    pytester.makepyfile(
        """
        import os, signal

        def test_kills(energy, request):
            controller = hasattr(request.config, "workerinput")
            os.kill(os.getppid() if controller else os.getpid(), signal.SIGKILL)
            if controller:
                os._exit(1)
        """
    )

    pytester.runpytest_subprocess("--energy-json=run.json", *workers)

    document = _document(pytester)
    assert document["verdicts"] == []
    assert document["run"]["interrupted"] == "it had not ended when this was written"


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_run_that_meters_nothing_has_a_document_without_figures(
    pytester: pytest.Pytester, spending: Path, workers: tuple[str, ...]
) -> None:
    (pytester.path / "run.json").write_text("of yesterday")
    pytester.makepyfile("def test_plain(): pass")

    pytester.runpytest("--energy-json=run.json", "--collect-only")
    assert (pytester.path / "run.json").read_text() == "of yesterday"
    pytester.runpytest("--energy-json=run.json", "no_such_file.py")
    assert (pytester.path / "run.json").read_text() == "of yesterday"
    result = pytester.runpytest_subprocess("--energy-json=run.json", *workers)

    result.assert_outcomes(passed=1)
    document = _document(pytester)
    assert (document["verdicts"], document["claims"]) == ([], [])
    assert (document["run"]["interrupted"], document["run"]["complete"]) == (None, True)
    assert read_document(pytester.path / "run.json").record.figures == 0


def test_without_figures_a_document_that_cannot_be_written_is_an_error(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.mkdir("run.json")
    pytester.makepyfile("def test_plain(): pass")

    result = pytester.runpytest("--energy-json=run.json")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ERROR: `--energy-json`: *run.json*"])


def test_what_require_all_fails_is_in_every_report(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    pytester.mkdir("baselines").joinpath("h200.toml").write_text(
        "schema = 1\n[hardware]\nkey = 'h200'\nmatch = ['NVIDIA H200*']\n"
        "tokens_per_window = 1000\n[joules_per_token.'a/gone']\nsessions = [\n"
        "{ date = 2026-11-20T10:00:00Z, windows = 10, mean = 0.005, cv = 0.003 },\n]\n"
    )
    _project(pytester, "pass")

    result = pytester.runpytest(
        *("--energy-require-all", "--energy-json=run.json", "--energy-markdown=run.md")
    )

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (missing,) = _document(pytester)["not_measured"]
    assert (missing["id"], missing["fails"]) == ("a/gone", True)
    assert "1 stored figure not measured" in (pytester.path / "run.md").read_text()
    result.stdout.fnmatch_lines(["::error title=energy figures not measured::*`a/gone`*"])


def test_an_interrupt_leaves_no_window_of_an_earlier_test(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        from gated import Run

        class Broken(Run):
            count = 0

            def window(self):
                self.count += 1
                if self.count > 3:
                    raise RuntimeError("broken")
                return super().window()

        def test_broken(energy_gate):
            energy_gate.joules_per_token(Broken("mine/broken"))

        def test_plain():
            raise KeyboardInterrupt

        def test_later(energy_gate):
            energy_gate.joules_per_token(Run("mine/later"))
        """
    )

    result = pytester.runpytest_subprocess("--energy-json=run.json")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    document = _document(pytester)
    assert document["verdicts"] == []
    assert _tests(document) == ["test_later"]


def test_what_an_interrupted_test_recorded_is_taken_back_as_interrupted(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        from gated import Run

        def test_gated(energy_gate):
            energy_gate.joules_per_token(Run("mine/model"))
            raise KeyboardInterrupt
        """
    )

    result = pytester.runpytest_subprocess("--energy-json=run.json")

    (verdict,) = _document(pytester)["verdicts"]
    assert verdict["reason"] == "not recorded: its test was interrupted"
    assert "doctor" not in result.stdout.str()


def test_a_pipe_is_given_one_document(pytester: pytest.Pytester, spending: Path) -> None:
    _project(pytester, "pass")

    result = pytester.runpytest_subprocess("-q", "-s", "--energy-json=/dev/stdout")

    assert result.stdout.str().count('"schema": 1') == 1


@pytest.mark.fault(
    "files",
    "the disk of one report is full",
    "named with its path, the others are written",
)
def test_reports_that_cannot_be_written_are_named_and_the_others_written(
    pytester: pytest.Pytester, spending: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no full disk here")
    _project(pytester, "pass")

    result = pytester.runpytest_subprocess(
        "--energy-json=/dev/full", "--energy-markdown=run.md", "--energy-history=past"
    )

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["ERROR: `--energy-json`: `/dev/full` cannot be written: No space left on device"]
    )
    assert "test\\_first" in (pytester.path / "run.md").read_text()
    assert list((pytester.path / "past").rglob("*.json"))


@pytest.mark.fault(
    "files",
    "git, CodeCarbon's data and the job summary's file are broken",
    "the run ends as it would, with all figures",
)
def test_what_only_informs_ends_no_run(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path))  # a folder
    unsound = pytester.mkdir("unsound")
    (unsound / "codecarbon" / "data" / "private_infra").mkdir(parents=True)
    (unsound / "codecarbon" / "__init__.py").touch()
    data = unsound / "codecarbon" / "data" / "private_infra" / "global_energy_mix.json"
    data.write_text('{"DEU": 3}')
    git = unsound / "git"
    git.write_text("#!/bin/sh\nprintf '\\377 # branch.oid \\377'\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(unsound), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(unsound), prepend=":")
    _project(pytester, "pass")

    result = pytester.runpytest_subprocess(
        "--energy-json=run.json", "--energy-history=past", "-p", "no:benchmark"
    )

    result.assert_outcomes(passed=4)
    assert len(_names(_document(pytester))) == 4
    assert list((pytester.path / "past").rglob("*.json"))


@pytest.mark.fault(
    "processes and signals",
    "Ctrl-C in the middle of a figure",
    "its windows are kept as `invalid`, nothing is recorded",
)
def test_an_interrupt_keeps_the_windows_of_the_figure_at_hand(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        from gated import Run

        class Interrupted(Run):
            count = 0

            def window(self):
                self.count += 1
                if self.count == 9:
                    raise KeyboardInterrupt
                return super().window()

        def test_gated(energy_gate):
            energy_gate.check("joules_per_token", Interrupted("mine/model"))
        """
    )

    result = pytester.runpytest_subprocess(
        *("--energy-json=run.json", "--energy-update=new", "--energy-tokens=1000")
    )

    assert result.ret == pytest.ExitCode.INTERRUPTED
    document = _document(pytester)
    (verdict,) = document["verdicts"]
    assert (verdict["id"], verdict["verdict"], len(verdict["windows"])) == (
        *("mine/model", "invalid"),
        8,
    )
    assert "interrupted before its verdict" in verdict["reason"]
    assert _tests(document) == ["test_gated"]
    assert not (pytester.path / "baselines").exists()
