"""What the page needs besides the core: said before anything is measured for it."""

from __future__ import annotations

from importlib.util import find_spec

from pytest_energy.errors import EnergyError

LIBRARIES = ("jinja2", "plotly")


def require_page_libraries(what: str) -> None:
    """Raise `EnergyError` with the command that installs what a page needs, where it is missing."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise EnergyError(
            f"`{what}` needs {' and '.join(missing)}, which {_are(missing)} not installed: "
            f"`pip install 'pytest-energy[report]'`"
        )


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
