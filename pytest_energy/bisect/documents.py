"""From the document of a probe's run to what the probe found, kept for a search that goes on."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.ab.revisions import attempt
from pytest_energy.bisect import Finding, Probe
from pytest_energy.documents import FaultyDocumentError, other_schema, parse_json
from pytest_energy.errors import EnergyError
from pytest_energy.files import digest_of, read_bytes, write_atomically
from pytest_energy.outcomes import NO_EVIDENCE, WORST_FIRST
from pytest_energy.results import RunRecord, VerdictRecord
from pytest_energy.results.json_codec import as_json, from_json

BROKEN = "broken"
_REAL = "joules_per_real_token"
_FIGURES = ("joules_per_token", _REAL)


@dataclass(frozen=True)
class Figure:
    """The figure that a search follows, by what all its runs call it; `metric` is its scale."""

    id: str
    nodeid: str
    metric: str
    others: tuple[str, ...] = ()
    """Tests with other figures, which need not run again."""


def choose_figure(record: RunRecord, wanted: str | None, said: str, commit: str) -> Figure:
    """The figure of a run that has changed most, or the one that is `wanted`, by its id.

    Raises `EnergyError` if the run of a `commit` has none; `said` is the error that it printed
    last.
    """
    own = [each for each in record.verdicts if each.metric in _FIGURES]
    if wanted is not None:
        chosen = [each for each in own if wanted in (each.id, each.nodeid)]
        # What could not be compared is called by its test; it may be the one.
        chosen = chosen or [each for each in own if each.comparison is None]
        if not chosen:
            known = ", ".join(f"`{each.id}`" for each in own) or "none"
            raise EnergyError(f"`--figure={wanted}` is not among the figures of the run: {known}")
    else:
        chosen = own
    if not chosen:
        if said:
            raise EnergyError(
                f"pytest came to no J/token in `{commit[:9]}`: {said}; mend that, or name an end "
                f"in which the tests run"
            )
        raise EnergyError(
            f"the tests that were named gate no J/token in `{commit[:9]}`, so that there is "
            f"nothing to follow; name one that checks `joules_per_token` after `--`"
        )
    worst = min(chosen, key=_severity)
    # pytest deselects by how a name begins, and may not deselect this one.
    others = {v.nodeid for v in record.verdicts if not worst.nodeid.startswith(v.nodeid)}
    return Figure(worst.id, worst.nodeid, worst.metric, tuple(sorted(others)))


def _severity(record: VerdictRecord) -> tuple[bool, int, float]:
    measured = record.comparison is not None
    return not measured, WORST_FIRST.index(record.outcome), -abs(record.change or 0.0)


def finding_of(probe: Probe, record: RunRecord, figure: Figure, said: str) -> Finding:
    """What a probe found of a figure; a broken finding says why there is nothing.

    `said` is the error that the run printed last, if it printed any.
    """
    own = [each for each in record.verdicts if each.id == figure.id and each.metric in _FIGURES]
    # What could not be compared is called by its test: no run has told the figure's name.
    own += [each for each in record.verdicts if each.nodeid == figure.nodeid]
    if not own:
        return Finding(probe, BROKEN, reason=said or f"it has no figure `{figure.id}`")
    verdict = own[0]
    pairs = _pairs(verdict, figure.metric)
    if not pairs or verdict.outcome in NO_EVIDENCE:
        return Finding(probe, BROKEN, reason=verdict.reason)
    return Finding(
        probe,
        verdict.outcome,
        pairs,
        figure.metric,
        verdict.reason,
        verdict.explanation,
        _device(record),
        verdict.profile,
    )


def was_disturbed(record: RunRecord, figure: Figure) -> bool:
    """Whether windows were measured and were no evidence, which another time they may be."""
    return any(v.id == figure.id and v.outcome == "invalid" and v.windows for v in record.verdicts)


def _pairs(verdict: VerdictRecord, metric: str) -> tuple[tuple[float, float], ...]:
    """The pairs of J/token, or of J/real token, whichever of the two the gate has judged."""
    comparison = verdict.comparison
    if comparison is None:
        return ()
    base, head = comparison.base.padding_overhead or 1.0, comparison.head.padding_overhead or 1.0
    if verdict.metric == metric:
        base = head = 1.0
    elif metric != _REAL:
        base, head = 1 / base, 1 / head
    return tuple((old * base, new * head) for old, new in comparison.pairs)


def _device(record: RunRecord) -> str:
    found = record.hardware.get("devices", ())
    devices = [str(each.get("uuid") or each.get("name")) for each in found]
    return " ".join([str(record.hardware.get("key", "")), *devices])


def same_device(finding: Finding, earlier: Sequence[Finding]) -> Finding:
    """The finding, if it is of the device that the earlier ones are of; else `EnergyError`."""
    known = next((each.device for each in earlier if each.device), finding.device)
    if finding.device and known != finding.device:
        raise EnergyError(
            f"this search began on `{known}`, and this is `{finding.device}`: levels of two "
            f"devices do not compare; go on there, or begin anew with `--again`"
        )
    return finding


SCHEMA = 1
_FOLDER = "pytest-energy"
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class _Document:
    schema: int
    figure: Figure | None
    findings: tuple[Finding, ...]


class Kept:
    """The findings of one search, by what it was asked, in a file of git's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.figure: Figure | None = None
        self.findings: list[Finding] = []

    @classmethod
    def of(cls, key: object, folder: Path, *, again: bool) -> Kept:
        """What was kept of a search by its `key` on this machine; nothing if it begins `again`.

        It is in git's folder, outside of a repository in that of pytest's cache.
        """
        common = attempt(folder, "rev-parse", "--git-common-dir")
        place = folder / (common or ".pytest_cache/d") / _FOLDER
        name = f"bisect-{digest_of([platform.node(), key])}.json"
        kept = cls(place.resolve() / name)
        if not again and kept.path.exists():
            kept._read()
        return kept

    def keep(self, finding: Finding) -> None:
        """Add what was just found."""
        self.findings.append(finding)
        self.write()

    def write(self) -> None:
        """Write all of it; raises `EnergyError` if that fails."""
        document = _Document(SCHEMA, self.figure, tuple(self.findings))
        try:
            write_atomically(self.path, json.dumps(as_json(document), indent=1) + "\n")
        except OSError as error:
            raise EnergyError(
                f"`{self.path}`, which keeps what was measured, cannot be written "
                f"({error.strerror}); make it writable for you"
            ) from None

    def answer(self, probe: Probe, measure: Callable[[Probe], Finding]) -> Finding:
        """What is kept of a probe, or else what `measure` finds."""
        known = (each for each in self.findings if _asked(each.probe) == _asked(probe))
        return next(known, None) or measure(probe)

    def _read(self) -> None:
        try:
            parsed = parse_json(read_bytes(self.path, _MOST_BYTES))
            schema = parsed.get("schema") if isinstance(parsed, dict) else None
            if schema not in (None, SCHEMA):
                other = other_schema(schema, SCHEMA, "measure anew")
                raise FaultyDocumentError(f"has schema {other}")
            document = from_json(_Document, parsed)
        except (EnergyError, FaultyDocumentError, TypeError) as error:
            raise EnergyError(
                f"`{self.path}`, which keeps what was measured, cannot be read ({error}); begin "
                f"anew with `--again`"
            ) from None
        self.figure, self.findings = document.figure, list(document.findings)


def _asked(probe: Probe) -> tuple[str, str, str, int]:
    """Levels are left out: of the same commits in the same turn they follow from the findings."""
    return probe.commit, probe.against, probe.purpose, probe.attempt
