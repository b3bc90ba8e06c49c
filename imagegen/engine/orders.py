"""Orders: what callers wait for. Joins the schedule's numbers with specs and futures.

No threads, no clock, no process. Methods return verdicts instead of resolving futures: a future's
callbacks are foreign code, which must not run under the lock of whoever calls these methods.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from imagegen.engine.messages import (
    Done,
    Drop,
    Dropped,
    Failed,
    FromChild,
    Ready,
    Render,
    Stepped,
    ToChild,
)
from imagegen.engine.scheduling import Schedule
from imagegen.errors import (
    Cancelled,
    DeadlineExceeded,
    ImagegenError,
    Quarantined,
    RenderFailed,
)
from imagegen.generation import ModelInfo, Rendering, RenderSpec

QUARANTINE_SIZE = 1_000  # specs remembered; the oldest goes first


@dataclass(frozen=True)
class Progress:
    """A picture has moved one step on."""

    index: int  # the picture's place in its submission
    step: int  # steps done
    of: int


Outcome = Rendering | ImagegenError
OnEvent = Callable[[Progress], None]


@dataclass
class Order:
    """One picture that somebody waits for."""

    spec: RenderSpec
    index: int
    future: Future[Rendering]
    on_event: OnEvent | None
    submitted_at: float
    deadline_s: float
    admitted_at: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """How an order ended."""

    future: Future[Rendering]
    outcome: Outcome

    def tell(self) -> None:
        if isinstance(self.outcome, ImagegenError):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)


class Orders:
    """Open orders, and in `outbox` what the render process has to be told about them.

    Each order gets exactly one verdict.
    """

    def __init__(self, *, max_queue: int, max_rows: int) -> None:
        self._schedule = Schedule(max_queue=max_queue, max_rows=max_rows)
        self._model: ModelInfo | None = None
        self._open: dict[int, Order] = {}
        self._quarantine: dict[RenderSpec, None] = {}
        self.outbox: deque[ToChild] = deque()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def waiting(self) -> int:
        return self._schedule.waiting

    @property
    def running(self) -> int:
        return self._schedule.running

    def submit(
        self,
        specs: Sequence[RenderSpec],
        caller: str,
        now: float,
        deadline_s: float,
        on_event: OnEvent | None,
    ) -> list[Future[Rendering]]:
        """Takes all of `specs` or none: raises QueueFull or Quarantined."""
        for spec in specs:
            if spec in self._quarantine:
                raise _quarantined(spec)
        numbers = self._schedule.submit(len(specs), caller, now + deadline_s)
        futures = []
        for index, (number, spec) in enumerate(zip(numbers, specs, strict=True)):
            future: Future[Rendering] = Future()
            future.set_running_or_notify_cancel()  # from here on only a verdict ends it
            self._open[number] = Order(spec, index, future, on_event, now, deadline_s)
            futures.append(future)
        return futures

    def admit(self, now: float) -> None:
        """Sends those whose turn it is to the render process."""
        for number in self._schedule.admit():
            self._open[number].admitted_at = now
            self.outbox.append(Render(number, self._open[number].spec))

    def cancel(self, futures: Collection[Future[Rendering]]) -> list[Verdict]:
        unwanted = set(futures)
        return [
            self._leave(number, Cancelled("the picture was cancelled"))
            for number, order in list(self._open.items())
            if order.future in unwanted
        ]

    def expire(self, now: float) -> list[Verdict]:
        return [
            self._leave(
                number,
                DeadlineExceeded(
                    f"the picture was not ready within {self._open[number].deadline_s:g} s"
                ),
            )
            for number in self._schedule.expire(now)
        ]

    def due(self) -> float | None:
        """When the next deadline passes."""
        return self._schedule.due()

    def hear(self, message: FromChild) -> list[Callable[[], None]]:
        """Takes note of what the child says about pictures; returns the calls that tell callers."""
        match message:
            case Ready(model):
                self._model = model
            case Stepped():
                return self._progressed(message)
            case Done():
                self._schedule.learn(message.render_s)
                return self._retire(message.number, lambda order: self._rendering(order, message))
            case Failed(number, text):
                return self._retire(number, lambda _: RenderFailed(text))
            case Dropped(number):
                self._schedule.retire(number)
        return []

    def lost(self, *, blame: bool) -> list[Verdict]:
        """The render process is gone: its pictures wait again; the second time, quarantine."""
        self.outbox.clear()
        verdicts = []
        for number in self._schedule.lost(blame=blame):
            order = self._open.pop(number)
            self._quarantine[order.spec] = None
            if len(self._quarantine) > QUARANTINE_SIZE:
                del self._quarantine[next(iter(self._quarantine))]
            verdicts.append(Verdict(order.future, _quarantined(order.spec)))
        return verdicts

    def close(self, make_error: Callable[[], ImagegenError]) -> list[Verdict]:
        """Every open order ends with an error of its own."""
        return [self._leave(number, make_error()) for number in list(self._open)]

    def _leave(self, number: int, error: ImagegenError) -> Verdict:
        if self._schedule.leave(number):
            self.outbox.append(Drop(number))
        return Verdict(self._open.pop(number).future, error)

    def _progressed(self, message: Stepped) -> list[Callable[[], None]]:
        order = self._open.get(message.number)
        if order is None or order.on_event is None:
            return []
        return [partial(order.on_event, Progress(order.index, message.step, message.of))]

    def _retire(self, number: int, outcome: Callable[[Order], Outcome]) -> list[Callable[[], None]]:
        """Frees the row; nobody is told if the picture was cancelled or has expired meanwhile."""
        if not self._schedule.retire(number):
            return []
        order = self._open.pop(number)
        return [Verdict(order.future, outcome(order)).tell]

    def _rendering(self, order: Order, message: Done) -> Rendering:
        assert self._model is not None  # Ready comes before any Done
        return Rendering(
            spec=order.spec,
            model=self._model,
            pixels=message.pixels,
            warnings=message.warnings,
            queue_s=order.admitted_at - order.submitted_at,
            render_s=message.render_s,
            gpu_s=message.gpu_s,
        )


def _quarantined(spec: RenderSpec) -> Quarantined:
    return Quarantined(
        f"this picture (brand {spec.brand}, seed {spec.seed}) has ended the render process twice; "
        "it is not tried again"
    )
