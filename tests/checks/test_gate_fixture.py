"""`energy_gate` end to end: recording, gating, failing and passing, on a meter that tests drive."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pytest_energy.baselines.reading import read
from pytest_energy.files import write_atomically

TEST = """
    import os
    from gated import Run

    def test_gated(energy_gate):
        changes = eval(os.environ.get("RUN", "{}"))
        energy_gate.check("joules_per_token", Run("mine/model", **changes))
"""


@pytest.fixture
def gated(pytester: pytest.Pytester, spending: Path) -> pytest.Pytester:
    """A project with one gated test and no baseline yet."""
    pytester.makepyfile(test_mine=TEST)
    return pytester


_recorded: dict[int, str] = {}


def _record(gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, sessions: int = 8) -> Path:
    """A baseline of some sessions, recorded by the plugin; the first of each length is reused."""
    path = gated.path / "baselines" / "h200.toml"
    if sessions in _recorded:
        write_atomically(path, _recorded[sessions])
    else:
        _recorded[sessions] = _record_now(gated, monkeypatch, sessions).read_text()
    monkeypatch.setenv("SEED", "7")
    return path


def _record_now(gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, sessions: int) -> Path:
    for number in range(sessions):
        monkeypatch.setenv("SEED", str(100 + number))
        mode = "append" if number else "new"
        result = gated.runpytest(f"--energy-update={mode}", "--energy-tokens=1000")
        assert result.ret == 0, result.stdout.str()
    monkeypatch.setenv("SEED", "7")
    return gated.path / "baselines" / "h200.toml"


def test_recording_shows_the_diff_and_the_next_command(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _record(gated, monkeypatch, 1)
    result = gated.runpytest("--energy-update=append", "--energy-tokens=1000")

    result.stdout.fnmatch_lines(
        [
            "mine/model*mJ/token*recorded",
            "baselines/h200.toml changed*",
            "+++ b/h200.toml",
            "+*windows = 10*",
            "next: git add -N baselines/h200.toml && git diff baselines/h200.toml",
        ]
    )
    assert path.read_text().count("windows = 10") == 2


def test_unchanged_code_is_within(gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    _record(gated, monkeypatch)

    result = gated.runpytest("--energy-hw=h200", "-v")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["mine/model*mJ/token*5.00? mJ/token*within"])


def test_a_regression_fails_with_sentences_that_say_why(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch)
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0053}")

    result = gated.runpytest("--junit-xml=junit.xml", "--energy-json=run.json")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "regression: 5.3?? mJ/token against 5.00? mJ/token*+6.? %*tolerance of 2 %.",
            "  Undo what costs it, *`--energy-update=replace`.",
            "  +6.? % J/token: same power, -5.? % tokens/s*same environment.",
            "*energy windows*",
            "*window*J*W*mJ/token*tokens/s*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    verdict = json.loads((gated.path / "run.json").read_text())["verdicts"][0]
    assert (verdict["verdict"], verdict["fails"]) == ("regression", True)
    assert verdict["change"] == pytest.approx(0.06, abs=0.01)
    assert len(verdict["windows"]) >= 3
    case = ElementTree.parse(gated.path / "junit.xml").find(".//testcase")
    assert case is not None
    assert case.find("failure") is not None
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert properties["energy_outcome"] == "regression"


def test_each_check_of_a_test_has_properties_of_its_own(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch)
    gated.makepyfile(
        test_mine="""
        import pytest
        from gated import Run

        @pytest.mark.energy(max_joules=1e6)
        def test_gated(energy_gate, record_property):
            record_property("energy_source", "wind")
            energy_gate.check("joules_per_token", Run("mine/model"))
            energy_gate.check("joules_per_token", Run("mine/other"))
        """
    )

    result = gated.runpytest("--junit-xml=junit.xml", "-o", "junit_family=xunit1")

    assert result.ret == 0
    pairs = [
        (p.get("name"), p.get("value"))
        for p in ElementTree.parse(gated.path / "junit.xml").iter("property")
    ]
    properties = dict(pairs)
    assert len(properties) == len(pairs)
    ids = [properties[name] for name in ("energy_id", "energy_2_id", "energy_3_id")]
    assert ids == ["mine/model", "mine/other", "test_gated"]
    assert properties["energy_outcome"] == "within"
    assert properties["energy_2_outcome"] == "recorded"
    assert properties["energy_3_metric"] == "joules"
    assert properties["energy_source"] == "wind"


def test_more_power_is_told_from_less_throughput(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch)
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0053, 'watts': 530}")

    result = gated.runpytest()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["regression:*", "  +6.? % J/token: +6.? % power, same throughput*"]
    )


def test_an_improvement_fails_until_it_is_locked_in(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch)
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0045}")

    failed = gated.runpytest()
    passed = gated.runpytest("--energy-improvement=pass")
    locked = gated.runpytest("--energy-update=replace")
    after = gated.runpytest()

    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    failed.stdout.fnmatch_lines(["improvement:*-10.? %*", "  Record *--energy-update=replace*"])
    assert (passed.ret, locked.ret) == (0, 0)
    after.stdout.no_fnmatch_line("mine/model*improvement*")


def test_a_single_session_is_inconclusive_and_strict_makes_that_fail(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch, 1)

    result = gated.runpytest()
    strict = gated.runpytest("--energy-strict")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*mine/model: inconclusive.*session*--energy-update=append*"])
    assert strict.ret == pytest.ExitCode.TESTS_FAILED


def test_levels_come_from_marker_then_option_then_file(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _record(gated, monkeypatch)
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0053}")

    by_option = gated.runpytest("--energy-tolerance=10")
    path.write_text(path.read_text().replace("tolerance = 0.02", "tolerance = 0.1"))
    path.write_text(path.read_text().replace("detect = 0.05", "detect = 0.2"))
    by_file = gated.runpytest()
    gated.makepyfile(
        test_mine="import pytest\npytestmark = pytest.mark.energy(tolerance=2, detect=5)\n"
        + textwrap.dedent(TEST)
    )
    by_marker = gated.runpytest("--energy-tolerance=10")

    assert (by_option.ret, by_file.ret) == (0, 0)
    assert by_marker.ret == pytest.ExitCode.TESTS_FAILED


def test_another_workload_is_an_error_and_no_regression(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch, 2)
    monkeypatch.setenv("RUN", "{'digest': 'ffffffff'}")

    result = gated.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["invalid: `mine/model` is workload `ffffffff`, not the `0badcafe`*replace*"]
    )
    result.stdout.no_fnmatch_line("regression:*")


def test_another_token_budget_is_refused_before_measuring(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch, 1)

    result = gated.runpytest("--energy-tokens=2000")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*`--energy-tokens=2000` is not what*(1000)*"])


def test_a_worse_padding_policy_shows_in_real_tokens(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch)
    monkeypatch.setenv("RUN", "{'padding_overhead': 2.4}")

    result = gated.runpytest()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["regression:*+20.? %*", "*J/real token:*+20.? % padding*"])


def test_another_power_limit_is_invalid(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch, 2)
    meter = gated.path / "site" / "spending.py"
    meter.write_text(meter.read_text().replace("7e9", "5e9"))

    here = gated.runpytest_subprocess()
    monkeypatch.setenv("CI", "true")
    in_ci = gated.runpytest_subprocess()

    here.assert_outcomes(skipped=1)
    in_ci.assert_outcomes(failed=1)
    in_ci.stdout.fnmatch_lines(["invalid: the power limit (W) is 5e+09, the baseline's was 7e+09*"])


def test_windows_that_stay_invalid_end_in_an_invalid_verdict(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch, 2)
    meter = gated.path / "site" / "spending.py"
    meter.write_text(meter.read_text().replace("faults = []", "faults = ['throttled: hot']"))
    monkeypatch.setenv("CI", "true")

    result = gated.runpytest_subprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["invalid: 5 windows*throttled: hot*"])


def test_where_a_baseline_is_demanded_its_absence_fails(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = gated.runpytest("--energy-hw=h200")
    monkeypatch.setenv("CI", "true")
    in_ci = gated.runpytest()

    for result in (named, in_ci):
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["missing: `mine/model`*`pytest test_mine.py --energy-hw=h200 --energy-update=new`*"]
        )


def test_without_a_baseline_the_machine_keeps_its_own(gated: pytest.Pytester) -> None:
    first = gated.runpytest()
    second = gated.runpytest()

    assert (first.ret, second.ret) == (0, 0)
    first.stdout.fnmatch_lines(["mine/model*recorded", "next: run it again*"])
    second.stdout.fnmatch_lines(["mine/model*mJ/token*inconclusive (local)"])
    assert not (gated.path / "baselines").exists()


def test_a_local_baseline_learns_and_informs_but_fails_nothing(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(9):
        monkeypatch.setenv("SEED", str(seed))
        assert gated.runpytest().ret == 0
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.006}")

    result = gated.runpytest()
    strict = gated.runpytest("--energy-strict")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["mine/model*regression (local)", "*(shown only, fails nothing)"])
    assert strict.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("suffix", ["", "-2"])
def test_a_local_baseline_learns_where_its_environment_has_a_number(
    gated: pytest.Pytester, suffix: str
) -> None:
    assert gated.runpytest().ret == 0
    (path,) = gated.path.rglob("h200.toml")
    (name,) = read(path).environments
    path.write_text(path.read_text().replace(name, name + suffix))

    assert gated.runpytest().ret == 0

    (entry,) = read(path).entries.values()
    assert len(entry.sessions) == 2


def test_a_local_baseline_learns_nothing_in_another_environment(gated: pytest.Pytester) -> None:
    assert gated.runpytest().ret == 0
    (path,) = gated.path.rglob("h200.toml")
    path.write_text(path.read_text().replace("python = ", 'python = "2.7" # '))

    assert gated.runpytest().ret == 0

    (entry,) = read(path).entries.values()
    assert len(entry.sessions) == 1


def test_the_same_verdicts_under_xdist(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch)
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0053}")

    result = gated.runpytest_subprocess("-n", "2", "--junit-xml=junit.xml")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["regression:*+6.? %*", "mine/model*regression"])
    case = ElementTree.parse(gated.path / "junit.xml").find(".//testcase")
    assert case is not None
    assert {p.get("name") for p in case.iter("property")} >= {"energy_value", "energy_outcome"}


def test_nothing_metered_is_no_success(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="import pytest\n\n@pytest.mark.skip\ndef test_gated(energy_gate): pass\n"
    )

    result = gated.runpytest("--energy-hw=h200")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["nothing was metered*"])


def test_broken_toml_is_bad_input(gated: pytest.Pytester) -> None:
    folder = gated.mkdir("baselines")
    (folder / "h200.toml").write_text("schema = 1\n[hardware\n")

    result = gated.runpytest("--energy-hw=h200")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*h200.toml` is not valid TOML: *line 2*"])


def test_halves_that_disagree_are_not_recorded(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        from gated import Run

        class Rising(Run):
            def window(self):
                self._mean *= 1.004
                return super().window()

        def test_gated(energy_gate):
            energy_gate.check("joules_per_token", Rising("mine/model"))
        """
    )

    result = gated.runpytest("--energy-update=new")

    result.stdout.fnmatch_lines(
        ["*not recorded: the halves of 10 windows differ by 2 %, more than 1 % and more than*"]
    )
    assert not (gated.path / "baselines").exists()


def test_halves_that_differ_by_chance_are_recorded(gated: pytest.Pytester) -> None:
    """Windows of a card that waits for its host vary by 3 %, and their halves by 1.5 %."""
    gated.makepyfile(
        test_mine="""
        from itertools import cycle
        from gated import Run

        class Restless(Run):
            offs = cycle([-0.03, 0.02, -0.04, 0.03, -0.02, 0.03, -0.04, 0.04, -0.02, 0.025])
            calm = 1.0

            def window(self):
                self._mean = self.calm * (1 + next(self.offs))
                return super().window()

        def test_gated(energy_gate):
            energy_gate.check("joules_per_token", Restless("mine/model"))
        """
    )

    result = gated.runpytest("--energy-update=new")

    result.stdout.fnmatch_lines(["mine/model *998.8 ± 19.9 mJ/token* recorded", "+*cv = 0.0321*"])


def test_savings_are_gated_on_pairs(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated.makepyfile(
        test_mine="""
        import os
        from gated import Run

        def test_savings(energy_gate):
            seed = int(os.environ["SEED"])
            large = Run("mine/large", 0.010, seed=seed)
            mean = float(os.environ.get("SMALL", 0.005))
            small = Run("mine/small", mean, seed=seed + 1000)
            energy_gate.savings(baseline=large, candidate=small, id="mine")
        """
    )
    _record_now(gated, monkeypatch, 8)
    same = gated.runpytest()
    monkeypatch.setenv("SMALL", "0.0056")
    worse = gated.runpytest()
    path = gated.path / "baselines" / "h200.toml"
    path.write_text(f"{path.read_text()}\n[claims.savings]\ncounter = [0.4, 0.6]\n")
    monkeypatch.setenv("SMALL", "0.0075")
    outside = gated.runpytest()

    assert same.ret == 0
    same.stdout.fnmatch_lines(["mine savings*??.? ± 0.? %*??.? %*points*within"])
    assert worse.ret == outside.ret == pytest.ExitCode.TESTS_FAILED
    worse.stdout.fnmatch_lines(["regression: 4?.? % saved against ??.? %*points*"])
    outside.stdout.fnmatch_lines(["regression: saves 2?.? % of J/token, below the band of 40 *"])


def test_a_check_that_does_not_exist(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        from gated import Run

        def test_gated(energy_gate):
            energy_gate.check("watts", Run("mine/model"))
        """
    )

    result = gated.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["`watts` with one run is no check;*`joules_per_token`*"])


def test_a_local_baseline_does_not_stand_in_for_a_demanded_one(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gated.runpytest().ret == 0  # leaves a local baseline

    named = gated.runpytest("--energy-hw=h200")
    monkeypatch.setenv("CI", "true")
    in_ci = gated.runpytest()

    for result in (named, in_ci):
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["missing: *"])


def test_worse_padding_is_not_hidden_by_fewer_joules_a_token(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch)
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.0047, 'padding_overhead': 2.6}")

    result = gated.runpytest("--energy-improvement=pass")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["regression:*J/real token*"])


@pytest.mark.fault(
    "stores and documents",
    "a session is to be appended that is 20 % off the stored ones",
    "not appended, and the file stays as it is",
)
def test_a_session_unlike_the_stored_ones_is_not_appended(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _record(gated, monkeypatch)
    before = path.read_text()
    monkeypatch.setenv("RUN", "{'joules_per_token': 0.00602}")

    result = gated.runpytest("--energy-update=append")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["invalid: not appended: *+20.? %*--energy-update=replace*"])
    assert path.read_text() == before


def test_a_session_at_another_power_limit_is_not_appended(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _record(gated, monkeypatch, 2)
    before = path.read_text()
    meter = gated.path / "site" / "spending.py"
    meter.write_text(meter.read_text().replace("7e9", "5e9"))

    result = gated.runpytest_subprocess("--energy-update=append")

    result.assert_outcomes(failed=1)
    assert path.read_text() == before


def test_another_meter_than_the_baselines_is_invalid(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch, 2)
    meter = gated.path / "site" / "spending.py"
    meter.write_text(meter.read_text().replace('"counter"', '"modelled"'))
    monkeypatch.setenv("CI", "true")

    result = gated.runpytest_subprocess()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["invalid: the meter is spending (modelled)*(counter)*"])


def test_other_windows_than_those_recorded_are_an_error(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated.makepyfile(
        test_mine="""
        import os
        from gated import Run

        def test_gated(energy_gate):
            run = Run("mine/model")
            run.tokens = int(os.environ.get("TOKENS", 1000))
            energy_gate.check("joules_per_token", run)
        """
    )
    _record_now(gated, monkeypatch, 2)
    monkeypatch.setenv("TOKENS", "2000")

    result = gated.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["invalid: `mine/model` is windows of 2000 tokens, not the 1000*"])


def test_a_run_that_never_becomes_steady_is_not_recorded(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        from gated import Run

        class Warming(Run):
            def window(self):
                self._mean *= 1.02
                return super().window()

        def test_gated(energy_gate):
            energy_gate.check("joules_per_token", Warming("mine/model"))
        """
    )

    result = gated.runpytest("--energy-update=new")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["invalid: not recorded: J/token had not become steady*"])
    assert not (gated.path / "baselines").exists()


def test_what_a_failing_test_recorded_is_taken_back(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        from gated import Run

        def test_gated(energy_gate):
            energy_gate.check("joules_per_token", Run("mine/model"))
            assert False, "afterwards"
        """
    )

    result = gated.runpytest("--energy-update=new")

    result.assert_outcomes(failed=1)
    assert not (gated.path / "baselines").exists()


def test_one_figure_is_recorded_once_a_run(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        import pytest
        from gated import Run

        @pytest.mark.parametrize("digest", ["aaaaaaaa", "bbbbbbbb"])
        def test_gated(energy_gate, digest):
            energy_gate.check("joules_per_token", Run("mine/model", digest=digest))
        """
    )

    result = gated.runpytest("--energy-update=new", "--energy-tokens=1000")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["`mine/model` was recorded in this run already*"])
    assert (gated.path / "baselines" / "h200.toml").read_text().count("windows = ") == 1


def test_an_override_of_one_run_is_not_stored(gated: pytest.Pytester) -> None:
    gated.runpytest("--energy-update=new", "--energy-tolerance=50", "--energy-tokens=1000")

    text = (gated.path / "baselines" / "h200.toml").read_text()

    assert "tolerance = 0.02" in text
    assert "detect = 0.05" in text


def test_savings_outside_the_band_of_the_file_are_not_recorded(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated.makepyfile(
        test_mine="""
        from gated import Run

        def test_savings(energy_gate):
            large = Run("mine/large", 0.010, seed=1)
            energy_gate.check("savings", large, Run("mine/small", 0.009, seed=2), id="mine")
        """
    )
    path = gated.mkdir("baselines") / "h200.toml"
    band = '[claims.savings]\nsource = "paper"\ncounter = [0.4, 0.6]\n'
    path.write_text(f"schema = 1\n{band}")

    held = gated.runpytest("--energy-update=new", "--energy-tokens=1000")
    left = path.read_text()
    path.write_text("schema = 1\n")
    unasked = gated.runpytest("--energy-update=new", "--energy-tokens=1000")

    held.assert_outcomes(failed=1)
    held.stdout.fnmatch_lines(["regression: saves 10.? % of J/token, below the band of 40 *"])
    assert "savings.mine" not in left
    unasked.assert_outcomes(passed=1)
    assert "[savings.mine]" in path.read_text()


def test_savings_of_two_models_are_named_by_both(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        from gated import Run

        def test_savings(energy_gate):
            large, small = Run("mine/large", 0.010), Run("mine/small", 0.005)
            energy_gate.savings(baseline=large, candidate=small)
        """
    )

    gated.runpytest("--energy-update=new").assert_outcomes(passed=1)

    assert '[savings."mine/large-small"]' in (gated.path / "baselines" / "h200.toml").read_text()


def test_the_fifth_invalid_window_ends_a_warm_up(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        import pytest
        import spending
        from gated import Run

        class Throttled(Run):
            count = 0

            def window(self):
                Throttled.count += 1
                spending.faults[:] = ["throttled: hot"]
                return super().window()

        def test_gated(energy_gate):
            with pytest.raises(pytest.skip.Exception, match="5 windows of .* in warm-up"):
                energy_gate.joules_per_token(Throttled("mine/model"))
            assert Throttled.count == 5
            spending.faults.clear()
        """
    )

    gated.runpytest().assert_outcomes(passed=1)


def test_a_corrupt_local_baseline_is_begun_anew(gated: pytest.Pytester) -> None:
    assert gated.runpytest().ret == 0
    (path,) = (gated.path / ".pytest_cache").rglob("h200.toml")
    path.write_text("schema = 1\n[hardware\n")

    result = gated.runpytest()

    assert result.ret == 0
    result.stdout.fnmatch_lines(["mine/model*recorded"])
    assert "mine/model" in path.read_text()


def test_names_with_brackets_are_shown_as_they_are(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        from gated import Run

        def test_gated(energy_gate):
            energy_gate.check("joules_per_token", Run("mine/[red]model[/tmp/x]"))
        """
    )

    result = gated.runpytest()

    assert result.ret == 0
    result.stdout.fnmatch_lines(["mine/[[]red]model[[]/tmp/x]*recorded"])


def test_a_window_without_tokens_is_an_error_by_name(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        from dataclasses import replace
        from gated import Run

        class Uncounted(Run):
            def window(self):
                return replace(super().window(), tokens=0)

        def test_gated(energy_gate):
            energy_gate.check("joules_per_token", Uncounted("mine/model"))
        """
    )

    result = gated.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["`mine/model` measured a window of 0 tokens*set `tokens`*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_gap_the_baseline_cannot_tell_is_warned_about(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch)

    result = gated.runpytest("--energy-tolerance=2", "--energy-detect=2.1")

    result.stdout.fnmatch_lines(["warning: `detect` 2.1 %*raise `detect`*"])


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ('"abc"', "`str` cannot be gated, since it has no `id`, `digest`, `padding_overhead`*"),
        ("Forgetful()", "`window()` of `mine` returned NoneType, no window; return*"),
    ],
)
def test_what_is_no_run_is_refused_in_a_sentence(
    gated: pytest.Pytester, run: str, sentence: str
) -> None:
    gated.makepyfile(
        f"""
        class Forgetful:
            id, digest, padding_overhead = "mine", None, None

            def window(self):
                pass

        def test_model(energy_gate):
            energy_gate.check("joules_per_token", {run})
        """
    )

    result = gated.runpytest()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([sentence])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_folder_of_baselines_that_is_not_there_is_bad_input(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        """
        def test_mine(energy):
            with energy.window("train"):
                pass
        """
    )

    result = gated.runpytest("--energy-baselines=baslines")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*`--energy-baselines=*baslines` is no folder*"])


def test_a_session_that_pads_otherwise_is_not_appended(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _record(gated, monkeypatch)
    before = path.read_text()
    monkeypatch.setenv("RUN", "{'padding_overhead': 2.41}")

    result = gated.runpytest("--energy-update=append")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["invalid: not appended: *+20.? %*--energy-update=replace*"])
    assert path.read_text() == before


def test_one_stored_session_that_pads_alike_does_not_hide_the_others(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _record(gated, monkeypatch)
    head, _, last = path.read_text().rpartition("padding_overhead = 2.0")
    path.write_text(f"{head}padding_overhead = 2.4{last}")
    monkeypatch.setenv("RUN", "{'padding_overhead': 2.4}")

    result = gated.runpytest()

    # Stored sessions so unlike each other cannot tell; with the last alone it would be within.
    result.stdout.fnmatch_lines(["mine/model*mJ/real token*inconclusive"])


def test_a_local_baseline_outlives_other_padding(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated.runpytest()
    monkeypatch.setenv("RUN", "{'padding_overhead': 2.02}")

    result = gated.runpytest("-v")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*inconclusive (local)", "*J/real token*run it again, so that*"])
    result.stdout.no_fnmatch_line("*--energy-update=append*")
    (path,) = (gated.path / ".pytest_cache").rglob("h200.toml")
    assert set(read(path).entries) == {("joules_per_token", "mine/model")}


def test_what_cannot_be_kept_for_this_machine_fails_nothing(gated: pytest.Pytester) -> None:
    blocked = gated.path / ".pytest_cache" / "d" / "energy"
    blocked.mkdir(parents=True)
    (blocked / "250000").write_text("no folder")

    result = gated.runpytest("--energy-json=run.json")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*h200.toml` cannot be written: *"])
    assert json.loads((gated.path / "run.json").read_text())["verdicts"]


def test_a_limit_is_no_gate_that_an_update_could_record(gated: pytest.Pytester) -> None:
    gated.makepyfile(
        test_mine="""
        import pytest
        from spending import spend

        @pytest.mark.energy(max_joules=5)
        def test_limited():
            spend(1.0)
        """
    )

    result = gated.runpytest("--energy-update=new")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["nothing was recorded, which is no success*"])


WITHOUT_TOKENS = """
from dataclasses import replace

import spending
from gated import Run

class Forgetful(Run):
    def window(self):
        return replace(super().window(), tokens=0)

def test_gated(energy_gate):
    spending.faults.append("throttled: hot")
    energy_gate.check("joules_per_token", Forgetful("mine/model"))
"""


def test_forgotten_tokens_are_named_in_an_invalid_window_too(gated: pytest.Pytester) -> None:
    gated.makepyfile(test_mine=WITHOUT_TOKENS)

    result = gated.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["`mine/model` measured a window of 0 tokens*set `tokens` to*"])


def test_other_workers_on_the_gpu_are_named(gated: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    gated.makepyfile(
        test_mine="""
        import pytest
        import spending
        from gated import Run

        @pytest.mark.parametrize("number", [1, 2])
        def test_gated(energy_gate, number):
            spending.faults[:] = ["foreign process: 7 computes on `gpu:0`"]
            energy_gate.check("joules_per_token", Run(f"mine/{number}"))
        """
    )

    result = gated.runpytest_subprocess("-n", "2", "-rs")

    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*invalid*foreign process*pytest-xdist's other*`-n 0`*"])


def test_levels_of_other_figures_refuse_no_run(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _record(gated, monkeypatch, 1)
    text = path.read_text()
    entry = text.partition("[joules_per_token")[2].partition("\n[")[0]
    other = entry.replace("mine/model", "mine/other").replace("tolerance = 0.02", "tolerance = 0.1")
    path.write_text(f"{text}\n[joules_per_token{other}")

    result = gated.runpytest("--energy-detect=4")
    nowhere = gated.runpytest("--energy-detect=0.5")

    assert (result.ret, nowhere.ret) == (0, pytest.ExitCode.USAGE_ERROR)
    nowhere.stderr.fnmatch_lines(["*`detect` of 0.5 % of `mine/model` must be above `tolerance`*"])


def test_levels_of_a_marker_are_held_against_the_options(
    gated: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(gated, monkeypatch, 1)
    marked = "import pytest\npytestmark = pytest.mark.energy(tolerance=1)\n" + textwrap.dedent(TEST)

    unmarked = gated.runpytest("--energy-detect=1.5")
    gated.makepyfile(test_mine=marked)
    fits = gated.runpytest("--energy-detect=1.5")
    refused = gated.runpytest("--energy-detect=0.9")

    assert (fits.ret, refused.ret) == (0, pytest.ExitCode.USAGE_ERROR)
    unmarked.assert_outcomes(failed=1)
    unmarked.stdout.fnmatch_lines(["`detect` of 1.5 % of `mine/model` must be above*"])
