"""A random order that a seed fixes for good."""

from __future__ import annotations

from random import Random


def shuffled_indices(count: int, rng: Random) -> list[int]:
    """0 to `count` - 1 in random order, the same for a seed in each release of Python.

    `Random.shuffle` may change between releases, `Random.random` may not.
    """
    keys = [rng.random() for _ in range(count)]
    return sorted(range(count), key=keys.__getitem__)
