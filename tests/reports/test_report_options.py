"""The reports' options through pytest: what is written, when, and what is refused before."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from pytest_energy.results.json_codec import read_document

LIMITED = """
    import pytest
    import spending

    @pytest.mark.energy(max_joules=1)
    @pytest.mark.parametrize("name", ["<script>alert(1)</script>|`x`"])
    def test_limit(energy, name):
        spending.spend(500)

    def test_window(energy):
        with energy.window("train"):
            spending.spend(1)
"""


@pytest.fixture
def limited(pytester: pytest.Pytester, spending: Path) -> pytest.Pytester:
    """A test that breaks its limit, at line 3 of its file, and one that only meters."""
    pytester.makepyfile(test_limited=LIMITED)
    return pytester


def test_markdown_is_written(limited: pytest.Pytester) -> None:
    result = limited.runpytest("--energy-markdown=out/run.md")

    result.assert_outcomes(passed=1, failed=1)
    text = (limited.path / "out" / "run.md").read_text(encoding="utf-8")
    assert text.startswith("## Energy: 1 of 1 verdicts fails, 1 window metered")
    assert "| ❌ regression | test\\_limit\\[&lt;script&gt;" in text
    assert "<script" not in text


def test_markdown_has_an_ini_twin(limited: pytest.Pytester) -> None:
    limited.makeini("[pytest]\nenergy_meter = spending\nenergy_markdown = run.md\n")

    limited.runpytest()

    assert (limited.path / "run.md").is_file()


def test_the_steps_summary_is_appended_by_itself(
    limited: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = limited.path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    limited.runpytest()

    assert summary.read_text(encoding="utf-8").startswith("before\n## Energy: 1 of 1 verdicts")


def test_a_summary_that_cannot_be_written_fails_nothing(
    limited: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(limited.path / "absent" / "summary.md"))

    result = limited.runpytest("-k", "test_window")

    result.assert_outcomes(passed=1)
    assert result.ret == 0


def test_annotations_name_the_tests_line(
    limited: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    result = limited.runpytest()

    found = [line for line in result.outlines if line.startswith("::")]
    assert len(found) == 1
    assert found[0].startswith("::error file=test_limited.py,line=4,title=energy regression%3A")
    assert "used 500 J; allowed are 1 J" in found[0]


def test_outside_github_there_are_no_annotations(limited: pytest.Pytester) -> None:
    assert not [line for line in limited.runpytest().outlines if line.startswith("::")]


def test_under_xdist_reports_are_written_once_with_their_places(
    limited: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xdist")
    summary = limited.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    result = limited.runpytest_subprocess("-n", "2", "--energy-json=run.json")

    assert summary.read_text(encoding="utf-8").count("## Energy") == 1
    assert len([line for line in result.outlines if line.startswith("::error file=")]) == 1
    verdicts = json.loads((limited.path / "run.json").read_text())["verdicts"]
    assert ["test_limited.py", 4] in [verdict["location"] for verdict in verdicts]


def test_a_page_is_written(limited: pytest.Pytester) -> None:
    pytest.importorskip("plotly")

    limited.runpytest("--energy-html=out/run.html")

    text = (limited.path / "out" / "run.html").read_text(encoding="utf-8")
    assert "1 of 1 verdicts fails, 1 window metered" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;|`x`" in text
    assert "<script>alert(1)" not in text


def test_a_page_shows_the_history_that_the_run_is_added_to(limited: pytest.Pytester) -> None:
    pytest.importorskip("plotly")

    limited.runpytest("--energy-html=run.html", "--energy-history=kept", "-k", "test_window")
    limited.runpytest("--energy-html=run.html", "--energy-history=kept", "-k", "test_window")

    text = (limited.path / "run.html").read_text(encoding="utf-8")
    assert "<h2>Over time</h2>" in text
    assert "18 more sessions are needed" in text


@pytest.mark.parametrize("missing", ["plotly", "jinja2"])
def test_a_page_without_its_libraries_is_refused_before_energy_is_spent(
    limited: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)

    result = limited.runpytest_inprocess("--energy-html=run.html")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: `--energy-html` needs {missing}, which is not installed: "
         f"`pip install {missing}`"]
    )  # fmt: skip
    result.assert_outcomes()


@pytest.mark.parametrize("option", ["--energy-markdown", "--energy-html"])
def test_a_path_that_cannot_be_written_is_refused(limited: pytest.Pytester, option: str) -> None:
    result = limited.runpytest(f"{option}=.")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: `{option}`: * cannot be written*"])


def test_a_document_gives_the_run_back(limited: pytest.Pytester) -> None:
    limited.runpytest("--energy-json=run.json")

    reported = read_document(limited.path / "run.json")

    assert reported.source == "run.json"
    assert [verdict.outcome for verdict in reported.record.verdicts] == ["regression", "measured"]
    assert reported.record.hardware["key"] == "h200"
    assert reported.footprint.joules == pytest.approx(501.0)


def test_differences_from_the_baselines_environment_are_kept(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        from gated import Run

        def test_it(energy_gate):
            energy_gate.check("joules_per_token", Run("x"))
        """
    )
    record = ["--energy-hw=h200", "--energy-update=append"]
    for seed in ("0", "1"):
        assert pytester.runpytest(*record).ret == 0, seed
    path = pytester.path / "baselines" / "h200.toml"
    text = path.read_text()
    assert 'driver = "580.1"' in text
    path.write_text(text.replace('driver = "580.1"', 'driver = "570.0"'))

    pytester.runpytest("--energy-hw=h200", "--energy-json=run.json")

    verdict = json.loads((pytester.path / "run.json").read_text())["verdicts"][0]
    assert verdict["changed_environment"] == {"driver": ["570.0", "580.1"]}
    assert len(verdict["trace"]) == len(verdict["windows"]) >= 3


@pytest.mark.attack(
    "commands",
    "somebody gives links, twins, pipes and devices as the places of all reports",
    "written into or through, all stay what they are",
)
def test_what_is_there_stays_what_it_is(
    limited: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, other, fifo = (limited.path / name for name in ("target", "other", "fifo"))
    target.write_text("old")
    other.write_text("an older text")
    (limited.path / "link.json").symlink_to("target")
    (limited.path / "twin.md").hardlink_to(other)
    os.mkfifo(fifo)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(fifo))  # nobody reads it, nothing waits

    result = limited.runpytest(
        "-k", "window", "--energy-json=link.json", "--energy-markdown=twin.md", "-o",
        f"energy_html={os.devnull}",
    )  # fmt: skip

    assert result.ret == 0
    assert read_document(target).record.verdicts
    assert (limited.path / "link.json").is_symlink()
    assert other.read_text(encoding="utf-8").startswith("## Energy")
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_pipe_without_a_reader_ends_no_run_in_waiting(limited: pytest.Pytester) -> None:
    os.mkfifo(limited.path / "fifo")

    result = limited.runpytest("-k", "window", "--energy-json=fifo")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ERROR: `*fifo` cannot be written: nobody reads this pipe"])
