"""The same code under another interpreter."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

import pytest_energy
from ab_support import Repository, ledger_repository
from pytest_energy.ab.side_place import find_interpreter, lend_package
from pytest_energy.errors import EnergyError

OLDER = "5.20.0"
PYTEST_NEEDS = (
    "pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "tomli",
    "exceptiongroup", "typing_extensions",
)  # fmt: skip


def virtual_environment(folder: Path) -> tuple[Path, Path]:
    """A virtual environment without any packages: its interpreter, and where they would be."""
    real = Path(os.path.realpath(sys.executable))
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(real)
    (folder / "pyvenv.cfg").write_text(f"home = {real.parent}\n")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    site = folder / "lib" / f"python{version}" / "site-packages"
    site.mkdir(parents=True)
    return python, site


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment with what this one has, and an older `transformers` by name."""
    python, site = virtual_environment(tmp_path / "older")
    info = site / "transformers-5.20.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {OLDER}\n")
    (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


@pytest.fixture
def bare_environment(tmp_path: Path) -> Path:
    """A virtual environment with pytest, what it needs itself, and nothing else."""
    python, site = virtual_environment(tmp_path / "bare")
    for name in PYTEST_NEEDS:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            package = Path(spec.origin)
            package = package.parent if package.name == "__init__.py" else package
            (site / package.name).symlink_to(package)
    return python


def test_another_interpreter_is_the_base_and_its_packages_are_named(
    tmp_path: Path, environment: Path
) -> None:
    pytest.importorskip("transformers")
    repository: Repository = ledger_repository(tmp_path / "work")
    package = Path(pytest_energy.__file__).parents[1]
    path = os.pathsep.join([repository.variables["PYTHONPATH"], str(package)])
    repository.variables["PYTHONPATH"] = path
    # What is not committed runs on both sides, since they differ in their interpreters alone.
    repository.change("project", "0.005", "0.006")
    report = repository.path.parent / "report.json"

    done = repository.pytest(f"--energy-compare=python:{environment}", f"--energy-json={report}")

    assert done.returncode == 0, done.stdout + done.stderr
    (verdict,) = json.loads(report.read_text())["verdicts"]
    comparison = verdict["comparison"]
    assert verdict["verdict"] == "within"
    assert verdict["value"] == pytest.approx(0.006, rel=0.01)
    assert f"transformers {OLDER} -> " in verdict["explanation"]
    assert comparison["kind"] == "interpreter"
    assert comparison["base"]["reference"] == comparison["reference"] == f"python:{environment}"
    assert comparison["base"]["environment"]["transformers"] == OLDER
    assert comparison["head"]["reference"] == f"python:{sys.executable}"


def test_a_base_needs_pytest_alone(tmp_path: Path, bare_environment: Path) -> None:
    repository: Repository = ledger_repository(tmp_path / "work")

    done = repository.pytest(f"--energy-compare=python:{bare_environment}")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "tomlkit" not in done.stdout
    assert "mine/model: within." in done.stdout


def test_a_package_is_lent_alone(tmp_path: Path) -> None:
    folder = Path(lend_package(tmp_path))

    assert [path.name for path in folder.iterdir()] == ["pytest_energy"]
    assert (folder / "pytest_energy" / "units.py").is_file()


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def answer(version: list[int], **found: bool) -> str:
    said = {"version": version, "pytest": True, "pytest_energy": False, "worker": False, **found}
    return f"echo '{json.dumps(said)}'"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("exit 3", "does not answer as a Python interpreter"),
        ("echo 5", "does not answer as a Python interpreter"),
        ("echo '{}'", "does not answer as a Python interpreter"),
        (r"printf '\377\n'", "does not answer as a Python interpreter"),
        ("truncate -s 512M /dev/stdout; sleep 60", "printed more than 256 MiB, so it was ended"),
        (answer([3, 9, 1]), r"is Python 3\.9\.1; a side needs 3\.10"),
        (answer([3, 12, 1], pytest=False), "lacks `pytest`, .* -m pip install pytest`"),
        (answer([3, 12, 1], pytest_energy=True), "knows no A/B; upgrade"),
    ],
)  # fmt: skip
def test_interpreters_that_cannot_run_a_side(tmp_path: Path, body: str, message: str) -> None:
    path = program(tmp_path / "python", body)

    with pytest.raises(EnergyError, match=message):
        find_interpreter(f"python:{path}", tmp_path)


def test_an_interpreter_without_our_package_is_lent_it(tmp_path: Path) -> None:
    path = program(tmp_path / "python", answer([3, 12, 1]))

    found = find_interpreter("python:python", tmp_path)

    assert (found.python, found.lends) == (str(path), True)


def test_a_folder_is_no_interpreter(tmp_path: Path) -> None:
    with pytest.raises(EnergyError, match="is no program; give the path of an interpreter"):
        find_interpreter(f"python:{tmp_path}", tmp_path)
