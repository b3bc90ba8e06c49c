"""Order: one picture that somebody waits for, what he hears of it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from imagegen.engine.messages import Move
from imagegen.engine.renderer import Picture
from imagegen.errors import ImagegenError
from imagegen.generation import Rendering, RenderSpec
from imagegen.tracing import Trace


@dataclass(frozen=True)
class Progress:
    """A picture has moved one step on."""

    index: int  # the picture's place in its submission
    step: int  # steps done
    of: int
    eta_s: float | None  # until its last step at its own pace; unknown after the first


@dataclass(frozen=True)
class Preview:
    """A small look at a picture on its way."""

    index: int
    picture: Picture


Outcome = Rendering | ImagegenError
OnEvent = Callable[[Progress | Preview], None]


@dataclass(frozen=True)
class Audience:
    """Who follows a submission: `on_event` is called on the engine's thread and must be quick."""

    on_event: OnEvent | None  # hears of each step
    previews: bool  # whether it gets a small look now and then
    trace: Trace | None = None  # what the log calls the request


@dataclass
class Order:
    """One picture that somebody waits for."""

    spec: RenderSpec
    index: int
    future: Future[Rendering]
    audience: Audience
    submitted_at: float
    deadline_s: float
    admitted_at: float = 0.0
    first_step_at: float | None = None
    ready_at: float | None = None  # at the earliest: if every step to come is its own

    def progress(self, move: Move, now: float) -> Progress:
        """With the pace since the first step, turns in which it waited included."""
        if self.first_step_at is None:
            self.first_step_at = now
        left, eta_s = move.of - move.step, None
        if move.step > 1 or not left:
            eta_s = left * (now - self.first_step_at) / max(1, move.step - 1)
        return Progress(self.index, move.step, move.of, eta_s)


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
