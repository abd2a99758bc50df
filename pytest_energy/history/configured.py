"""The history that the pytest configuration of a folder names."""

from __future__ import annotations

import configparser
import sys
from pathlib import Path

from pytest_energy.errors import EnergyError
from pytest_energy.history.store import HistoryError

_NAME = "energy_history"
# In pytest's own order; the sections that it reads of each file.
_FILES = {
    "pytest.toml": ("pytest",),
    ".pytest.toml": ("pytest",),
    "pytest.ini": ("pytest",),
    ".pytest.ini": ("pytest",),
    "pyproject.toml": ("tool.pytest", "tool.pytest.ini_options"),
    "tox.ini": ("pytest",),
    "setup.cfg": ("tool:pytest",),
}


def configured_url(folder: Path, wanted: str) -> str:
    """`energy_history` of the nearest configuration that has it, from a folder upwards.

    A relative path counts from its file. Raises `EnergyError` that names `wanted` where none has.
    """
    for place in (folder, *folder.parents):
        for name, sections in _FILES.items():
            path = place / name
            found = _value(path, sections) if path.is_file() else None
            if found:
                plain = "://" not in found and "::" not in found
                return str(place / Path(found).expanduser()) if plain else found
    raise HistoryError(
        f"no history is named: give {wanted}, or set `{_NAME}` in the pytest configuration"
    )


def _value(path: Path, sections: tuple[str, ...]) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
        return _toml(text, sections) if path.suffix == ".toml" else _ini(text, sections)
    except (OSError, ValueError, configparser.Error) as error:
        raise EnergyError(f"`{path}` cannot be read: {error}; mend it") from None


def _toml(text: str, sections: tuple[str, ...]) -> str | None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    document = tomllib.loads(text)
    for section in sections:
        table = document
        for part in section.split("."):
            table = table.get(part, {})
        if isinstance(table.get(_NAME), str):
            return str(table[_NAME])
    return None


def _ini(text: str, sections: tuple[str, ...]) -> str | None:
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string(text)
    return next((v for s in sections if (v := parser.get(s, _NAME, fallback=None))), None)
