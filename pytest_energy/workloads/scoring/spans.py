"""From logits to an answer: the span of a context that a question-answering head means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

N_BEST = 20
"""Starts, and ends, of each part that are tried."""

LONGEST_ANSWER = 30
"""Tokens of an answer at most."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a question's context as a model saw it, with what the model said of it.

    `offsets` has one entry a token: its [start, end) in the context's characters, None for tokens
    that are no context. `starts` and `ends` are the logits of those tokens; token 0 stands for no
    answer.
    """

    offsets: Sequence[tuple[int, int] | None]
    starts: Sequence[float]
    ends: Sequence[float]


def best_answer(context: str, parts: Sequence[Part], *, may_abstain: bool) -> str:
    """The text of the span whose logits add up to most; empty where there is none.

    As SQuAD's example scripts decode: of the 20 best starts and ends of each part those count that
    are in the context, in order, and at most 30 tokens apart. With `may_abstain` no answer is
    given where token 0 adds up to more in every part that has a say: the least of them counts.
    """
    spans = [span for part in parts for span in _spans(part)]
    if not spans:
        return ""
    score, start, end = max(spans, key=lambda span: span[0])
    if may_abstain and min(part.starts[0] + part.ends[0] for part in parts) > score:
        return ""
    return context[start:end]


def _spans(part: Part) -> Iterator[tuple[float, int, int]]:
    """The score of each span that is possible, and its [start, end) in characters."""
    ends = _best(part.ends)
    for first in _best(part.starts):
        for last in ends:
            begin, finish = part.offsets[first], part.offsets[last]
            if begin and finish and 0 <= last - first < LONGEST_ANSWER:
                yield part.starts[first] + part.ends[last], begin[0], finish[1]


def _best(logits: Sequence[float]) -> list[int]:
    return sorted(range(len(logits)), key=logits.__getitem__, reverse=True)[:N_BEST]
