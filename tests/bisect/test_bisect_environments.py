"""A bisection between two environments: by copies of one with packages exchanged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from ab_support import ledger_repository
from pytest_energy.bisect import Probe
from pytest_energy.bisect.environments import (
    EnvironmentGround,
    Exchange,
    Inventory,
    Package,
    exchanges,
    graph_of,
    inventory,
)
from pytest_energy.bisect.probing import NotThereError
from pytest_energy.cli import main
from pytest_energy.errors import EnergyError

pytest.importorskip("uv", reason="uv is of the extra `dev`")

VERSIONS = {"aaa": ("1.0", "1.1"), "cost": ("2.0", "2.1"), "zzz": ("3.0", "3.1")}


WHEEL = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any"


def wheel(folder: Path, name: str, version: str, text: str) -> None:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"{WHEEL}\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, content)


def uv(variables: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "uv", *arguments],
        check=True,
        env={**os.environ, **variables},
        capture_output=True,
    )


class Environments:
    """Two environments with three packages each, which find all else where we run."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.variables = {
            "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(self.wheels), "UV_LINK_MODE": "copy",
            "UV_CACHE_DIR": str(folder / "uv-cache"),
            "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels),
        }  # fmt: skip
        for name, versions in VERSIONS.items():
            for version, joules in zip(versions, (0.005, 0.0055), strict=True):
                wheel(self.wheels, name, version, f"JOULES = {joules}\n")
        self.good, self.bad = (self._made(folder, name, n) for n, name in enumerate(("old", "new")))

    def _made(self, folder: Path, name: str, number: int) -> Path:
        place = folder / name
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
        (site,) = place.glob("lib/python*/site-packages")
        theirs = [path for path in sys.path if path.endswith("site-packages")]
        here = str(Path(__file__).parents[2])  # a folder of theirs does not bring editable ones in
        (site / "theirs.pth").write_text("\n".join([here, *theirs]) + "\n")
        python = place / "bin" / "python"
        wanted = [f"{name}=={versions[number]}" for name, versions in VERSIONS.items()]
        uv(self.variables, "pip", "install", "--python", str(python), *wanted)
        return python


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environments:
    made = Environments(tmp_path)
    for name, text in made.variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return made


def joules_of(python: str, name: str) -> str:
    code = f"import {name}; print({name}.JOULES)"
    return subprocess.check_output([python, "-c", code], text=True).strip()


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_copies_with_packages_exchanged(
    both: Environments, monkeypatch: pytest.MonkeyPatch, installer: str
) -> None:
    if installer == "pip":
        pytest.importorskip("pip")
        monkeypatch.setenv("PATH", "/nowhere")
    good = inventory(both.good)
    found = exchanges(good, inventory(both.bad))
    assert [each.text for each in found] == ["aaa 1.0 -> 1.1", "cost 2.0 -> 2.1", "zzz 3.0 -> 3.1"]
    assert list(graph_of(found).parents) == ["+aaa", "+cost", "bad"]
    ground = EnvironmentGround(both.good, both.bad, good.prefix, found)

    with ExitStack() as made:
        where = ground.where(Probe("+cost", "good", "search", 0.01, 0.04, 6), made)

    assert where.reference == f"python:{both.good}"
    assert [joules_of(where.python, name) for name in VERSIONS] == ["0.0055", "0.0055", "0.005"]
    assert {joules_of(str(both.good), name) for name in VERSIONS} == {"0.005"}
    ground.close()
    assert not Path(where.python).exists()


def test_what_cannot_be_installed_is_a_broken_environment(both: Environments) -> None:
    (both.wheels / "cost-2.1-py3-none-any.whl").unlink()
    good = inventory(both.good)
    found = exchanges(good, inventory(both.bad))
    ground = EnvironmentGround(both.good, both.bad, good.prefix, found)

    with ExitStack() as made, pytest.raises(NotThereError, match=r"cost==2\.1 cannot be installed"):
        ground.where(Probe("+cost", "good", "search", 0.01, 0.04, 6), made)
    ground.close()


def has(local: bool = False, own: bool = True, python: str = "3.12", **versions: str) -> Inventory:
    needs = {"transformers": ("tokenizers",), "tokenizers": ("hub",)}
    packages = {n: Package(v, local, needs.get(n, ())) for n, v in versions.items()}
    return Inventory(packages, "/somewhere", own, python)


def test_what_a_package_needs_is_exchanged_before_it() -> None:
    old = has(hub="1", tokenizers="1", transformers="1", same="1", gone="1", pip="1")
    new = has(hub="2", tokenizers="2", transformers="2", same="1", come="1", pip="2")

    found = exchanges(old, new)

    assert [each.name for each in found] == ["come", "gone", "hub", "tokenizers", "transformers"]
    assert found[:2] == [Exchange("come", None, "1"), Exchange("gone", "1", None)]


def needing(**packages: tuple[str, ...]) -> Inventory:
    """An environment of packages by version and requirements."""
    found = {name: Package(each[0], False, each[1:]) for name, each in packages.items()}
    return Inventory(found, "/somewhere", True, "3.12")


def test_what_works_only_together_is_exchanged_together() -> None:
    old = needing(
        hub=("2.4", "http>=2", "h11"),
        http=("2.16",),
        tokenizers=("0.23", "hub>=2"),
        transformers=("5.23", "hub<3,>=2", "tokenizers<0.24,>=0.23", "extra; extra == 'all'"),
        other=("1", "hub"),
    )
    new = needing(
        hub=("0.36",),
        tokenizers=("0.19", "hub<1,>=0.16"),
        transformers=("4.40", "hub<1", "tokenizers<0.20,>=0.19"),
        other=("2", "hub", "this is = no requirement"),
    )

    found = exchanges(old, new)

    assert [each.text for each in found] == [
        "other 1 -> 2",
        "transformers 5.23 -> 4.40 (with hub 2.4 -> 0.36, tokenizers 0.23 -> 0.19)",
        "http 2.16 -> none",
    ]
    assert list(graph_of(found).parents) == ["+other", "+transformers", "bad"]
    assert [each.name for each in found[1].all] == ["hub", "tokenizers", "transformers"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (has(a="1"), has(a="1"), "the same packages"),
        (has(a="1"), has(a="2", python="3.13"), "is Python 3.12 and `--python-bad` is 3.13"),
        (has(a="1", own=False), has(a="2"), "is no virtual environment"),
        (has(a="1"), has(a="2", local=True), "`a` differs and was installed from a folder"),
    ],
)
def test_environments_that_no_exchange_joins(old: Inventory, new: Inventory, told: str) -> None:
    with pytest.raises(EnergyError, match=told):
        exchanges(old, new)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--python-good", "x"], "belong together"),
        (["--python-good", "x", "--python-bad", "y", "--good", "z"], "revisions stay as they are"),
        (["--python-good", "/bin/false", "--python-bad", "y"], "does not answer as a Python"),
        (["--python-good", "/no/such", "--python-bad", "y"], "does not answer as a Python"),
    ],
)
def test_bad_input(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert main(["bisect", *arguments]) == 4
    assert told in capsys.readouterr().err


def test_the_package_that_costs_it_is_named(both: Environments, tmp_path: Path) -> None:
    made = ledger_repository(tmp_path / "made")
    made.change("project", "JOULES = 0.005", "from cost import JOULES")
    made.commit("by a package")

    done = subprocess.run(
        [sys.executable, "-m", "pytest_energy", "bisect", "--python-good", str(both.good),
         "--python-bad", str(both.bad), "--json", "../out.json",
         "--", "-p", "pytest_energy.plugin", "test_mine.py"],
        cwd=made.path,
        env={**made.variables, **both.variables, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "made" / "out.json").read_text())
    (found,) = told["culprits"]
    assert found["subject"] == "cost 2.0 -> 2.1"
    assert found["estimate"]["low"] < 0.1 < found["estimate"]["high"]
    assert "found 1 package in good..bad" in done.stdout
    assert made.worktrees() == ["1 listed"]
