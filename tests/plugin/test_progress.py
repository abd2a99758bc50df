"""The line that shows a run in progress, live and plain."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_energy.plugin.progress import Progress


def test_a_live_line_is_overwritten_and_taken_away() -> None:
    written: list[str] = []
    progress = Progress(written.append, live=True)

    progress.window("sst2/bert", 0, "5.1 mJ/token")
    progress.window("sst2/bert", 2, "5.0 mJ/token")
    progress.done("sst2/bert", "within")

    assert [text.replace("\r\x1b[2K", "") for text in written] == [
        "sst2/bert  warm-up  5.1 mJ/token",
        "sst2/bert  window 2  5.0 mJ/token",
        "",
    ]


def test_plain_lines_are_one_a_figure_with_the_time_left() -> None:
    written: list[str] = []
    progress = Progress(written.append)

    progress.expect(3)
    progress.window("sst2/bert", 1, "5.1 mJ/token")
    progress.done("sst2/bert", "within")

    (line,) = written
    assert line.startswith("\nsst2/bert  within  ETA ")


def test_without_a_terminal_nothing_is_written() -> None:
    progress = Progress()

    progress.window("sst2/bert", 1, "5.1 mJ/token")
    progress.note("waiting")
    progress.done("sst2/bert", "within")


def test_skipped_tests_take_no_part_in_the_time_left() -> None:
    written: list[str] = []
    progress = Progress(written.append)

    progress.expect(4)
    progress.reported(skipped=True)
    progress.reported(skipped=False)  # a claim, which has no line of its own
    progress.reported(skipped=True)
    progress.done("sst2/bert", "within")

    assert written == ["\nsst2/bert  within\n"]  # of four two were skipped, and this is the last


def test_waiting_for_others_takes_no_part_in_it_either() -> None:
    written: list[str] = []
    progress = Progress(written.append)

    progress.expect(3)
    progress.waited(-3600)  # as if the tests had taken an hour so far
    progress.done("sst2/bert", "within")
    progress.waited(3600)
    progress.done("sst2/bert", "within")

    assert [line.rpartition("ETA ")[2].strip() for line in written] == ["120 min", "0 s"]


def test_a_long_figure_says_how_long_from_its_first_window_on() -> None:
    written: list[str] = []
    progress = Progress(written.append)

    progress.begin(20)
    for number in range(3):
        progress.window("sst2/bert", number, "5.1 mJ/token", 17.0)
    progress.begin(20)
    progress.window("sst2/other", 0, "5.1 mJ/token", 1.0)  # over before a line would be due

    assert written == [
        "\nsst2/bert  window 1 of at most 20 (warm-up)  5.1 mJ/token  17 s per window, at most "
        "5 min left\n"
    ]


@pytest.mark.parametrize("live", [False, True])
def test_a_long_figure_whose_windows_are_known_says_so_before_the_first(live: bool) -> None:
    written: list[str] = []
    progress = Progress(written.append, live=live)

    progress.begin(20, "sst2/bert", 17.0)
    known = list(written)
    progress.begin(20, "sst2/other", 1.0)

    (line,) = known
    assert line.strip("\n").removeprefix("\r\x1b[2K") == (
        "sst2/bert  at most 20 windows of about 17 s, 6 min in all"
    )
    assert written == known  # the other is over before a line would be due


def test_a_window_far_too_long_is_worth_a_word_once() -> None:
    written: list[str] = []
    progress = Progress(written.append)

    progress.propose(20_000, 2.5)
    progress.propose(20_000, 17.0)
    progress.propose(20_000, 17.0)

    (line,) = written
    assert "20,000 tokens takes 17 s" in line
    assert "2 s are enough: let a window of this run process 2,353\n" in line


def test_a_window_that_is_very_short_is_worth_a_word_as_well() -> None:
    written: list[str] = []
    progress = Progress(written.append)

    progress.propose(500, 0.5)
    progress.propose(500, 0.001)  # of a simulation
    progress.propose(500, 0.25)

    (line,) = written
    assert "2 s tell more: let a window of this run process 4,000\n" in line


def test_a_task_may_have_a_budget_of_its_own() -> None:
    written: list[str] = []
    progress = Progress(written.append)

    progress.propose(250_000, 16.0, "mnli")

    (line,) = written
    assert "`--energy-tokens=31250`, or `tokens_of_tasks.mnli = 31250` in the baseline" in line


def test_windows_of_all_runs_of_a_figure_are_counted_together() -> None:
    written: list[str] = []
    progress = Progress(written.append, live=True)

    progress.begin(4)
    for run, number in (("large", 0), ("small", 0), ("large", 1), ("small", 1), ("small", 2)):
        progress.window(run, number, "")

    assert [line.removeprefix("\r\x1b[2K").split("  ")[1] for line in written] == [
        "window 1 of at most 4 (warm-up)",
        "window 2 of at most 4 (warm-up)",
        "window 3 of at most 4",
        "window 4 of at most 4",
        "window 2",
    ]


def test_a_terminal_that_has_gone_ends_no_run() -> None:
    def write(text: str) -> None:
        raise OSError(5, "Input/output error")

    progress = Progress(write, live=True)

    progress.window("sst2/bert", 1, "5.1 mJ/token", 1.0)
    progress.note("waiting")
    progress.done("sst2/bert", "within")


LONG = """
    from dataclasses import replace
    from gated import Run

    class Long(Run):
        tokens = 1000

        def window(self):
            return replace(super().window(), seconds=17.0)

    def test_other(): pass

    def test_gated(energy_gate):
        energy_gate.check("joules_per_token", Long("mine/model"))

    def test_last(): pass
"""


def test_a_gated_figure_is_estimated_by_its_baseline(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(LONG)
    pytester.runpytest_subprocess("--energy-update=new", "--energy-tokens=1000")

    result = pytester.runpytest_subprocess()

    ours = [line for line in result.outlines if "mine/model  " in line]
    assert ours[0].startswith("mine/model  at most ")
    assert " windows of about 17 s, " in ours[0]


@pytest.mark.parametrize("option", ["-rN", "-v", "-s"])
def test_lines_stand_alone_beside_those_of_pytest(
    pytester: pytest.Pytester, spending: Path, option: str
) -> None:
    pytester.makepyfile(LONG)

    result = pytester.runpytest_subprocess(
        option, "--energy-update=new", "--energy-tokens=1000", "-p", "no:cacheprovider"
    )

    assert result.ret == 0
    ours = [line for line in result.outlines if "per window" in line or "s are enough" in line]
    first, proposed = ours[:2]
    assert first.startswith("mine/model  window 1 of at most ")
    assert " (warm-up)  " in first
    assert " 17 s per window, at most " in first
    assert proposed.startswith("a window of 1,000 tokens takes 17 s here")
    done = next(line for line in result.outlines if line.endswith("recorded"))
    assert done.startswith("mine/model  ")
    dots = [line for line in result.outlines if line.startswith("test_lines_stand")]
    assert all("mine/model" not in line for line in dots)
    assert option == "-s" or dots[-1].rstrip().endswith("[100%]")
