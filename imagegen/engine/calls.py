"""Calls of the renderer: each is announced, paid for by its pictures, and tried again once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from imagegen.engine.messages import FromChild, Heartbeat, Render
from imagegen.engine.renderer import D
from imagegen.errors import ImagegenError

R = TypeVar("R")


class PoisonedRenderer(Exception):
    """The renderer raised what it must not; nothing it does from now on can be trusted."""


@dataclass(eq=False)
class Flight(Generic[D]):
    """One picture between its admission and its answer."""

    order: Render
    picture: D
    began_at: float
    gpu_s: float = 0.0  # its share of the renderer's time, also of calls that failed
    moved_at: float = 0.0  # when its last step ended: it arrived then if it has arrived
    previewed_at: float | None = None

    @property
    def number(self) -> int:
        return self.order.number

    @property
    def arrived(self) -> bool:
        return self.picture.step_index >= self.picture.step_count

    @property
    def rows(self) -> int:
        return self.order.spec.rows


@dataclass(frozen=True)
class Group(Generic[D, R]):
    """Pictures for which one call succeeded."""

    flights: Sequence[Flight[D]]
    result: R
    seconds: float


@dataclass
class Outcome(Generic[D, R]):
    """What became of the pictures that a call was for; those not named were not tried again."""

    groups: list[Group[D, R]] = field(default_factory=list)
    failed: list[tuple[Flight[D], str]] = field(default_factory=list)


class Calls(Generic[D]):
    """`send` tells the parent before each call whom it is for: if it kills, they are suspects."""

    def __init__(self, send: Callable[[FromChild], None]) -> None:
        self._send = send

    def for_one(self, number: int, call: Callable[[], R]) -> R:
        """Out of memory: once more. Lets expected failures through; any other is poison."""
        try:
            return self._guard([number], call)
        except MemoryError:
            pass  # the clause is left first: its traceback keeps the failed call's tensors alive
        return self._guard([number], call)

    def for_all(
        self,
        call: Callable[[list[D]], R],
        flights: Sequence[Flight[D]],
        *,
        again: bool = False,
    ) -> Outcome[D, R]:
        """Calls for all together; each pays for his rows' part of the time.

        Out of memory: once more with half of the rows, and so on; the others wait for the next
        turn. One picture's own failure: each alone. So only what fails alone fails.
        """
        try:
            return Outcome([self._call(call, flights)])
        except MemoryError as error:
            retries, text, own_fault = [_half(flights)], sentence(error), again
        except ImagegenError as error:
            retries, text, own_fault = [[flight] for flight in flights], sentence(error), True
        # The except clause is left first: its traceback keeps the tensors of the failed call alive.
        if len(flights) == 1 and own_fault:
            return Outcome(failed=[(flights[0], text)])
        parts = [self.for_all(call, retry, again=True) for retry in retries]
        return Outcome(
            [group for part in parts for group in part.groups],
            [failure for part in parts for failure in part.failed],
        )

    def _call(self, call: Callable[[list[D]], R], flights: Sequence[Flight[D]]) -> Group[D, R]:
        began_at = time.perf_counter()
        pictures = [flight.picture for flight in flights]
        try:
            result = self._guard([flight.number for flight in flights], lambda: call(pictures))
        finally:
            seconds = time.perf_counter() - began_at
            whole = sum(flight.rows for flight in flights)
            for flight in flights:
                flight.gpu_s += seconds * flight.rows / whole
        return Group(flights, result, seconds)

    def _guard(self, numbers: Sequence[int], call: Callable[[], R]) -> R:
        self._send(Heartbeat(tuple(numbers)))
        try:
            return call()
        except (MemoryError, ImagegenError):
            raise
        except Exception as error:
            raise PoisonedRenderer(sentence(error)) from error


def sentence(error: Exception) -> str:
    """What the caller is told."""
    if isinstance(error, ImagegenError):
        return error.detail
    if isinstance(error, MemoryError):
        return f"the picture does not fit in memory: {error}"
    return f"the renderer failed unexpectedly: {type(error).__name__}: {error}"


def _half(flights: Sequence[Flight[D]]) -> list[Flight[D]]:
    """The first of them, with at most half of their rows; at least one."""
    room = sum(flight.rows for flight in flights) // 2
    half = [flights[0]]
    for flight in flights[1:]:
        if sum(chosen.rows for chosen in half) + flight.rows > room:
            break
        half.append(flight)
    return half
