"""CodeCarbon's package and process tree when they are broken, odd, or gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_energy import open_meter, window
from pytest_energy.errors import EnergyError
from sim import environment, run_python

OPEN = """
from pytest_energy import open_meter
from pytest_energy.errors import EnergyError
try:
    print(open_meter("codecarbon").name)
except EnergyError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('odd build')", "RuntimeError: odd build"),
        ("import a_package_that_is_not_there", "a_package_that_is_not_there"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(", "SyntaxError: "),
    ],
)
@pytest.mark.fault(
    "CodeCarbon",
    "CodeCarbon is installed and raises when it is imported",
    "the meter does not open, and says what was raised: not that it is not installed",
)
def test_a_package_that_is_broken(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "codecarbon").mkdir()
    (tmp_path / "codecarbon" / "__init__.py").write_text(text)
    variables = environment([], tmp_path / "gpu")
    variables["PYTHONPATH"] = f"{tmp_path}:{variables['PYTHONPATH']}"

    printed = run_python(OPEN, variables)

    assert printed.startswith("meter `codecarbon`")
    assert said in printed
    assert "not installed" not in printed


MODEL = """
class TDP:
    model, tdp = "odd", {tdp}
"""


@pytest.mark.parametrize("tdp", ["float('nan')", "-5", "float('inf')", "'many'"])
@pytest.mark.fault(
    "CodeCarbon",
    "CodeCarbon finds a power that no processor has: NaN, negative, endless, or a word",
    "the meter does not open, and says so",
)
def test_a_model_that_is_none(tmp_path: Path, tdp: str) -> None:
    pytest.importorskip("codecarbon")
    code = f"import codecarbon.core.cpu as cpu\n{MODEL.format(tdp=tdp)}cpu.TDP = TDP\n{OPEN}"

    printed = run_python(code, environment([], tmp_path))

    assert printed.startswith("meter `codecarbon`: CodeCarbon finds no model of this machine")


@pytest.mark.parametrize("named", ["-1", "12.5", "self", "9" * 25, "9" * 5000, "\u0661"])
@pytest.mark.fault(
    "CodeCarbon",
    "`PYTEST_ENERGY_PROCESS_ROOT` is negative, a word, or larger than any process id",
    "an error with its name, no traceback",
)
def test_a_root_that_cannot_be(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    pytest.importorskip("codecarbon")
    monkeypatch.setenv("PYTEST_ENERGY_PROCESS_ROOT", named)

    with pytest.raises(EnergyError, match="`PYTEST_ENERGY_PROCESS_ROOT=") as refused:
        open_meter("codecarbon")
    assert len(str(refused.value)) < 500


@pytest.mark.fault(
    "CodeCarbon",
    "the process whose tree is metered ends within a window",
    "the window is invalid, and names the process",
)
def test_a_root_that_ends_within_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("codecarbon")
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as root:
        monkeypatch.setenv("PYTEST_ENERGY_PROCESS_ROOT", str(root.pid))
        meter = open_meter("codecarbon")
        with window(meter, "work") as w:
            root.communicate(b"\n")
    meter.close()

    assert f"PYTEST_ENERGY_PROCESS_ROOT={root.pid}` is no process" in str(w.invalid_reason)
