"""How the false failures that one run allows itself are shared among its checks."""

from __future__ import annotations

from collections import Counter

ERROR_BUDGET = 0.01
"""False failures that one run allows itself; all its checks share it."""

FIRST_CHECK = 0.9
"""Of a test's share, what its first check takes; most tests make no other."""


class ErrorBudget:
    """Hands out `alpha`, check by check, so that a run's checks never take more than there is.

    Tests are counted before they run, and none says beforehand how often it checks: each gets an
    equal share. Its first check takes nine tenths of that, each further one half of what is left.
    """

    def __init__(self, tests: int = 1) -> None:
        self._share = ERROR_BUDGET / max(1, tests)
        self._checks: Counter[str] = Counter()

    def take(self, test: str) -> float:
        """The next check's probability of a false failure at most."""
        self._checks[test] += 1
        return self.taken(test)

    def taken(self, test: str) -> float:
        """What the test's latest check took."""
        made = self._checks[test] - 1
        if made <= 0:
            return FIRST_CHECK * self._share
        return (1 - FIRST_CHECK) * 2.0**-made * self._share
