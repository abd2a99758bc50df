"""How a verdict may come out, and how joules may be known."""

from __future__ import annotations

from typing import Literal

Method = Literal["counter", "integrated", "modelled", "external"]


Outcome = Literal["within", "regression", "improvement", "inconclusive", "invalid", "missing"]
