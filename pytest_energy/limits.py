"""A limit on the joules of a whole test: `@pytest.mark.energy(max_joules=…)`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pytest_energy import policy
from pytest_energy.fixtures import report, user_errors
from pytest_energy.metering import Window, window
from pytest_energy.records import measured
from pytest_energy.session import EnergySession
from pytest_energy.validity import TOO_SHORT


@contextmanager
def limited(session: EnergySession, item: pytest.Item, max_joules: float) -> Iterator[None]:
    """Meter a test's call and end it as the limit says; a test that fails keeps its own reason."""
    with user_errors(), session.metered():
        with window(session.meter, item.name) as opened:
            yield
        used = opened.record
        outcome = judge(used, max_joules)
        what = f"used {used.joules:.4g} J"
        if outcome == "invalid":
            what = f"was not measured: {used.invalid_reason}"
        how = " (modelled, not measured)" if used.method == "modelled" else ""
        record = replace(
            measured(item.nodeid, used),
            id=item.name,
            outcome=outcome,
            reason=f"`{item.name}` {what}; allowed are {max_joules:g} J{how}",
        )
        # The person who wrote the limit meant it, on modelled joules too.
        record = replace(policy.judged(record, session.config), local=False)
        if outcome == "regression":
            record = replace(record, fails=True)
    report(session, item, record)


def judge(used: Window, max_joules: float) -> str:
    """`within`, `regression`, or `invalid` where the joules cannot tell.

    Few joules are known coarsely only; that is enough where the limit is far from them.
    """
    doubt = 0.0
    if not used.valid:
        if not (used.invalid_reason or "").startswith(TOO_SHORT):
            return "invalid"
        doubt = used.uncertainty_joules
    if used.joules + doubt <= max_joules:
        return "within"
    return "regression" if used.joules - doubt > max_joules else "invalid"
