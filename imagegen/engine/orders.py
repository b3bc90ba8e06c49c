"""Orders: what callers wait for. Joins the schedule's numbers with specs and futures.

No threads, no clock, no process. Methods return verdicts instead of resolving futures: a future's
callbacks are foreign code, which must not run under the lock of whoever calls these methods.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from functools import partial

from imagegen.engine.messages import (
    Done,
    Drop,
    Dropped,
    Failed,
    FromChild,
    Heartbeat,
    Move,
    Previewed,
    Ready,
    Render,
    Stepped,
    ToChild,
)
from imagegen.engine.order import Audience, Order, Outcome, Preview, Progress, Verdict
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


class Orders:
    """Open orders, and in `outbox` what the render process has to be told about them.

    Each order gets exactly one verdict.
    """

    def __init__(self, *, max_queue: int) -> None:
        self._schedule = Schedule(max_queue=max_queue)
        self._model: ModelInfo | None = None
        self._open: dict[int, Order] = {}
        self._quarantine: dict[RenderSpec, None] = {}
        self._in_call: tuple[int, ...] = ()  # whom the child's last call was for
        self._pace_known = False  # a step was made since the last cut
        self.outbox: deque[ToChild] = deque()
        self.abandoned_gpu_s = 0.0  # spent on pictures that nobody got

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
        audience: Audience,
        most_waiting: int | None = None,
    ) -> list[Future[Rendering]]:
        """Takes all of `specs` or none: raises QueueFull or Quarantined."""
        for spec in specs:
            if spec in self._quarantine:
                raise _quarantined(spec)
        numbers = self._schedule.submit(specs, caller, now + deadline_s, most_waiting)
        futures = []
        for index, (number, spec) in enumerate(zip(numbers, specs, strict=True)):
            future: Future[Rendering] = Future()
            future.set_running_or_notify_cancel()  # from here on only a verdict ends it
            self._open[number] = Order(spec, index, future, audience, now, deadline_s)
            futures.append(future)
        return futures

    def admit(self, now: float) -> None:
        """Sends those whose turn it is to the render process."""
        for ticket in self._schedule.admit():
            order = self._open[ticket.number]
            order.admitted_at, order.first_step_at, order.ready_at = now, None, None
            previews = order.audience.previews and order.audience.on_event is not None
            self.outbox.append(
                Render(
                    ticket.number, ticket.spec, ticket.share, ticket.deadline_at, previews,
                    order.audience.trace,
                )
            )  # fmt: skip

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
                    f"the picture was not ready within {self._open[number].deadline_s:.3g} s"
                ),
            )
            for number in self._schedule.expire(now)
        ]

    def due(self) -> float | None:
        """When the next deadline passes."""
        return self._schedule.due()

    def hear(self, message: FromChild, now: float) -> list[Callable[[], None]]:
        """Takes note of what the child says about pictures; returns the calls that tell callers."""
        match message:
            case Ready(model):
                self._model = model
                self._schedule.limits = model.row_limits
            case Heartbeat(numbers):
                self._in_call = numbers
            case Stepped(moves, rows, pixels, seconds):
                self._schedule.learn(seconds, rows * pixels)
                self._pace_known = True
                return [call for move in moves for call in self._moved(move, now, seconds)]
            case Previewed(number, picture):
                return self._event(number, lambda order: Preview(order.index, picture))
            case Done(number, gpu_s=gpu_s):
                return self._retire(number, gpu_s, lambda order: self._rendering(order, message))
            case Failed(number, text, gpu_s):
                self.abandoned_gpu_s += gpu_s
                return self._retire(number, 0.0, lambda _: RenderFailed(text))
            case Dropped(number, gpu_s):
                self.abandoned_gpu_s += gpu_s
                self._schedule.retire(number)
        return []

    def lost(self) -> list[Verdict]:
        """The render process is gone: its pictures wait again.

        Those that it was working on are suspects; the second time, quarantine.
        """
        self.outbox.clear()
        suspects, self._in_call = self._in_call, ()
        verdicts = []
        for number in self._schedule.lost(suspects):
            order = self._open.pop(number)
            self._quarantine[order.spec.without_pixels()] = None
            if len(self._quarantine) > QUARANTINE_SIZE:
                del self._quarantine[next(iter(self._quarantine))]
            verdicts.append(Verdict(order.future, _quarantined(order.spec)))
        return verdicts

    def close(self, make_error: Callable[[], ImagegenError]) -> list[Verdict]:
        """Every open order ends with an error of its own."""
        return [self._leave(number, make_error()) for number in list(self._open)]

    def cut(self, until: float, make_error: Callable[[], ImagegenError]) -> list[Verdict]:
        """Ends the picture that is furthest from being ready at `until`; one between two steps."""
        late = [
            (order.ready_at, number)
            for number, order in self._open.items()
            if order.ready_at is not None and order.ready_at > until
        ]
        if not late or not self._pace_known:
            return []
        self._pace_known = False
        return [self._leave(max(late)[1], make_error())]

    def _leave(self, number: int, error: ImagegenError) -> Verdict:
        if self._schedule.leave(number):
            self.outbox.append(Drop(number))
        return Verdict(self._open.pop(number).future, error)

    def _moved(self, move: Move, now: float, step_s: float) -> list[Callable[[], None]]:
        self._schedule.moved(move.number, move.of - move.step)
        if move.number in self._open:
            self._open[move.number].ready_at = now + step_s * (move.of - move.step)
        return self._event(move.number, lambda order: order.progress(move, now))

    def _event(
        self, number: int, event: Callable[[Order], Progress | Preview]
    ) -> list[Callable[[], None]]:
        """Nobody is told of a picture that was cancelled or has expired meanwhile."""
        order = self._open.get(number)
        if order is None or order.audience.on_event is None:
            return []
        return [partial(order.audience.on_event, event(order))]

    def _retire(
        self, number: int, gpu_s: float, outcome: Callable[[Order], Outcome]
    ) -> list[Callable[[], None]]:
        """Frees the rows; if nobody waits for the picture any more, its time was in vain."""
        if not self._schedule.retire(number):
            self.abandoned_gpu_s += gpu_s
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
