"""What a search has measured, kept in git's own folder, so that an interrupted one goes on."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pytest_energy.ab.revisions import git
from pytest_energy.bisect import Finding, Probe
from pytest_energy.bisect.commits import Ends
from pytest_energy.bisect.documents import Figure
from pytest_energy.bisect.probing import Asking
from pytest_energy.bisect.search import Asked
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
    def of(cls, ends: Ends, asked: Asked, asking: Asking, *, again: bool) -> Kept:
        """What was kept of the same search on this machine; nothing if it is to begin `again`."""
        common = Path(git(ends.toplevel, "rev-parse", "--git-common-dir"))
        key = digest_of(
            [
                platform.node(), ends.good, ends.bad, str(ends.inside), asked.change,
                asking.arguments, asking.figure,
            ]
        )  # fmt: skip
        kept = cls((ends.toplevel / common).resolve() / _FOLDER / f"bisect-{key}.json")
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
