"""The commits between two revisions, read from git, as lines along which a level is looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_energy.ab.revisions import GitError, attempt, find_revision, git
from pytest_energy.errors import EnergyError
from pytest_energy.text import encodable

_FORMAT = "%H%x09%P%x09%cs%x09%s"


@dataclass(frozen=True)
class Commit:
    """A commit as a person knows it: its day and the first line of its message."""

    day: str
    subject: str


@dataclass(frozen=True)
class Ends:
    """Both ends as commits of a checkout; `inside` is where pytest runs, relative to its top."""

    toplevel: Path
    inside: Path
    good: str
    bad: str


def find_ends(good: str, bad: str, folder: Path) -> Ends:
    """The commits of `--good` and `--bad`; `EnergyError` if nothing lies between them."""
    first = find_revision(good, "--good", folder)
    last = find_revision(bad, "--bad", folder)
    top = first.toplevel
    if first.commit == last.commit:
        raise EnergyError(
            f"`--good={good}` and `--bad={bad}` are the same commit; name one before the change "
            f"and one after it"
        )
    if attempt(top, "merge-base", "--is-ancestor", first.commit, last.commit) is None:
        back = attempt(top, "merge-base", "--is-ancestor", last.commit, first.commit) is not None
        advice = (
            "it is the other way round: exchange them (and add `--change=-5` only if you look "
            "for an improvement)" if back
            else f"give a commit that `{bad}` comes from, such as `git merge-base {good} {bad}`"
        )  # fmt: skip
        raise EnergyError(f"`--good={good}` is no ancestor of `--bad={bad}`; {advice}")
    return Ends(top, first.inside, first.commit, last.commit)


def read_graph(ends: Ends) -> tuple[Graph, Mapping[str, Commit]]:
    """All commits that `bad` has and `good` has not, and `good` itself beside them."""
    try:
        between = git(
            ends.toplevel, "log", f"--format={_FORMAT}", "--no-show-signature",
            f"{ends.good}..{ends.bad}",
        )  # fmt: skip
        first = git(ends.toplevel, "log", "-1", f"--format={_FORMAT}", ends.good)
    except GitError as error:
        raise EnergyError(f"the commits between cannot be listed: {error}") from None
    parents, told = dict[str, tuple[str, ...]](), dict[str, Commit]()
    for line in (*between.split("\n"), first):
        commit, own, day, subject = (*line.split("\t", 3), "", "", "")[:4]
        told[commit] = Commit(day, encodable(subject.strip()))
        if commit != ends.good:
            parents[commit] = tuple(own.split())
    return Graph(ends.good, ends.bad, parents), told


@dataclass(frozen=True)
class Graph:
    """The commits that `bad` has and `good` has not, with their parents, the first one first.

    Parents outside of the graph are ancestors of `good`, or `good` itself.
    """

    good: str
    bad: str
    parents: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def main_line(self) -> list[str]:
        """From `good` to `bad` along first parents, as far as those have `good` among theirs."""
        behind, line = self._behind_good(), list[str]()
        commit = self.bad
        while commit in self.parents:
            if commit in behind:
                line.append(commit)
            commit = next(iter(self.parents[commit]), "")
        return [self.good, *reversed(line)]

    def branch(self, tip: str, before: str) -> list[str]:
        """What a merge brought in: first parents of `tip` back to an ancestor of `before`.

        That ancestor, which the branch began from, is the first; empty if there is no branch.
        """
        known, line, commit = reached(before, self.parents), list[str](), tip
        while commit in self.parents and commit not in known:
            line.append(commit)
            commit = next(iter(self.parents[commit]), "")
        return [commit, *reversed(line)] if line and commit else []

    def is_merge(self, commit: str) -> bool:
        """Whether a commit has several parents."""
        return len(self.parents.get(commit, ())) > 1

    def _behind_good(self) -> set[str]:
        """The commits that have `good` behind them."""
        children: dict[str, list[str]] = {}
        for commit, parents in self.parents.items():
            for parent in parents:
                children.setdefault(parent, []).append(commit)
        return reached(self.good, children)


def reached(start: str, following: Mapping[str, Iterable[str]]) -> set[str]:
    """All that one leads to, itself included: commits, or packages that need each other."""
    found, waiting = {start}, [start]
    while waiting:
        new = set(following.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found
