"""The program of the render process: admit -> step -> retire -> report.

A turn is one call of the denoiser.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from queue import SimpleQueue
from typing import Generic

from imagegen.engine.calls import Calls, Flight, Outcome, R, sentence
from imagegen.engine.lineup import Lineup
from imagegen.engine.messages import (
    Done,
    Drop,
    Dropped,
    Failed,
    FromChild,
    Move,
    Previewed,
    Render,
    Stepped,
    ToChild,
)
from imagegen.engine.renderer import D, Renderer
from imagegen.errors import ImagegenError
from imagegen.generation import RowLimits
from imagegen.tracing import following

logger = logging.getLogger(__name__)

PREVIEW_EVERY_S = 0.2
PAUSE_S = 0.25  # between steps, for beginning pictures and again for decoding; more if a step does


class Turns(Generic[D]):
    """Takes turns for ever. `send` tells the parent; `inbox` holds what the parent said."""

    def __init__(
        self,
        renderer: Renderer[D],
        limits: RowLimits,
        inbox: SimpleQueue[ToChild],
        send: Callable[[FromChild], None],
    ) -> None:
        self._renderer = renderer
        self._lineup = Lineup(limits)
        self._inbox = inbox
        self._send = send
        self._calls: Calls[D] = Calls(send)
        self._ordered: dict[int, Render] = {}  # not begun yet
        self._in_flight: dict[int, Flight[D]] = {}
        self._step_s = 0.0  # what the last step took
        self._news: list[FromChild] = []

    def run(self) -> None:
        """Ends only by PoisonedRenderer."""
        while True:
            self.turn()

    def turn(self) -> None:
        try:
            self._admit()
            self._step()
            self._report()
            self._retire()
        finally:
            self._report()

    def _admit(self) -> None:
        """Waits for work when there is none; otherwise takes what has arrived meanwhile."""
        if not self._in_flight and not self._ordered:
            self._lineup.idle()
            self._take(self._inbox.get())
        while not self._inbox.empty():
            self._take(self._inbox.get())
        for _ in self._pause():
            if not self._ordered:
                return
            self._begin(self._ordered.pop(next(iter(self._ordered))))

    def _step(self) -> None:
        travelling = [flight.order for flight in self._in_flight.values() if not flight.arrived]
        if not travelling:
            return
        chosen = [self._in_flight[number] for number in self._lineup.choose(travelling)]
        outcome = self._calls.for_all(self._move, chosen)
        self._fail(outcome)
        moved = [flight for group in outcome.groups for flight in group.flights]
        if moved:
            self._step_s = sum(group.seconds for group in outcome.groups)
            self._news.append(_stepped(moved, self._step_s))
        moved_at = time.perf_counter()
        for flight in moved:
            flight.moved_at = moved_at
            self._preview_if_due(flight)

    def _retire(self) -> None:
        """Decodes one by one, each told at once. What the pause has no room for waits a step."""
        for _ in self._pause():
            arrived = [flight for flight in self._in_flight.values() if flight.arrived]
            if not arrived:
                return
            arrived.sort(key=attrgetter("moved_at"))
            number = self._lineup.choose_to_land([flight.order for flight in arrived])
            with following(self._in_flight[number].order.trace):
                outcome = self._calls.for_all(self._renderer.finish, [self._in_flight[number]])
            self._fail(outcome)
            for group in outcome.groups:
                for flight, finished in zip(group.flights, group.result, strict=True):
                    self._land(flight, finished.pixels)
            self._report()

    def _pause(self) -> Iterator[None]:
        """Once, and again until a step's time is over.

        So pictures begin and land as fast as they move, however few steps they take, and whoever
        moves is never kept waiting for much longer than he moves.
        """
        ends_at = time.perf_counter() + max(PAUSE_S, self._step_s)
        yield
        while time.perf_counter() < ends_at:
            yield

    def _report(self) -> None:
        for message in self._news:
            self._send(message)
        self._news.clear()

    def _take(self, message: ToChild) -> None:
        match message:
            case Render(number):
                self._ordered[number] = message
            case Drop(number):
                if self._ordered.pop(number, None) is not None:
                    self._news.append(Dropped(number, 0.0))
                flight = self._in_flight.pop(number, None)
                if flight is not None:  # else its last word has been said already
                    self._news.append(Dropped(number, flight.gpu_s))

    def _begin(self, order: Render) -> None:
        began_at = time.perf_counter()
        try:
            with following(order.trace):
                picture = self._calls.for_one(
                    order.number, lambda: self._renderer.begin(order.spec)
                )
        except (MemoryError, ImagegenError) as error:
            spent_s = time.perf_counter() - began_at
            self._failed(order, sentence(error), spent_s)
        else:
            spent_s = time.perf_counter() - began_at
            self._in_flight[order.number] = Flight(order, picture, began_at, gpu_s=spent_s)

    def _move(self, pictures: Sequence[D]) -> None:
        try:
            self._renderer.step(pictures)
        except MemoryError:
            self._lineup.shrink([picture.spec for picture in pictures])
            raise
        self._lineup.fitted(pictures[0].spec)

    def _preview_if_due(self, flight: Flight[D]) -> None:
        """A look that fails harms nobody: the picture goes on without it."""
        now, seen_at = time.perf_counter(), flight.previewed_at
        if not flight.order.previews or flight.arrived:
            return
        if seen_at is not None and now < seen_at + PREVIEW_EVERY_S:
            return
        flight.previewed_at = now
        try:
            look = self._calls.for_one(
                flight.number, lambda: self._renderer.preview(flight.picture)
            )
        except (MemoryError, ImagegenError):
            return
        finally:
            flight.gpu_s += time.perf_counter() - now
        self._news.append(Previewed(flight.number, look))

    def _land(self, flight: Flight[D], pixels: bytes) -> None:
        del self._in_flight[flight.number]
        render_s = time.perf_counter() - flight.began_at
        _log(
            flight.order, logging.INFO, f"{flight.picture.step_count} steps in {render_s:.2f} s, "
            f"{flight.gpu_s:.2f} s of the accelerator",
        )  # fmt: skip
        warnings = flight.picture.warnings
        self._news.append(Done(flight.number, pixels, warnings, render_s, flight.gpu_s))

    def _fail(self, outcome: Outcome[D, R]) -> None:
        for flight, text in outcome.failed:
            del self._in_flight[flight.number]
            self._failed(flight.order, text, flight.gpu_s)

    def _failed(self, order: Render, text: str, gpu_s: float) -> None:
        _log(order, logging.WARNING, f"failed: {text}")
        self._news.append(Failed(order.number, text, gpu_s))


def _log(order: Render, level: int, text: str) -> None:
    """For a request: a command line tells of its pictures itself."""
    if order.trace is not None:
        with following(order.trace):
            logger.log(level, "picture of %s: %s", order.spec.brand, text)


def _stepped(flights: Sequence[Flight[D]], seconds: float) -> Stepped:
    moves = (Move(f.number, f.picture.step_index, f.picture.step_count) for f in flights)
    rows = sum(flight.rows for flight in flights)
    return Stepped(tuple(moves), rows, flights[0].order.spec.pixels, seconds)
