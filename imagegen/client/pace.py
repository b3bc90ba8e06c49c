"""Pace: how many requests to have under way, learned from what the answers tell."""

from __future__ import annotations

from imagegen.generation import Generation, Timings

MOST = 64
_FIRST = 4
_NOISE_S = 0.05  # waits that any service has


class Pace:
    """Keeps the engine's batch full and its queue short. Plain data: no clock, no threads.

    Pictures that were drawn at once say that there is room for more; pictures that waited for
    longer than they took say that the queue grows; a refusal halves. That is how TCP finds out what
    a line carries (Vegas by its delays, Reno by its losses).
    """

    def __init__(self, fixed: int | None = None, most: int = MOST) -> None:
        """fixed: so many, whatever is learned."""
        self._least = 1 if fixed is None else fixed
        self._most = most if fixed is None else fixed
        self._limit = float(min(_FIRST, most) if fixed is None else fixed)
        self._starting = True  # doubles until the first sign of a queue
        self._until_next_cut = 0

    @property
    def limit(self) -> int:
        """Requests to have under way now, at least 1."""
        return int(self._limit)

    def learn(self, outcome: Generation | Exception) -> None:
        """From how a request ended; what it was told before has been learned already."""
        if isinstance(outcome, Generation):
            self.answered(outcome.timings)

    def answered(self, timings: Timings) -> None:
        """A request has ended with pictures."""
        self._until_next_cut -= 1
        if timings.queue_s <= timings.render_s / 2 + _NOISE_S:
            self._set(self._limit + (1.0 if self._starting else 1 / self._limit))
        elif timings.queue_s > timings.render_s + _NOISE_S:
            self._starting = False
            self._set(self._limit - 1 / self._limit)

    def refused(self) -> None:
        """A request was told "not now"; those sent with it will be too, and count once."""
        self._starting = False
        self._until_next_cut -= 1
        if self._until_next_cut <= 0:
            self._until_next_cut = self.limit
            self._set(self._limit / 2)

    def _set(self, limit: float) -> None:
        self._limit = min(max(limit, float(self._least)), float(self._most))
