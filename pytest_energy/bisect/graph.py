"""The commits between two ends, as lines along which a level is looked for; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


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
            commit = self._first_parent(commit)
        return [self.good, *reversed(line)]

    def branch(self, tip: str, before: str) -> list[str]:
        """What a merge brought in: first parents of `tip` back to an ancestor of `before`.

        That ancestor, which the branch began from, is the first; empty if there is no branch.
        """
        known, line, commit = self.ancestors(before), list[str](), tip
        while commit in self.parents and commit not in known:
            line.append(commit)
            commit = self._first_parent(commit)
        return [commit, *reversed(line)] if line and commit else []

    def ancestors(self, commit: str) -> set[str]:
        """The commits of the graph that a commit has behind it, itself included."""
        found, waiting = set[str](), [commit]
        while waiting:
            each = waiting.pop()
            if each not in found and each in self.parents:
                found.add(each)
                waiting += self.parents[each]
        return found | {commit}

    def is_merge(self, commit: str) -> bool:
        """Whether a commit has several parents."""
        return len(self.parents.get(commit, ())) > 1

    def _first_parent(self, commit: str) -> str:
        own = self.parents[commit]
        return own[0] if own else ""

    def _behind_good(self) -> set[str]:
        """The commits that have `good` behind them."""
        children: dict[str, list[str]] = {}
        for commit, parents in self.parents.items():
            for parent in parents:
                children.setdefault(parent, []).append(commit)
        found, waiting = set[str](), [self.good]
        while waiting:
            for child in children.get(waiting.pop(), ()):
                if child not in found:
                    found.add(child)
                    waiting.append(child)
        return found
