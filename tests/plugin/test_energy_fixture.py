"""The `energy` fixture and the limit marker, through a meter that tests drive."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pytest_energy.metering import Window
from pytest_energy.plugin.outcome import judge


def test_a_window_in_a_test(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        def test_mine(energy):
            with energy.window("train") as w:
                spend(120.0)
            assert w.joules == pytest.approx(120.0)
            assert w.joules_by_domain == {"gpu:0": pytest.approx(120.0)}
            assert w.mean_watts == pytest.approx(120.0 / w.seconds)
            assert w.valid and w.invalid_reason is None
        """
    )

    result = pytester.runpytest("--energy-json=run.json")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*= energy =*", "test_mine/train*120.0 ± 0.0 J*measured*", "this run cost 120 J,*gCO2e*"]
    )
    document = json.loads((pytester.path / "run.json").read_text())
    assert document["schema"] == 1
    assert document["project"] == pytester.path.name
    assert document["command"] == "pytest --energy-json=run.json --basetemp=***"
    assert document["hardware"]["key"] == "h200"
    assert document["verdicts"][0]["windows"][0]["joules"] == pytest.approx(120.0)
    assert document["run"]["joules"] == pytest.approx(120.0)
    assert document["run"]["gco2e"] > 0


def test_reading_a_window_too_early_says_so(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(
        """
        def test_mine(energy):
            with energy.window("train") as w:
                w.joules
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*window `train` has not ended*"])


def test_a_failed_assertion_shows_the_windows_figures(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        from spending import spend

        def test_mine(energy):
            with energy.window("train") as w:
                spend(501.0)
            assert w.joules < 500

        def test_raised(energy):
            try:
                with energy.window("train") as w:
                    spend(501.0)
                    raise ValueError("diverged")
            except ValueError:
                pass
            assert w.joules < 500
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*501.0 = <window `train`: 501.0 ± 0.0 J in * s>.joules"])
    result.stdout.fnmatch_lines(["E *window `train`*its block raised ValueError: diverged"])


@pytest.mark.parametrize(("spent", "passes"), [(500, True), (501, False)])
def test_the_limit_of_a_whole_test(
    pytester: pytest.Pytester, spending: Path, spent: int, passes: bool
) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        from spending import spend

        @pytest.mark.energy(max_joules=500)
        def test_inference():
            spend({spent})
        """
    )

    result = pytester.runpytest("--junit-xml=junit.xml")

    result.assert_outcomes(passed=int(passes), failed=int(not passes))
    case = ElementTree.parse(pytester.path / "junit.xml").find(".//testcase")
    assert case is not None
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert float(properties["energy_value"] or 0) == pytest.approx(spent)
    assert (case.find("failure") is None) == passes
    if not passes:
        result.stdout.fnmatch_lines(["*`test_inference` used 501 J; allowed are 500 J*"])
        result.stdout.no_fnmatch_line("*Traceback*")


def test_a_failing_test_keeps_its_own_reason(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        @pytest.mark.energy(max_joules=1)
        def test_inference():
            spend(9)
            assert 1 == 2
        """
    )

    result = pytester.runpytest()

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2"])


def test_a_limit_on_an_invalid_window_is_no_pass(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(
        """
        import pytest, spending

        @pytest.mark.energy(max_joules=500)
        def test_inference():
            spending.spend(1.0)
            spending.faults.append("throttled: power brake on gpu:0")
        """
    )

    here = pytester.runpytest("-rs")
    monkeypatch.setenv("CI", "true")
    in_ci = pytester.runpytest()

    here.assert_outcomes(skipped=1)
    in_ci.assert_outcomes(failed=1)
    for result in (here, in_ci):
        result.stdout.fnmatch_lines(["*was not measured: throttled: power brake on gpu:0*"])


def test_a_missing_meter_is_bad_input_and_no_zero(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(energy): pass")

    unknown = pytester.runpytest("--energy-meter=abacus")
    absent = pytester.runpytest_subprocess("--energy-meter=nvml")

    assert unknown.ret == pytest.ExitCode.USAGE_ERROR
    unknown.stderr.fnmatch_lines(["*`abacus` is not known*`auto`*`nvml`*"])
    assert absent.ret == pytest.ExitCode.USAGE_ERROR
    absent.stderr.fnmatch_lines(["*nvml*"])
    absent.stderr.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--energy-hw=a100", "*`--energy-hw=a100`*not this machine*`h200` (`NVIDIA H200`)*"),
        ("--energy-data=nowhere", "*`--energy-data=*nowhere` is no folder*"),
        ("--energy-wall=nowhere.csv", "*`--energy-wall=*nowhere.csv` is no file*"),
        ("--energy-region=XYZ", "*`XYZ` is no country*"),
        ("--energy-json=.", "*`--energy-json`*cannot be written*"),
    ],
)
def test_bad_input_ends_the_run_before_a_test_runs(
    pytester: pytest.Pytester, spending: Path, option: str, message: str
) -> None:
    pytester.makepyfile("def test_mine(energy): open('ran', 'w').close()")
    before = names(pytester.path)

    result = pytester.runpytest("--energy-json=run.json", option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert names(pytester.path) == before


def names(folder: Path) -> set[str]:
    """What lies there, but for what Python, pytest and other plugins keep of their own."""
    return {each.name for each in folder.iterdir() if not each.name.startswith((".", "__"))}


@pytest.mark.parametrize("is_link", [False, True])
def test_bad_input_leaves_an_earlier_document_as_it_was(
    pytester: pytest.Pytester, spending: Path, is_link: bool
) -> None:
    pytester.makepyfile("def test_mine(energy): pass")
    document = pytester.path / "run.json"
    if is_link:
        document.symlink_to("of-yesterday.json")
    document.write_bytes(b"of yesterday \xff\r\n")

    result = pytester.runpytest("--energy-json=run.json", "--energy-hw=a100")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert document.read_bytes() == b"of yesterday \xff\r\n"
    assert document.is_symlink() == is_link


def test_bad_input_under_xdist_is_exit_code_4_and_spends_nothing(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_mine(energy): open("ran", "w").close()

        @pytest.mark.energy(max_joules=5)
        def test_limited(): open("ran", "w").close()

        def test_other(): pass
        """
    )

    result = pytester.runpytest_subprocess("-n", "2", "--energy-hw=a100", "--energy-json=run.json")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["ERROR: `--energy-hw=a100`*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert not (pytester.path / "ran").exists()
    assert not (pytester.path / "run.json").exists()


def test_under_xdist_figures_come_home(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(
        """
        import pytest
        from spending import spend

        @pytest.mark.parametrize("n", range(4))
        def test_mine(energy, n):
            with energy.window("train"):
                spend(10.0)
        """
    )

    result = pytester.runpytest_subprocess("-n", "2", "--energy-json=run.json")

    result.assert_outcomes(passed=4)
    document = json.loads((pytester.path / "run.json").read_text())
    assert len(document["verdicts"]) == 4
    assert document["run"]["joules"] == pytest.approx(40.0)
    result.stdout.fnmatch_lines(["*this run cost 40 J,*"])


def test_tests_without_energy_open_no_meter(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nenergy_meter = abacus\nenergy_hw = a100\n")
    pytester.makepyfile("def test_mine(): pass")

    result = pytester.runpytest()

    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*= energy =*")


def test_collecting_an_empty_file_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_empty="")
    pytester.makeconftest(
        """
        import sys

        def pytest_unconfigure():
            heavy = {"torch", "transformers", "datasets", "pynvml", "rich", "tomlkit", "numpy"}
            print("heavy:", sorted(heavy & sys.modules.keys()))
            ours = [name for name in sys.modules if name.startswith("pytest_energy")]
            print("ours:", len(ours))
        """
    )

    result = pytester.runpytest_subprocess(
        "--collect-only", "-p", "no:benchmark", "-p", "no:anyio", "-p", "no:xdist"
    )

    result.stdout.fnmatch_lines(["heavy: []", "ours: *"])
    count = int(result.stdout.str().partition("ours: ")[2].split()[0])
    assert count <= 16


@pytest.mark.parametrize(
    ("joules", "uncertainty", "reason", "outcome"),
    [
        (500, 1, None, "within"),
        (501, 1, None, "regression"),
        (0.02, 0.1, "too short: …", "within"),
        (499, 60, "too short: …", "invalid"),
        (900, 60, "too short: …", "regression"),
        (0.02, 0.1, "device lost: …", "invalid"),
    ],
)
def test_few_joules_are_enough_where_the_limit_is_far(
    joules: float, uncertainty: float, reason: str | None, outcome: str
) -> None:
    used = Window("x", "counter", {"gpu:0": joules}, 1.0, uncertainty, 0.0, invalid_reason=reason)

    assert judge(used, 500) == outcome


def test_fixtures_asked_for_by_name_at_run_time(pytester: pytest.Pytester, spending: Path) -> None:
    pytester.makepyfile(
        """
        from spending import spend

        def test_mine(request):
            with request.getfixturevalue("energy").window("train"):
                spend(1.0)
        """
    )

    pytester.runpytest().assert_outcomes(passed=1)


def test_a_named_hardware_is_checked_though_nothing_is_metered(
    pytester: pytest.Pytester, spending: Path
) -> None:
    pytester.makepyfile("def test_mine(): pass")

    wrong = pytester.runpytest("--energy-hw=nonsense")
    right = pytester.runpytest("--energy-hw=h200")

    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    assert right.ret == pytest.ExitCode.TESTS_FAILED
    right.stdout.fnmatch_lines(["nothing was metered*"])


def test_auto_on_the_command_line_names_no_hardware(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nenergy_meter = abacus\nenergy_hw = h200\n")
    pytester.makepyfile("def test_mine(): pass")

    pytester.runpytest("--energy-hw=auto").assert_outcomes(passed=1)


@pytest.mark.fault(
    "stores and documents",
    "`--energy-hw` names the file of hardware that is not this machine's",
    "exit code 4 before a test runs, the file stays as it is",
)
def test_a_file_that_does_not_match_the_device_is_another_hardwares(
    pytester: pytest.Pytester, spending: Path
) -> None:
    folder = pytester.mkdir("baselines")
    file = folder / "h200.toml"
    text = "schema = 1\n[hardware]\nkey = 'h200'\nmatch = ['*SXM4-80GB*']\n"
    file.write_text(text)
    pytester.makepyfile(
        """
        from gated import Run

        def test_mine(energy_gate):
            open("ran", "w").close()
            energy_gate.joules_per_token(Run("mine/model"))
        """
    )

    named = pytester.runpytest("--energy-hw=h200", "--energy-update=new", "--energy-tokens=1000")
    ran = (pytester.path / "ran").exists()
    found = pytester.runpytest("--energy-update=new", "--energy-tokens=1000")

    assert named.ret == pytest.ExitCode.USAGE_ERROR
    named.stderr.fnmatch_lines(["*`--energy-hw=h200`*SXM4-80GB*is not this machine*`nvidia-h200`*"])
    assert not ran
    assert found.ret == 0
    assert file.read_text() == text
    assert (folder / "nvidia-h200.toml").is_file()


@pytest.mark.parametrize(
    ("option", "undone"),
    [("--energy-update=new", "recorded"), ("--energy-compare=python:{}", "compared")],
)
def test_an_option_that_finds_no_gate_is_no_success(
    pytester: pytest.Pytester, spending: Path, option: str, undone: str
) -> None:
    option = option.format(sys.executable)
    pytester.makepyfile("def test_mine(): pass")
    nothing = pytester.runpytest(option)
    pytester.makepyfile(
        """
        from spending import spend

        def test_mine(energy):
            with energy.window("train"):
                spend(1.0)
        """
    )
    no_gate = pytester.runpytest(option)

    for result in (nothing, no_gate):
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines([f"nothing was {undone}, which is no success*`energy_gate`"])
