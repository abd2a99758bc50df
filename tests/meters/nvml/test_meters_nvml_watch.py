"""Who watches over windows is watched: threads that end or hang, and queries that fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metered import metered
from sim import SimulatedGpu, environment, run_python

FAST = SimulatedGpu(tick_seconds=0.05)
POWER = SimulatedGpu(tick_seconds=None)
END_THREAD = """
import ctypes, threading
if len(results) == 1:
    (thread,) = [t for t in threading.enumerate() if t.name == {name!r}]
    raised = ctypes.py_object(SystemExit)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), raised)
    thread.join()
time.sleep(0.2)
"""


@pytest.mark.fault(
    "NVML",
    "the thread that looks for faults, or the one that reads power, ends",
    "`not watched` from then on",
)
@pytest.mark.parametrize(
    ("gpu", "name", "what"),
    [
        (FAST, "pytest-energy-monitor", "the thread that looks for faults"),
        (POWER, "pytest-energy-monitor", "the thread that looks for faults"),
        (POWER, "pytest-energy-power", "the thread that reads the power of `gpu:0`"),
    ],
)
def test_windows_are_invalid_from_the_end_of_a_thread_on(
    gpu: SimulatedGpu, name: str, what: str, tmp_path: Path
) -> None:
    found = metered([gpu], tmp_path, END_THREAD.format(name=name), windows=3)

    assert found[0].invalid_reason is None
    ended = f"not watched: {what} has ended (SystemExit)"
    assert [ended in str(window.invalid_reason) for window in found[1:]] == [True, True]


@pytest.mark.fault(
    "NVML",
    "a query of the driver hangs",
    "`not watched`",
)
def test_a_thread_that_hangs_makes_windows_invalid(tmp_path: Path) -> None:
    block = """
        sim.command("hang nvmlDeviceGetTemperature 4.5")
        time.sleep(3.8)
        sim.command("hang nvmlDeviceGetTemperature 0")
    """
    (found,) = metered([FAST], tmp_path, block)

    assert "not watched: the thread that looks for faults is held up" in str(found.invalid_reason)


def test_what_held_the_thread_up_before_a_window_is_not_its_fault(tmp_path: Path) -> None:
    block = """
        if len(results) == 0:
            sim.command("hang nvmlDeviceGetTemperature 3.6")
            time.sleep(0.5)
            sim.command("hang nvmlDeviceGetTemperature 0")
            time.sleep(3.6)
        else:
            time.sleep(0.2)
    """
    found = metered([FAST], tmp_path, block, windows=2)

    assert "not watched: nobody looked at the cards for 4 s" in str(found[0].invalid_reason)
    assert found[1].invalid_reason is None


AFTER_A_STALL = """
import ctypes, json, time
from pytest_energy import open_meter, window

meter = open_meter("nvml")
ctypes.PyDLL(None).usleep(3_300_000)  # keeps the interpreter to itself
found = []
for _ in range(8):
    with window(meter, "work") as w:
        time.sleep(0.03)
    found.append(w.invalid_reason)
print(json.dumps(found))
"""


def test_what_held_up_all_threads_before_a_window_is_not_its_fault(tmp_path: Path) -> None:
    found = json.loads(run_python(AFTER_A_STALL, environment([FAST], tmp_path)))

    assert len(found) == 8
    assert not [reason for reason in found if str(reason).startswith("not watched")]


@pytest.mark.fault(
    "NVML",
    "a card without a counter gives no power for over a second",
    "`not watched`; 0.2 s are bridged",
)
def test_power_that_is_not_read_for_long_makes_windows_invalid(tmp_path: Path) -> None:
    block = """
        sim.command("error nvmlDeviceGetFieldValues 999")
        time.sleep({})
        sim.command("error nvmlDeviceGetFieldValues 0")
        time.sleep(0.1)
    """
    (found,) = metered([POWER], tmp_path, block.format(1.2))
    assert "not watched: `gpu:0` gave no power reading for 1." in str(found.invalid_reason)

    (found,) = metered([POWER], tmp_path, block.format(0.2))
    assert found.invalid_reason is None
    assert abs(found.error) < 0.02


OPTIONAL = (
    "Temperature",
    "FieldValues",
    "PowerUsage",
    "ClockInfo",
    "MaxClockInfo",
    "ApplicationsClock",
    "EnforcedPowerLimit",
    "CurrentClocksEventReasons",
    "ComputeRunningProcesses_v3",
)


@pytest.mark.fault(
    "NVML",
    "all optional queries fail within a window, with four different errors",
    "valid, and what is not known is said",
)
@pytest.mark.parametrize("code", [10, 25, 26, 999])
def test_optional_queries_that_fail_cost_their_field_alone(code: int, tmp_path: Path) -> None:
    fail = [f"sim.command('error nvmlDeviceGet{query} {{}}')" for query in OPTIONAL]
    block = "\n".join(
        ["time.sleep(0.1)", *(line.format(code) for line in fail), "time.sleep(0.4)"]
        + [line.format(0) for line in fail]
    )

    found = metered([FAST], tmp_path, block, windows=2)

    assert [window.invalid_reason for window in found] == [None, None]
    assert {window.method for window in found} == {"counter"}
    told = [remark for remark in found[-1].remarks if "does not always tell" in remark]
    assert len(told) == 3
    assert "which processes compute on it, so a foreign process may go unseen" in " ".join(told)


@pytest.mark.fault(
    "NVML",
    "the counter's query fails for a while",
    "`device lost` in that window alone",
)
def test_a_counter_that_fails_costs_the_window_it_fails_in(tmp_path: Path) -> None:
    block = """
        time.sleep(0.1)
        if len(results) == 1:
            sim.command("error nvmlDeviceGetTotalEnergyConsumption 999")
            time.sleep(0.4)
            sim.command("error nvmlDeviceGetTotalEnergyConsumption 0")
        time.sleep(0.1)
    """
    found = metered([FAST], tmp_path, block, windows=3)

    assert [window.invalid_reason is None for window in found] == [True, False, True]
    assert "device lost: `gpu:0`" in str(found[1].invalid_reason)
    assert abs(found[2].error) < 0.02


STRANGER = """
import ctypes, os, subprocess, sys, time
code = "import ctypes, time; ctypes.CDLL(None).prctl(15, {name}); print(flush=True); time.sleep(20)"
if os.fork() == 0:
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child.stdout.readline()
    print(child.pid, flush=True)
    os._exit(0)
os.wait()
"""
"""Starts a program of that name that is nobody's descendant any more, and prints its id."""


@pytest.mark.attack(
    "text",
    "a process on the card is named like a CI command",
    "shown on one line",
)
@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"trainer", "`trainer` "), (b"caf\xc3", "`caf?` "), (b"x\n::error::y", "`x\\n::error::y` ")],
)
def test_a_foreign_process_is_named_by_its_program(name: bytes, shown: str, tmp_path: Path) -> None:
    script = tmp_path / "stranger.py"
    script.write_text(STRANGER.format(name=name).replace("\\", "\\\\"))
    block = f"""
        started = subprocess.run([sys.executable, {str(script)!r}], stdout=subprocess.PIPE)
        sim.command(f"process {{int(started.stdout)}} now never")
        time.sleep(0.2)
        os.kill(int(started.stdout), 9)
    """
    (found,) = metered([FAST], tmp_path, block)

    assert f"foreign process: {shown}" in str(found.invalid_reason)
    assert "leave the card alone while it is metered" in str(found.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "the driver names a process id that no process can have",
    "an unknown program, with what may be the cause",
)
def test_an_impossible_id_is_an_unknown_program(tmp_path: Path) -> None:
    block = "sim.command('process 4294967295 now never')\ntime.sleep(0.2)"

    (found,) = metered([FAST], tmp_path, block)

    assert "foreign process: unknown program (the driver does not say which)" in str(
        found.invalid_reason
    )
    assert "do not use MPS" in str(found.invalid_reason)
    assert "4294967295" not in str(found.invalid_reason)


@pytest.mark.fault(
    "NVML",
    "a laptop's power limit moves by itself",
    "`power limit changed`, with what may be the cause",
)
def test_a_power_limit_that_moves_is_no_clock_jump(tmp_path: Path) -> None:
    block = "time.sleep(0.1)\nsim.command('limit 80.5 now')\ntime.sleep(0.5)"
    gpu = SimulatedGpu("constant 60", 0.05, lines=("limit 95 0",))

    (found,) = metered([gpu], tmp_path, block)

    reason = str(found.invalid_reason)
    assert reason.startswith("power limit changed: that of `gpu:0` went from 95 W to 80.5 W")
    assert "Dynamic Boost" in reason
    assert "clock jump" not in reason
