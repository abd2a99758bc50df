"""How a verdict may come out, how joules may be known, and what either is worth."""

from __future__ import annotations

from typing import Literal, get_args

Outcome = Literal["within", "regression", "improvement", "inconclusive", "invalid", "missing"]
"""What a gate decides; a record may also be `acknowledged`, `recorded` or `measured`."""

Method = Literal["counter", "integrated", "modelled", "external"]
"""How joules are known: counted by the device, power added up, from a model, by another device."""

METHODS: tuple[Method, ...] = get_args(Method)

WORST_FIRST = (
    "regression",
    "invalid",
    "improvement",
    "inconclusive",
    "missing",
    "acknowledged",
    "within",
    "recorded",
    "measured",
)
"""All outcomes by severity: of several verdicts on one figure the first is the figure's."""

EXPLAINED = (
    "regression",
    "acknowledged",
    "improvement",
    "inconclusive",
    "invalid",
    "missing",
)
"""Outcomes whose reason a person needs to read, in the order in which reports list them."""

DECIDED = ("regression", "improvement", "inconclusive", "missing")
"""Failed outcomes that stand if the test is run again; `invalid` windows decided nothing."""

NO_EVIDENCE = ("invalid", "missing")
"""Outcomes whose figures say nothing about the code."""

MOVED = ("regression", "improvement")
"""Outcomes of a figure that has changed by more than is allowed."""
