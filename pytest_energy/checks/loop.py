"""A function of the user's as a run that can be gated: each call of it is a window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytest_energy.errors import EnergyError, check_count
from pytest_energy.files import digest_of
from pytest_energy.metering import Window, window
from pytest_energy.meters.protocol import Meter


class LoopRun:
    """Windows of a function without arguments, which does the same work at each call.

    `tokens_per_window` is what a call processes; if it changes, that is other work and no change
    of the energy. `EnergyError` for what cannot be called.
    """

    padding_overhead: float | None = None

    def __init__(
        self,
        train: Callable[[], object],
        *,
        meter: Meter,
        tokens_per_window: int,
        id: str,  # noqa: A002
    ) -> None:
        check_count("tokens_per_window", tokens_per_window)
        if not id or not isinstance(id, str):
            raise EnergyError(f"`id` is {id!r}: give the name of the figure and its baseline")
        if not callable(train):
            raise EnergyError(
                f"`{id}` got `{train!r}`, which cannot be called; give the function itself, as in "
                "`energy_gate.loop(train, …)`, without brackets"
            )
        self.id = id
        self.settings: Mapping[str, Any] = {"tokens_per_window": tokens_per_window}
        self.digest = digest_of(self.settings)
        self._train, self._meter, self._tokens = train, meter, tokens_per_window

    def window(self) -> Window:
        """Call the function once, metered."""
        with window(self._meter, self.id) as opened:
            self._train()
            opened.count_tokens(self._tokens, self._tokens)
        return opened.record
