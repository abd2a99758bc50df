"""Clocks that tests have frozen or patched: windows, waits, limits and dates go by real ones."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from unittest import mock

import pytest

from pytest_energy import EnergyError
from pytest_energy.channels import Channel
from pytest_energy.metering.device_lock import device_lock
from pytest_energy.processes import ChildProcess, stop_all
from pytest_energy.units import quantity, ratio

FREEZING = """
    import freezegun
    import pytest

    @pytest.fixture
    def frozen():
        with freezegun.freeze_time("2012-01-14"):
            yield
"""
PATCHING = """
    from unittest import mock
    import pytest

    @pytest.fixture
    def frozen():
        clocks = ("monotonic", "perf_counter", "time", "sleep")
        with mock.patch.multiple("time", **{name: lambda *_: 7.0 for name in clocks}):
            yield
"""
TRAVELLING = """
    import pytest
    import time_machine

    @pytest.fixture
    def frozen():
        with time_machine.travel("2012-01-14", tick=False):
            yield
"""
SWAPPING = """
    import ctypes, time
    import pytest

    def function_in(held):  # a built-in function is an object that points to a PyMethodDef
        definition = ctypes.c_void_p.from_address(id(held) + object.__basicsize__).value
        return ctypes.c_void_p.from_address(definition + ctypes.sizeof(ctypes.c_void_p))

    @pytest.fixture
    def frozen():
        kind = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p)
        stopped = kind(lambda *_: 7.0)
        real = function_in(time.monotonic)
        before, real.value = real.value, ctypes.cast(stopped, ctypes.c_void_p).value
        yield
        real.value = before
"""
STOPPED = pytest.mark.parametrize(
    ("conftest", "package"),
    [
        (FREEZING, "freezegun"),
        (PATCHING, "unittest"),
        (TRAVELLING, "time_machine"),
        (SWAPPING, "ctypes"),
    ],
    ids=["freezegun", "mock", "time-machine", "swapped"],
)


@pytest.fixture(params=["freezegun", "mock"])
def stopped(request: pytest.FixtureRequest) -> AbstractContextManager[object]:
    """Clocks that stand still once this is entered."""
    if request.param == "freezegun":
        freezegun = pytest.importorskip("freezegun")
        # It looks at all that is imported, and old ones of these cannot be looked at in part.
        frozen: AbstractContextManager[object] = freezegun.freeze_time(ignore=["transformers"])
        return frozen
    stack = ExitStack()
    stack.enter_context(mock.patch("time.monotonic", return_value=7.0))
    stack.enter_context(mock.patch("time.perf_counter", return_value=7.0))
    return stack


@pytest.mark.fault(
    "clocks",
    "a test freezes or patches all clocks while it is metered",
    "seconds, joules, limits and dates are the real ones",
)
@STOPPED
@pytest.mark.parametrize("plain", [False, True], ids=["spans", "readings"])
def test_a_window_is_as_long_as_it_was(
    pytester: pytest.Pytester, spending: Path, conftest: str, package: str, plain: bool
) -> None:
    pytest.importorskip(package)
    if plain:  # a meter that tells its cumulative joules alone
        meter = spending / "spending.py"
        meter.write_text(meter.read_text().replace("def begin(", "def unused("))
    pytester.makeconftest(conftest)
    pytester.makepyfile(
        """
        import pytest
        import spending

        def work():
            sum(range(300_000))
            spending.spend(165.0)

        @pytest.mark.energy(max_joules=200)
        def test_limit(frozen):
            work()

        def test_window(frozen, energy):
            with energy.window("train") as w:
                work()
            assert (round(w.joules), w.valid) == (165, True)
        """
    )

    began = datetime.now(timezone.utc)
    result = pytester.runpytest_subprocess("--energy-json=run.json", "--energy-history=history")

    result.assert_outcomes(passed=2)
    assert " in 0 s" not in result.stdout.str()
    document = json.loads((pytester.path / "run.json").read_text())
    for verdict in document["verdicts"]:
        (window,) = verdict["windows"]
        assert 1e-4 < window["seconds"] < 60
        assert window["started"] == pytest.approx(began.timestamp(), abs=120)
    (record,) = (pytester.path / "history").rglob("*.json")
    date = datetime.fromisoformat(json.loads(record.read_text())["date"])
    assert abs(date - began) < timedelta(seconds=120)


@pytest.mark.fault(
    "clocks",
    "clocks are frozen while a baseline is recorded",
    "its date is the real one",
)
@STOPPED
def test_a_baseline_is_dated_when_it_was_recorded(
    pytester: pytest.Pytester, spending: Path, conftest: str, package: str
) -> None:
    pytest.importorskip(package)
    pytester.makeconftest(conftest)
    pytester.makepyfile(
        """
        from gated import Run

        def test_gated(frozen, energy_gate):
            energy_gate.check("joules_per_token", Run("mine/model"))
        """
    )

    result = pytester.runpytest_subprocess("--energy-update=new", "--energy-tokens=1000")

    assert result.ret == 0
    text = (pytester.path / "baselines" / "h200.toml").read_text()
    assert f"date = {datetime.now(timezone.utc):%Y-%m-}" in text


@pytest.mark.fault(
    "clocks",
    "clocks stand still while a message is waited for",
    "the wait ends in time",
)
def test_a_message_is_waited_for_no_longer_than_asked(
    stopped: AbstractContextManager[object],
) -> None:
    ours, theirs = multiprocessing.Pipe()
    with stopped:
        assert Channel(ours).receive(0.05) is None
    theirs.close()


def test_a_process_is_waited_for_no_longer_than_asked(
    stopped: AbstractContextManager[object], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    folder = tmp_path / "child"
    folder.mkdir()
    child = ChildProcess(command, folder, environment={})
    with stopped:
        assert child.wait(0.05) is None
        stop_all([child], 0.05, 0.025)


@pytest.mark.fault(
    "clocks",
    "clocks stand still while a device is waited for",
    "the wait ends in time",
)
def test_a_device_is_waited_for_no_longer_than_asked(
    stopped: AbstractContextManager[object], held_elsewhere: str
) -> None:
    with (
        stopped,
        pytest.raises(EnergyError, match=r"waited 0\.05 s"),
        device_lock([held_elsewhere], 0.05, print),
    ):
        pass


@pytest.fixture
def held_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A device that another process meters."""
    monkeypatch.setenv("PYTEST_ENERGY_LOCKS", str(tmp_path / "locks"))
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_hold, args=("GPU-0000-held", theirs))
    process.start()
    ours.recv()
    yield "GPU-0000-held"
    ours.send("enough")
    process.join()


def _hold(uuid: str, connection: multiprocessing.connection.Connection) -> None:
    with device_lock([uuid], 5.0, print):
        connection.send("held")
        connection.recv()


def test_figures_of_no_time_are_no_error() -> None:
    assert quantity(ratio(165.0, 0.0), "W") == "nan W"
