"""Masked-LM targets: which tokens are to be predicted, and what stands in their place."""

from __future__ import annotations

from random import Random

from pytest_energy.workloads.data.protocol import IGNORED, Example

PREDICTED = 0.15
KEPT_OR_RANDOM = 0.1


def masked_example(ids: tuple[int, ...], rng: Random, *, mask: int, words: range) -> Example:
    """An example that asks for 15 % of the tokens of `ids`, its first and last one left alone.

    Of those asked for, 80 % read `mask`, 10 % a random id of `words`, 10 % what they were (BERT,
    arXiv 1810.04805, section 3.1). At least one token is asked for.
    """
    shown = list(ids)
    asked = [IGNORED] * len(ids)
    inner = range(1, len(ids) - 1)
    chosen = [i for i in inner if rng.random() < PREDICTED] or [1 + int(rng.random() * len(inner))]
    for i in chosen:
        asked[i] = ids[i]
        share = rng.random()
        if share >= 2 * KEPT_OR_RANDOM:
            shown[i] = mask
        elif share >= KEPT_OR_RANDOM:
            shown[i] = words[int(rng.random() * len(words))]
    return Example(ids=tuple(shown), types=(0,) * len(ids), token_labels=tuple(asked))
