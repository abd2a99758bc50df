"""How long the sequences of a task are: measured WordPiece lengths, special tokens included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files

_STEEPEST_TAIL = 32.0
_STEPS = 2000


@dataclass(frozen=True)
class Lengths:
    """A distribution of sequence lengths (tokens) as its 0th to 100th percentile and its mean.

    `padding_overhead` is what was measured on the real data: processed tokens over real tokens
    in random batches of that size, padded to the longest of the batch. Where nothing was measured
    it is empty.
    """

    quantiles: tuple[float, ...]
    mean: float
    padding_overhead: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def constant(cls, length: int) -> Lengths:
        """Every sequence has `length` tokens."""
        return cls(quantiles=(float(length),) * 101, mean=float(length))

    def percentile(self, percent: int) -> float:
        """The length (tokens) that `percent` of the sequences do not exceed."""
        return self.quantiles[percent]

    def overhead_in_batches_of(self, size: int) -> float:
        """Processed tokens over real tokens in random batches, padded to their longest.

        As measured where it was, else from the longest length that `size` draws of the
        distribution have on average.
        """
        if size in self.padding_overhead:
            return self.padding_overhead[size]
        shares = ((step + 0.5) / _STEPS for step in range(_STEPS))
        longest = sum(self.at(share ** (1 / size)) for share in shares) / _STEPS
        return max(longest / self.mean, 1.0)

    def at(self, share: float) -> int:
        """The length (tokens) that a `share` in [0, 1) of the sequences stays below.

        Linear between percentiles, but for the last one: a straight line up to the maximum would
        make the longest percent far too long, so it is bent until the mean is the measured one.
        """
        index, fraction = divmod(share * 100, 1)
        low = self.quantiles[int(index)]
        high = self.quantiles[int(index) + 1]
        if index == 99:
            fraction **= self._tail_exponent
        return round(low + (high - low) * fraction)

    @cached_property
    def _tail_exponent(self) -> float:
        body = sum((a + b) / 2 for a, b in zip(self.quantiles[:99], self.quantiles[1:100]))  # noqa: B905
        low, high = self.quantiles[99:]
        # The mean of low + (high - low) * u**p over u in [0, 1] is low + (high - low) / (p + 1).
        excess = 100 * self.mean - body - low
        if excess <= 0:
            return _STEEPEST_TAIL
        return min(max((high - low) / excess - 1, 1.0), _STEEPEST_TAIL)


@cache
def measured_lengths() -> Mapping[str, Lengths]:
    """The measured distributions by task name, as they ship in `lengths.json`."""
    text = files("pytest_energy.workloads").joinpath("lengths.json").read_text(encoding="utf-8")
    return {
        name: Lengths(
            quantiles=tuple(float(length) for length in entry["quantiles"]),
            mean=entry["mean"],
            padding_overhead={
                int(batch): ratio for batch, ratio in entry["dynamic_padding_overhead"].items()
            },
        )
        for name, entry in json.loads(text).items()
    }
