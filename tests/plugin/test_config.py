"""Options, their ini twins and the marker's arguments: what is accepted, what is refused."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

import options_page
from pytest_energy.checks import Settings, TestSettings
from pytest_energy.errors import SkippedInHeadError
from pytest_energy.plugin.fixtures import user_errors
from pytest_energy.plugin.marker import asked_by, from_arguments
from pytest_energy.plugin.options import OPTIONS, Option
from pytest_energy.plugin.settings import settings_of


def _parse(pytester: pytest.Pytester, *arguments: str) -> Settings:
    return settings_of(pytester.parseconfig(*arguments))


def test_defaults(pytester: pytest.Pytester) -> None:
    config = _parse(pytester)

    assert config.hw == "auto"
    assert config.baselines == pytester.path / "baselines"
    assert (config.update, config.tolerance, config.detect, config.tokens) == (None,) * 4
    assert config.max_windows is None
    assert (config.meter, config.data, config.improvement) == ("auto", "synthetic", "fail")
    assert config.strict is False
    assert config.idle_seconds == 2.0
    assert config.ci is False


def test_every_option_is_in_help_and_has_an_ini_twin(pytester: pytest.Pytester) -> None:
    text = pytester.runpytest("--help").stdout.str()

    for option in OPTIONS:
        assert option.flag in text
        assert f"  {option.ini} (" in text


def test_command_line_values(pytester: pytest.Pytester) -> None:
    config = _parse(
        pytester,
        "--energy-hw=a100",
        "--energy-baselines=elsewhere",
        "--energy-update=append",
        "--energy-tolerance=3",
        "--energy-detect=7.5%",
        "--energy-tokens=250_000",
        "--energy-max-windows=12",
        "--energy-meter=rapl",
        "--energy-data=sets",
        "--energy-models=checkpoints",
        "--energy-improvement=pass",
        "--energy-strict",
        "--energy-region=DEU",
        "--energy-lock-timeout=5",
        "--energy-idle-seconds=0.5",
        "--energy-wall=pdu.csv",
        "--energy-history=past",
        "--energy-json=out/run.json",
    )

    assert config.hw == "a100"
    assert config.baselines == pytester.path / "elsewhere"
    assert config.update == "append"
    assert config.tolerance == pytest.approx(0.03)
    assert config.detect == pytest.approx(0.075)
    assert config.tokens == 250_000
    assert config.max_windows == 12
    assert config.meter == "rapl"
    assert config.data == str(pytester.path / "sets")
    assert config.models == pytester.path / "checkpoints"
    assert config.improvement == "pass"
    assert config.strict is True
    assert config.region == "DEU"
    assert config.lock_timeout_seconds == 5
    assert config.idle_seconds == 0.5
    assert config.wall == str(pytester.path / "pdu.csv")
    assert config.history == str(pytester.path / "past")
    assert config.json == pytester.path / "out" / "run.json"


def test_ini_twins_count_and_the_command_line_wins(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nenergy_hw = h200\nenergy_tolerance = 4\nenergy_strict = true\n")

    assert _parse(pytester).hw == "h200"
    assert _parse(pytester).tolerance == pytest.approx(0.04)
    assert _parse(pytester).strict is True
    assert _parse(pytester, "--energy-hw=a100").hw == "a100"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--energy-tolerance=abc", "*`--energy-tolerance=abc` is no number; give one*"),
        (
            "--energy-tolerance=0.02",
            "*`--energy-tolerance=0.02` is out of range; give percent from 0.1 to 1000: `2` *",
        ),
        ("--energy-tolerance=nan", "*`--energy-tolerance=nan` is out of range*"),
        ("--energy-detect=-5", "*`--energy-detect=-5` is out of range*"),
        ("--energy-tokens=0", "*`--energy-tokens=0` is out of range*"),
        ("--energy-max-windows=2", "*`--energy-max-windows=2` is out of range*at least 3*"),
        ("--energy-update=all", "*`--energy-update=all`*`new`, `append`, `replace`*"),
        ("--energy-improvement=maybe", "*`--energy-improvement=maybe`*`fail`, `pass`*"),
        ("--energy-lock-timeout=soon", "*`--energy-lock-timeout=soon` is no number; give one*"),
        ("--energy-idle-seconds=-1", "*`--energy-idle-seconds=-1` is out of range*at least 0*"),
    ],
)
def test_bad_values_are_usage_errors(pytester: pytest.Pytester, option: str, message: str) -> None:
    pytester.makepyfile("def test_nothing(): pass")

    result = pytester.runpytest(option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("energy_tokens = abc", "ERROR: `energy_tokens = abc` in `tox.ini` is no number; give one"),
        ("energy_notify = http://example.org", "ERROR: `energy_notify` in `tox.ini` is no https:*"),
        (
            "energy_tolerance = 5\nenergy_detect = 3",
            "ERROR: `energy_detect = 3` in `tox.ini` must be above `energy_tolerance = 5` in *",
        ),
        (
            "energy_settle = python:x",  # what is advised stays an option
            "ERROR: `energy_settle = python:x` in `tox.ini` *with `--energy-compare=python:x`",
        ),
        # What is found when the run begins, and what is found when it ends.
        ("energy_baselines = no", "ERROR: `energy_baselines = no` in `tox.ini` is no folder*"),
        ("energy_json = /proc/x/a.json", "*ERROR: `energy_json*` in `tox.ini`*"),
    ],
)
def test_a_bad_value_of_the_ini_file_is_named_as_it_is_there(
    pytester: pytest.Pytester, lines: str, message: str
) -> None:
    pytester.makeini(f"[pytest]\n{lines}\n")
    pytester.makepyfile("def test_mine(energy):\n    with energy.window('x'): pass\n")

    result = pytester.runpytest()

    pytest.LineMatcher([*result.outlines, *result.errlines]).fnmatch_lines([message])


def test_a_bad_value_is_named_by_who_gave_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\nenergy_tokens = 'abc'\n")
    pytester.mkdir("sub").joinpath("test_a.py").write_text("def test_nothing(): pass\n")
    monkeypatch.chdir(pytester.path / "sub")
    for given, told in (
        ((), f"`energy_tokens = abc` in `{Path('..', 'pyproject.toml')}` is no number"),
        (("-o", "energy_tokens=0"), "`energy_tokens = 0` given by `-o` is out of range"),
        (("--energy-tokens=0",), "`--energy-tokens=0` is out of range"),
    ):
        pytester.runpytest(*given).stderr.fnmatch_lines([f"ERROR: {told}*"])


def test_detect_must_lie_beyond_tolerance(pytester: pytest.Pytester) -> None:
    with pytest.raises(pytest.UsageError, match=r"`--energy-detect=5` must be above"):
        _parse(pytester, "--energy-tolerance=5", "--energy-detect=5")


def test_a_file_s_detect_goes_along_with_a_tolerance_that_is_typed(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\nenergy_tolerance = 10\nenergy_detect = 25\n")

    assert _parse(pytester, "--energy-tolerance=146").detect is None
    assert _parse(pytester, "--energy-tolerance=12").detect == 0.25
    with pytest.raises(pytest.UsageError, match=r"`--energy-detect=5` must be above"):
        _parse(pytester, "--energy-detect=5")


def test_updating_in_ci_must_be_asked_for_twice(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.UsageError, match="--energy-allow-ci-update"):
        _parse(pytester, "--energy-update=new")
    both = _parse(pytester, "--energy-update=new", "--energy-allow-ci-update")

    assert both.update == "new"
    assert both.ci is True


def test_updating_under_xdist_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")

    result = pytester.runpytest("--energy-update=new", "-n", "2")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*cannot record under pytest-xdist*`-n 0`*"])


def test_updating_on_xdist_workers_named_otherwise_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(): pass")

    result = pytester.runpytest("--energy-update=new", "--tx", "2*popen", "--dist=load")

    assert result.ret == pytest.ExitCode.USAGE_ERROR


GATED = """
    from gated import Run

    def test_gated(energy_gate):
        energy_gate.check("joules_per_token", Run("a/b", joules_per_token=0.0{joules}))
"""


@pytest.mark.parametrize(
    ("where", "outcome"), [("ini", "missing"), ("PYTEST_ADDOPTS", "regression")]
)
def test_the_command_that_a_failed_gate_proposes_works_where_runs_are_spread(
    pytester: pytest.Pytester,
    spending: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    outcome: str,
) -> None:
    pytest.importorskip("xdist")
    if where == "ini":
        with (pytester.path / "tox.ini").open("a") as ini:
            ini.write("\naddopts = -n 2 --dist=loadfile\n")
    else:
        monkeypatch.setenv("PYTEST_ADDOPTS", f"{os.environ['PYTEST_ADDOPTS']} -n2")
    test = pytester.makepyfile(GATED.replace("{joules}", "05"))
    if outcome == "regression":
        pytester.runpytest_subprocess("-n0", "--energy-update=new")
        test.write_text(test.read_text().replace("0.005", "0.009"))

    said = pytester.runpytest_subprocess("--energy-hw=h200").stdout.str()
    steps = [
        line for line in said.splitlines() if line.startswith(("next: pytest ", "  or: pytest "))
    ]
    (proposed,) = [line for line in steps if "--energy-update=" in line]
    typed = shlex.split(proposed.partition(": pytest ")[2], comments=True)
    result = pytester.runpytest_subprocess(*typed)

    assert outcome in said
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*pytest-xdist, which the configuration asks for, is left out: `--energy-update`*"]
    )
    assert "recorded" in result.stdout.str()


def test_a_run_that_compares_is_not_spread_by_its_ini_file(
    pytester: pytest.Pytester, spending: Path
) -> None:
    with (pytester.path / "tox.ini").open("a") as ini:
        ini.write("\naddopts = -n 2\n")
    pytester.makepyfile("def test_nothing(): pass")

    result = pytester.runpytest("--energy-compare=HEAD")

    result.stderr.fnmatch_lines(["*`--energy-compare=HEAD` compares with a git revision*"])


def test_marker_values_become_fractions_and_counts() -> None:
    marker = from_arguments(
        {"max_joules": 500, "tolerance": 3, "detect": 8, "tokens": 1e6, "max_windows": 5}, "t.py"
    )

    assert marker == TestSettings(500, 0.03, 0.08, 1_000_000, 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("max_joule=5", "*`max_joule` on `test_*` is no argument*`max_joules`*"),
        ("max_joules='5'", "*`max_joules='5'`*is out of range; give joules above 0"),
        ("max_joules=0", "*`max_joules=0`*is out of range; give joules above 0"),
        ("max_joules=True", "*`max_joules=True`*is out of range; give joules above 0"),
        ("500", "*takes arguments by name only*`max_joules=500`*"),
        ("tokens=2.5", "*`tokens=2.5` on `test_*` is out of range; give a whole number from 1*"),
        ("tolerance=2000", "*`tolerance=2000` on `test_*` * percent from 0.1 and at most 1000"),
        ("detect=float('nan')", "*`detect=nan` on `test_*` * percent from 0.1 and at most 3000"),
        ("tolerance=0.02", "*`tolerance=0.02` on `test_*` is out of range; give percent from 0.1*"),
        ("max_joules=float('inf')", "*`max_joules=inf` on `test_*` * give joules above 0"),
        ("tolerance=5, detect=4", "*`detect=4` on `test_*` must be above `tolerance=5`*"),
        ("tolerence=5", "*`tolerence` on `test_*` * did you mean `tolerance`[?]*"),
        (
            "max_windows=2",
            "*`max_windows=2` on `test_*` is out of range; give a whole number from 3*",
        ),
    ],
)
def test_bad_marker_arguments_end_the_run_before_it_starts(
    pytester: pytest.Pytester, spending: object, arguments: str, message: str
) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.energy({arguments})
        def test_marked():
            open("ran", "w").close()
        """
    )

    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert not (pytester.path / "ran").exists()


def test_nearer_markers_override_outer_ones(pytester: pytest.Pytester) -> None:
    item = pytester.getitem(
        """
        import pytest

        pytestmark = pytest.mark.energy(max_joules=5, tolerance=4)

        @pytest.mark.energy(max_joules=7)
        def test_marked(): pass
        """,
        "test_marked",
    )

    assert asked_by(item) == TestSettings(max_joules=7, tolerance=0.04)


def test_a_history_url_is_taken_as_it_is(pytester: pytest.Pytester) -> None:
    assert _parse(pytester).history is None
    assert _parse(pytester, "--energy-history=s3://bucket/past").history == "s3://bucket/past"
    pytester.makeini("[pytest]\nenergy_history = past\n")
    assert _parse(pytester).history == str(pytester.path / "past")


def test_the_command_line_turns_a_switch_of_the_ini_file_off(pytester: pytest.Pytester) -> None:
    switches = [option for option in OPTIONS if option.metavar is None]
    lines = "".join(f"{option.ini} = true\n" for option in switches)
    pytester.makeini(f"[pytest]\n{lines}")

    assert {option.name for option in switches} >= {"strict", "require-all", "allow-ci-update"}
    for option in switches:
        off, name = f"--no-energy-{option.name}", option.ini.removeprefix("energy_")
        assert getattr(_parse(pytester), name) is True
        assert getattr(_parse(pytester, off), name) is False
        assert getattr(_parse(pytester, off, option.flag), name) is True


def test_an_empty_value_turns_an_option_of_the_ini_file_off(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nenergy_history = past\nenergy_tolerance = 4\n")

    settings = _parse(pytester, "--energy-history=", "--energy-tolerance=")

    assert (settings.history, settings.tolerance) == (None, None)


def test_a_switch_of_the_ini_file_is_true_or_false(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nenergy_strict = maybe\n")
    pytester.makepyfile("def test_nothing(): pass")

    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*`energy_strict` in `tox.ini`: *maybe*; give `true` or `false`"])
    result.stderr.no_fnmatch_line("*Traceback*")


def test_the_page_of_options_is_what_the_table_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "options.md"

    assert page.read_text(encoding="utf-8") == options_page.page(), "write it anew with `make docs`"


def test_an_empty_base_compares_nothing_and_is_told(pytester: pytest.Pytester) -> None:
    assert _parse(pytester, "--energy-compare= ").compare is None
    assert _parse(pytester, "--energy-compare=HEAD~1").compare == "HEAD~1"

    told = "energy: `--energy-compare=` is empty, and counts as not given"
    pytester.runpytest("--energy-compare=").stdout.fnmatch_lines([told])

    pytester.makeini("[pytest]\nenergy_compare = HEAD\n")  # which an empty value turns off
    pytester.runpytest("--energy-compare=").stdout.no_fnmatch_line(told)

    pytester.path.joinpath("tox.ini").unlink()
    pytester.makefile(".toml", pytest="[pytest]\nenergy_history = 3\n")  # of no type that it has
    off = pytester.runpytest("--energy-history=")
    assert off.ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.default])
def test_an_empty_value_on_the_command_line_is_refused(
    option: Option, pytester: pytest.Pytester
) -> None:
    with pytest.raises(pytest.UsageError, match=f"^`{option.flag}=` is empty; give a value, or"):
        settings_of(pytester.parseconfig(f"{option.flag}= "))


def test_an_unknown_name_of_the_ini_file_is_refused_with_the_nearest(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\nenergy_tolerence = 3\nother = 1\n")

    result = pytester.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: `energy_tolerence` in the pytest conf*mean `energy_toler*"]
    )


def test_a_name_that_a_project_has_made_its_own_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nenergy_budget = 3\n")
    pytester.makeconftest("def pytest_addoption(parser): parser.addini('energy_budget', 'its own')")
    pytester.makepyfile("def test_it(): pass")

    pytester.runpytest().assert_outcomes(passed=1)


def test_what_the_head_skips_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception, match="no GPU"), user_errors():
        raise SkippedInHeadError("no GPU")


def test_a_missing_baseline_names_where_it_was_looked_for_and_the_one_above(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        **{
            "inner/test_it": "from gated import Run\n"
            "def test_it(energy_gate): energy_gate.joules_per_token(Run('sst2'))\n"
        }
    )
    inner = pytester.path / "inner"
    (inner / "pytest.ini").write_text(
        "[pytest]\nenergy_meter = spending\nenergy_idle_seconds = 0\n"
    )
    above = pytester.mkdir("baselines")
    (above / "h200.toml").write_text("schema = 1\n[hardware]\nkey = 'h200'\nmatch = ['NVIDIA*']\n")

    result = pytester.runpytest("--energy-hw=h200", f"--rootdir={inner}", "-c", "inner/pytest.ini")

    result.stdout.fnmatch_lines(
        [
            f"missing: *for `h200` in `{inner}/baselines/h200.toml`; use `{above}` with "
            "`--energy-b*, or *with `pytest inner/test_it.py --energy-hw=h200 --energy-update=new`*"
        ]
    )
