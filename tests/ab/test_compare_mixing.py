"""A side that imports the other side's code past its own path is found out."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from ab_support import ledger_repository
from pytest_energy.ab.side_place import foreign_module

# As an editable installation does it: a finder that maps a name to a place in the checkout.
FINDER = """
import sys
from importlib.machinery import PathFinder

class Editable:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return PathFinder.find_spec(name, [{folder!r}]) if name == "part" else None

sys.meta_path.append(Editable)
"""

TEST = """
from project import Run  # which imports the ledger, and with it the finder
import part

def test_mine(energy, energy_gate):
    energy_gate.check("joules_per_token", Run(energy.meter, joules=part.JOULES))
"""


@pytest.mark.fault(
    "neighbours",
    "the base of an A/B imports the head's code",
    "an error, not a pass",
)
def test_code_of_the_head_in_the_base_is_an_error_and_not_a_pass(tmp_path: Path) -> None:
    repository = ledger_repository(tmp_path)
    part = repository.path / "packages" / "part"
    part.mkdir(parents=True)
    (part / "part.py").write_text("JOULES = 0.005\n")
    with (tmp_path / "site" / "ledger.py").open("a") as ledger:
        ledger.write(FINDER.format(folder=str(part)))
    repository.write(test_mine=TEST)
    repository.commit()
    (part / "part.py").write_text("JOULES = 0.006\n")

    blind = repository.pytest("--energy-compare=HEAD")

    assert "1 failed" in blind.stdout, blind.stdout
    assert "not compared: the base (`HEAD (" in blind.stdout
    assert "runs code of the other side: `part` comes from" in blind.stdout

    ini = repository.path / "pytest.ini"
    ini.write_text(ini.read_text() + "pythonpath = packages/part\n")
    repository.git("stash", "--quiet", "--", "packages")
    repository.commit()
    repository.git("stash", "pop", "--quiet")

    seeing = repository.pytest("--energy-compare=HEAD")

    assert "against 5.000 mJ/token of the base, +20.0 %" in seeing.stdout, seeing.stdout


def module(file: str | None) -> ModuleType:
    made = ModuleType("x")
    if file is not None:
        made.__file__ = file
    return made


def test_what_is_installed_in_the_checkout_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    modules = {
        "builtin": module(None),
        "installed": module("/mine/.venv/lib/site-packages/a.py"),
        "environment": module("/mine/env/lib/b.py"),
        "elsewhere": module("/mine-too/c.py"),
    }

    assert foreign_module("/mine", modules, prefix="/mine/env") is None
    modules["changed"] = module("/mine/src/d.py")
    assert foreign_module("/mine", modules, prefix="/mine/env") == ("changed", "/mine/src/d.py")
    assert foreign_module(str(tmp_path), {"own": module(f"{tmp_path}/e.py")}) is None
