"""The line that shows a run in progress, live and plain."""

from __future__ import annotations

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
    progress.reported("setup", skipped=True)
    progress.reported("setup", skipped=False)
    progress.reported("call", skipped=False)  # a claim, which has no line of its own
    progress.reported("call", skipped=True)
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
