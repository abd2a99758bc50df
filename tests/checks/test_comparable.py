"""Runs that are not like their baseline: another day or host, a cold device, a far session."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pytest_energy.baselines.reading import read
from pytest_energy.clocks import real_time
from pytest_energy.metering.hardware import host

TEST = """
    import os
    from gated import Run

    def test_gated(energy_gate):
        energy_gate.check("joules_per_token", Run("mine/model", **eval(os.environ["RUN"])))
"""
LEVELS = (0.005, 0.00501, 0.00499, 0.005005, 0.004995, 0.005, 0.00501, 0.00499)


@pytest.fixture
def gated(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A project with one gated test."""
    pytester.makepyfile(test_mine=TEST)
    monkeypatch.setenv("RUN", "{}")
    return pytester


def stored(
    gated: pytest.Pytester,
    *,
    key: str = "h200",
    device: str | None = "GPU-0000-test",
    apart: timedelta = timedelta(0),
    ago: timedelta = timedelta(days=2),
    more: str = "",
    levels: tuple[float, ...] = LEVELS,
) -> Path:
    """A baseline, some of whose sessions are so far `apart`; the last was so long `ago`."""
    newest = real_time.utc().replace(microsecond=0) - ago
    named = f'device = "{device}", ' if device else ""
    rows = [
        f"  {{ date = {_toml(newest - index * apart)}, {named}windows = 10, mean = {level}, "
        f"cv = 0.003{more} }},\n"
        for index, level in enumerate(levels)
    ]
    folder = gated.path / "baselines"
    folder.mkdir(exist_ok=True)
    path = folder / f"{key}.toml"
    match = "NVIDIA H200*" if key == "h200" else "*"
    path.write_text(
        f'schema = 1\n[hardware]\nkey = "{key}"\nmatch = ["{match}"]\ntokens_per_window = 1000\n\n'
        f'[joules_per_token."mine/model"]\nworkload = "0badcafe"\nsessions = [\n{"".join(rows)}]\n'
    )
    return path


def _toml(date: datetime) -> str:
    return date.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_baseline_of_another_day_leaves_open_what_days_may_differ_by(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0053}")
    stored(gated)
    one_day = gated.runpytest()
    stored(gated, ago=timedelta(minutes=5))
    same_day = gated.runpytest()
    stored(gated, apart=timedelta(days=1))
    eight_days = gated.runpytest()

    one_day.assert_outcomes(passed=1)
    one_day.stdout.fnmatch_lines(
        ["*inconclusive*8 sessions of one day cannot say how days differ*record 4 more on other d*"]
    )
    for result in (same_day, eight_days):
        result.stdout.fnmatch_lines(["regression:*"])


def test_a_baseline_of_one_host_says_so_on_another(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = gated.path / "site" / "spending.py"
    meter.write_text(meter.read_text().replace('"gpu:0"', '"cpu"'))
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0053}")
    monkeypatch.setenv("PYTEST_ENERGY_HOST", "elsewhere")
    elsewhere = host()
    monkeypatch.setenv("PYTEST_ENERGY_HOST", "here")
    stored(gated, key="cpu", device=elsewhere, apart=timedelta(days=1))
    other = gated.runpytest()
    stored(gated, key="cpu", device=host(), apart=timedelta(days=1))
    own = gated.runpytest()
    stored(gated, key="cpu", device=None, apart=timedelta(days=1))
    old = gated.runpytest()

    other.assert_outcomes(passed=1)
    other.stdout.fnmatch_lines(["*no session of the baseline is from this device*"])
    for result in (own, old):
        result.stdout.fnmatch_lines(["regression:*"])


def _thermometer(gated: pytest.Pytester, celsius: str) -> None:
    """Let the meter tell temperatures: `celsius` is of `n`, the windows so far."""
    meter = gated.path / "site" / "spending.py"
    meter.write_text(
        meter.read_text()
        .replace("joules = 0.0\n", "joules, n = 0.0, 0\n", 1)
        .replace(
            "    def end(self, ended):\n",
            f"    def end(self, ended):\n        global n\n        n, celsius = n + 1, {celsius}\n",
        )
        .replace(
            "0.0, tuple(faults))\n",
            '0.0, tuple(faults), {"gpu:0 temperature_celsius": float(celsius)})\n',
            1,
        )
    )


@pytest.mark.parametrize(
    ("celsius", "says"),
    [
        ("58", "*within*"),
        ("30 + n", "*within*"),  # as warm as the baseline after 27 windows
        ("20 + n", "*not as warm as its baseline: 49 °C after 30 warm-up windows*at 60 °C*"),
        ("45", "*within*"),  # as warm as it becomes
    ],
)
def test_a_run_warms_up_until_it_is_as_warm_as_its_baseline(
    gated: pytest.Pytester, celsius: str, says: str
) -> None:
    _thermometer(gated, celsius)
    stored(gated, apart=timedelta(days=1), more=", begin_celsius = 60.0, end_celsius = 61.0")

    result = gated.runpytest_subprocess("-v", "-rs")

    result.stdout.fnmatch_lines([says])


COUNTED = """
    import os
    from gated import Run

    class Counted(Run):
        count = 0

        def window(self):
            Counted.count += 1
            return super().window()

    def test_gated(energy_gate):
        try:
            energy_gate.joules_per_token(Counted("mine/model", **eval(os.environ["RUN"])))
        finally:
            print("measured", Counted.count)
"""


@pytest.mark.parametrize(
    ("load_seconds", "cv", "least", "most"),
    [
        (0.02, 0.003, 5, 8),  # a window lasts 0.01 s
        (0.2, 0.003, 12, 15),  # half as long
        (1.0, 0.0005, 11, 11),  # it rules out that it still becomes warmer
        (1.0, 0.02, 33, 60),  # it cannot, which is said
    ],
)
def test_without_a_temperature_a_run_works_half_as_long_or_shows_no_trend(
    gated: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    load_seconds: float,
    cv: float,
    least: int,
    most: int,
) -> None:
    gated.makepyfile(test_mine=COUNTED)
    monkeypatch.setenv("RUN", f"{{'cv': {cv}}}")
    stored(gated, apart=timedelta(days=1), more=f", load_seconds = {load_seconds}")

    result = gated.runpytest_subprocess("-s", "--energy-json=run.json")

    (line,) = (line for line in result.outlines if "measured " in line)
    assert least <= int(line.partition("measured ")[2].split()[0]) <= most
    said = "had worked for less than half as long as in its baseline"
    assert (said in (gated.path / "run.json").read_text()) is (cv == 0.02)


def test_a_recording_waits_until_the_device_is_warm_and_keeps_how_warm(
    gated: pytest.Pytester,
) -> None:
    _thermometer(gated, "50 - max(0, 12 - n)")

    assert gated.runpytest_subprocess("--energy-update=new").ret == 0

    ((row,),) = (e.sessions for e in read(gated.path / "baselines/h200.toml").entries.values())
    assert (row.begin_celsius, row.end_celsius) == (50.0, 50.0)
    assert row.load_seconds is not None
    assert row.load_seconds > 0.1  # more than two windows of 10 ms
    assert row.median == pytest.approx(row.mean, rel=0.01)
    assert row.mad is not None


def test_a_recording_without_a_temperature_waits_for_the_end_of_a_trend(
    gated: pytest.Pytester,
) -> None:
    """Of windows that rise by 0.9 % each, two are alike, and three are not."""
    gated.makepyfile(
        test_mine="""
        from gated import Run

        class Warming(Run):
            number = 0

            def window(self):
                self._mean = 0.005 * 1.009 ** min(self.number - 6, 0)
                self.number += 1
                return super().window()

        def test_gated(energy_gate):
            energy_gate.check("joules_per_token", Warming("mine/model", cv=0.002))
        """
    )

    assert gated.runpytest_subprocess("--energy-update=new").ret == 0

    ((row,),) = (e.sessions for e in read(gated.path / "baselines/h200.toml").entries.values())
    assert row.mean == pytest.approx(0.005, rel=0.002)


def test_what_is_appended_within_the_hour_is_said_to_teach_little(gated: pytest.Pytester) -> None:
    stored(gated, ago=timedelta(minutes=5))
    soon = gated.runpytest("--energy-update=append", "--energy-markdown=soon.md")
    stored(gated, ago=timedelta(days=1))
    late = gated.runpytest("--energy-update=append", "--energy-markdown=late.md")

    assert soon.ret == late.ret == 0
    said = "a session within an hour of the one before says little of how days differ"
    assert said in (gated.path / "soon.md").read_text()
    assert said not in (gated.path / "late.md").read_text()


def test_a_session_far_off_is_named_with_the_command_that_drops_it(
    gated: pytest.Pytester,
) -> None:
    path = stored(gated, apart=timedelta(days=1), levels=(*LEVELS, 0.0056))
    far = read(path).entries["joules_per_token", "mine/model"].sessions[-1].date[:19]

    result = gated.runpytest("--energy-markdown=run.md")
    listed = gated.run(sys.executable, "-m", "pytest_energy", "baselines", "baselines")
    gated.run(
        sys.executable, "-m", "pytest_energy", "baselines", "baselines/h200.toml", f"--drop={far}"
    )

    assert result.ret == 0
    assert f"--drop={far}" in (gated.path / "run.md").read_text()
    listed.stdout.fnmatch_lines([f"*the session of {far} is far off the others*--drop={far}*"])
    kept = read(path).entries["joules_per_token", "mine/model"].sessions
    assert [row.mean for row in kept] == list(LEVELS)


def test_a_restless_machine_is_learnt_and_each_run_says_what_is_taken_in(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated.runpytest()
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0052}")  # 4 %: more than the tolerance
    moved = gated.runpytest("--energy-json=moved.json")
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0065}")
    far = gated.runpytest("--energy-json=far.json")
    forgotten = gated.run(sys.executable, "-m", "pytest_energy", "baselines", "--forget")

    assert moved.ret == far.ret == 0
    assert "own baseline takes it in: 2 sessions now" in (gated.path / "moved.json").read_text()
    assert "does not take it in, because it moved" in (gated.path / "far.json").read_text()
    forgotten.stdout.fnmatch_lines(["*h200.toml: forgotten"])
    assert not list((gated.path / ".pytest_cache").rglob("h200.toml"))


def test_a_first_session_that_varies_too_much_is_not_kept(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN", "{'cv': 0.3}")

    result = gated.runpytest()

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*inconclusive*not kept as this machine's own baseline: 4 wind*"])
    assert not list(gated.path.rglob("h200.toml"))


def test_a_figure_that_was_renamed_names_what_is_stored_of_its_work(
    gated: pytest.Pytester,
) -> None:
    path = stored(gated)
    path.write_text(path.read_text().replace("mine/model", "mine/old"))

    result = gated.runpytest("--energy-hw=h200")

    result.stdout.fnmatch_lines(["missing:*`mine/old` is stored of the same work: if it was ren*"])
