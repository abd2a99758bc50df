"""`python -m pytest_energy`: the command `pytest-energy` without its script."""

from __future__ import annotations

import sys

from pytest_energy.cli import main

if __name__ == "__main__":
    sys.exit(main())
