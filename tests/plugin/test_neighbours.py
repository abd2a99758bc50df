"""Other plugins beside this one: all of them loaded, as a project that has them would."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

GATED = """
    import os
    import pytest
    from gated import Run

    def test_gated(energy_gate):
        with open("attempts", "a") as file:
            file.write("x")
        energy_gate.check("joules_per_token", Run("mine/model", JOULES))
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, spending: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A project with the meter that tests drive, where every plugin that is installed is loaded."""
    monkeypatch.delenv("PYTEST_ADDOPTS")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # of the outer run, if it has any
    return pytester


def _recorded(project: pytest.Pytester, sessions: int = 2) -> None:
    """A baseline of 5 mJ/token whose sessions hardly differ."""
    rows = ",\n".join(
        f'{{ date = 2026-11-2{day}T10:00:00Z, device = "GPU-0000-test", windows = 10,'
        f" tokens = 1000, mean = {0.005 * (1 + 0.001 * (-1) ** day)}, cv = 0.003,"
        f" autocorrelation = 0.0, padding_overhead = 2.0 }}"
        for day in range(sessions)
    )
    folder = project.mkdir("baselines")
    (folder / "h200.toml").write_text(
        "schema = 1\n[hardware]\nkey = 'h200'\nmatch = ['NVIDIA H200*']\ntokens_per_window = 1000\n"
        f"[joules_per_token.'mine/model']\nworkload = '0badcafe'\nsessions = [\n{rows}\n]\n"
    )


def _attempts(project: pytest.Pytester) -> int:
    return len((project.path / "attempts").read_text())


def _verdicts(project: pytest.Pytester) -> list[str]:
    document = json.loads((project.path / "run.json").read_text())
    return [verdict["verdict"] for verdict in document["verdicts"]]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_gate_is_not_rerun_into_a_pass(
    project: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytest.importorskip("pytest_rerunfailures")
    _recorded(project, 8)
    project.makepyfile(GATED.replace("JOULES", "0.006 if not os.path.exists('ran') else 0.005"))

    result = project.runpytest_subprocess(
        "--reruns=2", "--energy-json=run.json", "--junit-xml=junit.xml", *workers
    )

    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], outcomes["rerun"]) == (1, 2)
    assert _attempts(project) == 1
    result.stdout.fnmatch_lines(["regression:*+20.? %*", "*The verdict stands*"])
    assert _verdicts(project) == ["regression"]
    for case in ElementTree.parse(project.path / "junit.xml").iter("testcase"):
        names = [p.get("name") for p in case.iter("property")]
        assert names.count("energy_value") == 1
        assert "energy_2_value" not in names


def test_a_claim_is_not_rerun_into_a_pass(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    project.makepyfile(
        """
        import itertools

        def test_claim(energy_claim, found=itertools.count(0.5, 0.4)):
            energy_claim.figure("r_squared", next(found), at_least=0.8)
        """
    )

    result = project.runpytest_subprocess("--reruns=2", "--junit-xml=junit.xml")

    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], outcomes["rerun"]) == (1, 2)
    result.stdout.fnmatch_lines(["*Not here:*0.5*The verdict stands*"])
    for case in ElementTree.parse(project.path / "junit.xml").iter("testcase"):
        properties = [(p.get("name"), p.get("value")) for p in case.iter("property")]
        assert properties == [("energy_r_squared", "0.5"), ("energy_method", "counter")]


def test_a_flaky_test_is_rerun_and_its_figures_count_once(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    _recorded(project, 8)
    lines = GATED.replace("JOULES", "0.005")
    project.makepyfile(lines + "        assert len(open('attempts').read()) == 2\n")

    result = project.runpytest_subprocess(
        "--reruns=2", "--energy-json=run.json", "--junit-xml=junit.xml"
    )

    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["rerun"]) == (1, 1)
    assert _verdicts(project) == ["within"]
    properties = [
        p.get("name") for p in ElementTree.parse(project.path / "junit.xml").iter("property")
    ]
    assert "energy_2_value" not in properties


def test_what_a_rerun_records_is_stored_once(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    lines = GATED.replace("JOULES", "0.005")
    project.makepyfile(lines + "        assert len(open('attempts').read()) == 2\n")

    result = project.runpytest_subprocess(
        "--reruns=2", "--energy-update=new", "--energy-tokens=1000", "--energy-json=run.json"
    )

    assert result.ret == 0
    assert _verdicts(project) == ["recorded"]
    assert (project.path / "baselines" / "h200.toml").read_text().count("windows = ") == 1


def test_invalid_windows_may_be_measured_again(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pytest_rerunfailures")
    monkeypatch.setenv("CI", "true")
    _recorded(project, 8)
    throttled = (
        "spending.faults[:] = ['throttled: hot'] if len(open('attempts').read()) == 1 else []"
    )
    lines = GATED.replace("JOULES", "0.005").replace("import os", "import spending")
    project.makepyfile(
        lines.replace("        energy_gate", f"        {throttled}\n        energy_gate")
    )

    result = project.runpytest_subprocess("--reruns=1", "--energy-json=run.json")

    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["rerun"]) == (1, 1)
    assert _verdicts(project) == ["within"]


def test_coverage_is_measured_beside_energy(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_cov")
    project.makepyfile(
        mine="import spending\n\ndef work():\n    spending.spend(7.0)\n\ndef idle():\n    pass\n"
    )
    project.makepyfile(
        """
        import mine

        def test_mine(energy):
            with energy.window("train") as w:
                mine.work()
            assert round(w.joules) == 7
        """
    )

    result = project.runpytest_subprocess("--cov=mine", "--cov-report=term")

    assert result.ret == 0
    result.stdout.fnmatch_lines_random(["mine.py * 80%", "*/train*7.000 ± 0.000 J*measured"])


def test_async_tests_are_metered_until_they_end(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio")
    project.makepyfile(
        """
        import asyncio
        import pytest
        import spending

        async def work():
            await asyncio.sleep(0)
            spending.spend(9.0)

        @pytest.mark.asyncio
        async def test_window(energy):
            with energy.window("train") as w:
                await work()
            assert round(w.joules) == 9

        @pytest.mark.asyncio
        @pytest.mark.energy(max_joules=8)
        async def test_limit():
            await work()
        """
    )

    result = project.runpytest_subprocess()

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*`test_limit` used 9 J; allowed are 8 J*"])


def test_random_order_and_seeds_change_no_verdict(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_randomly")
    _recorded(project, 8)
    project.makepyfile(
        """
        import pytest
        from gated import Run

        @pytest.mark.parametrize("n", range(6))
        def test_other(n): pass

        def test_same(energy_gate):
            energy_gate.check("joules_per_token", Run("mine/model", 0.005, seed=1))

        def test_worse(energy_gate):
            energy_gate.check("joules_per_token", Run("mine/model", 0.006, seed=1))
        """
    )
    verdicts, orders = [], []
    for seed in (1, 2):
        result = project.runpytest_subprocess(
            f"--randomly-seed={seed}", "-v", "--energy-json=run.json"
        )
        result.assert_outcomes(passed=7, failed=1)
        verdicts.append(sorted(_verdicts(project)))
        orders.append([line for line in result.outlines if "::" in line and "%]" in line])

    assert verdicts[0] == verdicts[1] == ["regression", "within"]
    assert orders[0] != orders[1]


def test_pytest_benchmark_is_told_of_the_same_windows(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_benchmark")
    _recorded(project, 8)
    project.makepyfile(
        """
        import spending
        from gated import Run

        def test_window(benchmark, energy):
            with energy.window("train"):
                benchmark.pedantic(spending.spend, args=(2.0,), rounds=5)

        def test_gate(benchmark, energy_gate):
            check = energy_gate.check
            benchmark.pedantic(check, args=("joules_per_token", Run("mine/model")), rounds=1)

        def test_time_alone(benchmark):
            benchmark.pedantic(len, args=("x",), rounds=2)
        """
    )

    result = project.runpytest_subprocess("--benchmark-json=bench.json", "--energy-json=run.json")

    assert result.ret == 0
    document = json.loads((project.path / "bench.json").read_text())
    assert document["machine_info"]["energy"]["hardware"] == "h200"
    (device,) = document["machine_info"]["energy"]["devices"]
    assert (device["name"], device["uuid"]) == ("NVIDIA H200", "GPU-0000-test")
    extra = {b["name"]: b["extra_info"].get("energy") for b in document["benchmarks"]}
    assert extra["test_time_alone"] is None
    (window,) = extra["test_window"]
    assert (window["value"], window["unit"]) == (pytest.approx(10.0), "J")
    (gate,) = extra["test_gate"]
    ours = json.loads((project.path / "run.json").read_text())["verdicts"]
    stored = next(verdict for verdict in ours if verdict["metric"] == "joules_per_token")
    assert gate["verdict"] == stored["verdict"]
    assert [w["joules"] for w in gate["windows"]] == [w["joules"] for w in stored["windows"]]


def test_pytest_benchmark_alone_is_told_nothing(project: pytest.Pytester) -> None:
    pytest.importorskip("pytest_benchmark")
    project.makepyfile(
        """
        def test_energy(energy):
            with energy.window("train"):
                pass

        def test_time(benchmark):
            benchmark.pedantic(len, args=("x",), rounds=2)
        """
    )

    result = project.runpytest_subprocess("--benchmark-json=bench.json")

    assert result.ret == 0
    assert "energy" not in json.loads((project.path / "bench.json").read_text())["machine_info"]


def test_async_tests_of_anyio_are_metered_until_they_end(project: pytest.Pytester) -> None:
    pytest.importorskip("anyio")
    project.makepyfile(
        """
        import anyio
        import pytest
        import spending

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def work():
            await anyio.sleep(0)
            spending.spend(9.0)

        @pytest.fixture
        async def before(energy):
            with energy.window("set-up") as w:
                await work()
            return w

        async def test_window(energy, before):
            with energy.window("train") as w:
                await work()
            assert round(w.joules) == round(before.joules) == 9

        @pytest.mark.energy(max_joules=8)
        async def test_limit():
            await work()

        @pytest.mark.energy(max_joules=8)
        async def test_skips():
            await work()
            pytest.skip("not here")
        """
    )

    result = project.runpytest_subprocess("-p", "no:randomly", "--energy-json=run.json")

    result.assert_outcomes(passed=1, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*`test_limit` used 9 J; allowed are 8 J*"])
    assert _verdicts(project) == ["measured", "measured", "regression"]


def test_async_tests_of_unittest_are_metered_until_they_end(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import asyncio
        import unittest
        import pytest
        import spending

        class TestMine(unittest.IsolatedAsyncioTestCase):
            @pytest.fixture(autouse=True)
            def _given(self, energy):
                self.energy = energy

            async def test_window(self):
                with self.energy.window("train") as w:
                    await asyncio.sleep(0)
                    spending.spend(9.0)
                self.assertEqual(round(w.joules), 9)

            @pytest.mark.energy(max_joules=8)
            async def test_limit(self):
                await asyncio.sleep(0)
                spending.spend(9.0)
        """
    )

    result = project.runpytest_subprocess("--energy-json=run.json")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*`test_limit` used 9 J; allowed are 8 J*"])
    assert sorted(_verdicts(project)) == ["measured", "regression"]
