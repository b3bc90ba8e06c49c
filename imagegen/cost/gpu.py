"""A GPU whose steps the pictures in flight share: plain arithmetic, no clock."""

from __future__ import annotations

import math
from collections import deque

_ROUNDING_S = 1e-6  # sums of seconds since a trace's midnight are exact to about 1e-9


class SharedGpu:
    """Up to `max_batch` pictures in flight advance together; the others stand in line.

    n of them take 1 + (n - 1) · marginal_picture times as long as one alone: 0 is a batch for
    nothing, 1 is one after another. Every picture needs the same work, so they end in the order
    in which they began, and one number tells how far all of them are: the work, in seconds of a
    picture alone, that a picture would have had that was in flight all the time.
    """

    def __init__(self, picture_s: float, marginal_picture: float, max_batch: int) -> None:
        self._picture_s = picture_s
        self._marginal_picture = marginal_picture
        self._max_batch = max_batch
        self._line: deque[int] = deque()  # whose pictures wait: a caller's number for each
        self._in_flight: deque[tuple[int, float]] = deque()  # whose, and the work it is done at
        self._work_s = 0.0
        self._now_s = 0.0
        self.rendering_s = 0.0  # seconds with at least one picture in flight

    def add(self, caller: int, now_s: float) -> None:
        """One picture of `caller`, which begins as soon as there is room."""
        self.advance(now_s)
        self._line.append(caller)
        self._begin()

    @property
    def due_s(self) -> float:
        """When the next picture is done; infinite if there is none."""
        if not self._in_flight:
            return math.inf
        left_s = self._in_flight[0][1] - self._work_s
        return self._now_s + max(0.0, left_s) * self._slowness

    def advance(self, now_s: float) -> None:
        """Time passes, up to the next `due_s` at most."""
        if self._in_flight:
            self._work_s += (now_s - self._now_s) / self._slowness
            self.rendering_s += now_s - self._now_s
        self._now_s = now_s

    def take_done(self, now_s: float) -> list[int]:
        """The callers of the pictures that are done; those next in line begin."""
        self.advance(now_s)
        done = []
        while self._in_flight and self._in_flight[0][1] <= self._work_s + _ROUNDING_S:
            done.append(self._in_flight.popleft()[0])
        self._begin()
        return done

    @property
    def _slowness(self) -> float:
        return 1 + (len(self._in_flight) - 1) * self._marginal_picture

    def _begin(self) -> None:
        while self._line and len(self._in_flight) < self._max_batch:
            self._in_flight.append((self._line.popleft(), self._work_s + self._picture_s))
