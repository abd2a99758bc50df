"""Whether a side has imported code of the other side's tree, past its own path."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType

_INSTALLED = ("site-packages", "dist-packages")


def foreign_module(
    folder: str, modules: Mapping[str, ModuleType], prefix: str = sys.prefix
) -> tuple[str, str] | None:
    """(name, file) of a module that was imported from below a folder; None where there is none.

    What is installed there does not count: a virtual environment in the checkout serves both.
    """
    below = os.path.join(folder, "")
    environment = os.path.join(os.path.realpath(prefix), "")
    if os.path.join(os.path.realpath(os.getcwd()), "").startswith(below):
        return None  # the side's own tree lies in it, and nothing tells whose a file is
    for name, module in list(modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.startswith(below):
            continue
        installed = any(part in _INSTALLED for part in file.split(os.sep))
        if not installed and not file.startswith(environment):
            return name, file
    return None
