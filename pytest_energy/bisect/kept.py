"""What a search has measured, kept in git's own folder, so that an interrupted one goes on."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.ab.revisions import attempt
from pytest_energy.bisect import Finding, Probe
from pytest_energy.bisect.documents import Figure
from pytest_energy.documents import FaultyDocumentError, parse_json
from pytest_energy.errors import EnergyError
from pytest_energy.files import digest_of, read_bytes, write_atomically
from pytest_energy.results.json_codec import as_json, from_json

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

    @property
    def is_new(self) -> bool:
        """Whether nothing was measured before."""
        return not self.findings

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

    def keep(self, figure: Figure | None, finding: Finding) -> None:
        """Add what was just found."""
        self.figure = figure
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
        for finding in self.findings:
            if _asks_the_same(finding.probe, probe):
                return finding
        return measure(probe)

    def _read(self) -> None:
        try:
            document = from_json(_Document, parse_json(read_bytes(self.path, _MOST_BYTES)))
            if document.schema != SCHEMA:
                raise FaultyDocumentError(f"has schema {document.schema}")
        except (EnergyError, FaultyDocumentError, TypeError) as error:
            raise EnergyError(
                f"`{self.path}`, which keeps what was measured, cannot be read ({error}); begin "
                f"anew with `--again`"
            ) from None
        self.figure, self.findings = document.figure, list(document.findings)


def _asks_the_same(kept: Probe, probe: Probe) -> bool:
    """Levels are left out: of the same commits in the same turn they follow from the findings."""
    mine, other = (
        (each.commit, each.against, each.purpose, each.attempt) for each in (kept, probe)
    )
    return mine == other
