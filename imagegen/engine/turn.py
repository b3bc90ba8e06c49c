"""The program of the render process: admit -> step -> retire -> report.

A turn is one call of the denoiser.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

from imagegen.engine.messages import (
    Done,
    Drop,
    Dropped,
    Failed,
    FromChild,
    Heartbeat,
    Render,
    Stepped,
    ToChild,
)
from imagegen.engine.renderer import D, Picture, Renderer
from imagegen.engine.scheduling import next_rows
from imagegen.errors import ImagegenError

R = TypeVar("R")


class PoisonedRenderer(Exception):
    """The renderer raised what it must not; nothing it does from now on can be trusted."""


@dataclass(eq=False)
class Flight(Generic[D]):
    """One picture between its admission and its answer."""

    number: int
    picture: D
    began_at: float
    gpu_s: float = 0.0

    @property
    def arrived(self) -> bool:
        return self.picture.step_index >= self.picture.step_count


@dataclass(frozen=True)
class Rows(Generic[D, R]):
    """Pictures for which one call of the renderer succeeded."""

    flights: Sequence[Flight[D]]
    result: R
    seconds: float


class Turns(Generic[D]):
    """Takes turns for ever. `send` tells the parent; `inbox` holds what the parent said."""

    def __init__(
        self,
        renderer: Renderer[D],
        inbox: SimpleQueue[ToChild],
        send: Callable[[FromChild], None],
        max_rows: int,
    ) -> None:
        self._renderer = renderer
        self._inbox = inbox
        self._send = send
        self._max_rows = max_rows
        self._rows_that_fit = max_rows
        self._in_flight: list[Flight[D]] = []  # who has waited longest since his last step first
        self._news: list[FromChild] = []

    def run(self) -> None:
        """Ends only by PoisonedRenderer."""
        while True:
            self.turn()

    def turn(self) -> None:
        try:
            self._admit()
            self._step()
            self._retire()
        finally:
            self._report()

    def _admit(self) -> None:
        """Waits for work when there is none; otherwise takes what has arrived meanwhile."""
        if not self._in_flight:
            self._rows_that_fit = self._max_rows
            self._take(self._inbox.get())
        while not self._inbox.empty():
            self._take(self._inbox.get())

    def _step(self) -> None:
        travelling = [flight for flight in self._in_flight if not flight.arrived]
        if not travelling:
            return
        chosen = next_rows([f.picture.spec for f in travelling], self._rows_that_fit)
        for rows in self._attempt(self._renderer.step, [travelling[i] for i in chosen]):
            for flight in rows.flights:
                flight.gpu_s += rows.seconds / len(rows.flights)
                self._in_flight.remove(flight)
                self._in_flight.append(flight)
                picture = flight.picture
                self._news.append(Stepped(flight.number, picture.step_index, picture.step_count))

    def _retire(self) -> None:
        arrived = [flight for flight in self._in_flight if flight.arrived]
        if not arrived:
            return
        for rows in self._attempt(self._renderer.finish, arrived[: self._rows_that_fit]):
            for flight, finished in zip(rows.flights, rows.result, strict=True):
                self._in_flight.remove(flight)
                self._news.append(self._done(flight, finished))

    def _report(self) -> None:
        for message in self._news:
            self._send(message)
        self._news.clear()

    def _take(self, message: ToChild) -> None:
        match message:
            case Render(number, spec):
                began_at = time.perf_counter()
                try:
                    picture = self._guard([number], lambda: self._renderer.begin(spec))
                except (MemoryError, ImagegenError) as error:
                    self._news.append(Failed(number, _text(error)))
                else:
                    self._in_flight.append(Flight(number, picture, began_at))
            case Drop(number):
                staying = [flight for flight in self._in_flight if flight.number != number]
                if len(staying) < len(self._in_flight):  # else its last word has been said already
                    self._in_flight = staying
                    self._news.append(Dropped(number))

    def _done(self, flight: Flight[D], finished: Picture) -> Done:
        return Done(
            flight.number,
            finished.pixels,
            flight.picture.warnings,
            render_s=time.perf_counter() - flight.began_at,
            gpu_s=flight.gpu_s,
        )

    def _attempt(
        self, call: Callable[[list[D]], R], flights: Sequence[Flight[D]]
    ) -> list[Rows[D, R]]:
        """Calls for all together.

        Out of memory: once more with half of them; the others wait for the next turn.
        One picture's own failure: each alone, so that only the guilty one fails.
        """
        try:
            return [self._call(call, flights)]
        except MemoryError:
            self._rows_that_fit = max(1, len(flights) // 2)
            retries = [flights[: self._rows_that_fit]]
        except ImagegenError as error:
            if len(flights) == 1:
                self._fail(flights, error)
                return []
            retries = [[flight] for flight in flights]
        # The except clause is left first: its traceback keeps the tensors of the failed call alive.
        return [rows for retry in retries if (rows := self._last_attempt(call, retry)) is not None]

    def _last_attempt(
        self, call: Callable[[list[D]], R], flights: Sequence[Flight[D]]
    ) -> Rows[D, R] | None:
        try:
            return self._call(call, flights)
        except (MemoryError, ImagegenError) as error:
            self._fail(flights, error)
            return None

    def _call(self, call: Callable[[list[D]], R], flights: Sequence[Flight[D]]) -> Rows[D, R]:
        began_at = time.perf_counter()
        pictures = [flight.picture for flight in flights]
        result = self._guard([flight.number for flight in flights], lambda: call(pictures))
        return Rows(flights, result, time.perf_counter() - began_at)

    def _guard(self, numbers: Sequence[int], call: Callable[[], R]) -> R:
        """Lets expected failures through; any other tells whom it hit and ends the renderer."""
        self._send(Heartbeat())
        try:
            return call()
        except (MemoryError, ImagegenError):
            raise
        except Exception as error:
            self._news.extend(Failed(number, _text(error)) for number in numbers)
            raise PoisonedRenderer(_text(error)) from error

    def _fail(self, flights: Sequence[Flight[D]], error: Exception) -> None:
        for flight in flights:
            self._in_flight.remove(flight)
            self._news.append(Failed(flight.number, _text(error)))


def _text(error: Exception) -> str:
    if isinstance(error, ImagegenError):
        return error.detail
    if isinstance(error, MemoryError):
        return f"the picture does not fit in memory: {error}"
    return f"the renderer failed unexpectedly: {type(error).__name__}: {error}"
