"""What a hardware's file has stored and a run has not measured; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from pytest_energy.baselines import Baseline, Entry
from pytest_energy.results import NotMeasured, VerdictRecord


def not_measured(
    stored: Baseline | None, verdicts: Iterable[VerdictRecord]
) -> tuple[NotMeasured, ...]:
    """The stored figures without a verdict, each with the new one that it may have become."""
    known = stored.entries if stored is not None else {}
    found = {(verdict.stored_metric, verdict.id): verdict for verdict in verdicts}
    missing = [e for key, e in known.items() if e.sessions and key not in found]
    new = [v for key, v in found.items() if key not in known and v.metric != "joules"]
    rows = []
    for entry in missing:
        renamed = _renamed(entry, new, alone=len(missing) == 1)
        new = [verdict for verdict in new if verdict is not renamed]
        rows.append(NotMeasured(entry.metric, entry.id, renamed.id if renamed else None))
    return tuple(rows)


def _renamed(entry: Entry, new: Sequence[VerdictRecord], *, alone: bool) -> VerdictRecord | None:
    """The new figure of the same work, else of the closest name, else the only one there is."""
    like = {verdict.id: verdict for verdict in new if verdict.stored_metric == entry.metric}
    for verdict in like.values():
        if entry.workload is not None and verdict.workload == entry.workload:
            return verdict
    if alone and len(like) == 1:
        return next(iter(like.values()))
    close = get_close_matches(entry.id, like, n=1)
    return like[close[0]] if close else None
