"""The oldest packages that `pyproject.toml` allows are those that `make floors-lowest` tests."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

requirements = pytest.importorskip("packaging.requirements")
ROOT = Path(__file__).parents[2]


def _floors() -> list[tuple[str, str]]:
    """Each package that the project asks for, and its oldest version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [requirements.Requirement(each) for each in sum(extras, project["dependencies"])]
    return [
        (each.name, bound.version)
        for each in asked
        for bound in each.specifier
        if bound.operator == ">=" and (each.marker is None or each.marker.evaluate())
    ]


@pytest.mark.skipif(
    not sys.prefix.endswith("-lowest"), reason="this is not the set of the oldest packages"
)
@pytest.mark.parametrize(("package", "floor"), _floors())
def test_the_oldest_that_is_allowed_is_what_is_tested(package: str, floor: str) -> None:
    try:
        tested = metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip("of an extra that the set leaves out")
    assert f"{tested}.".startswith(f"{floor}."), f"raise the floor of `{package}` to {tested}"
