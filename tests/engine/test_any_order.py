"""In any order of events every future ends once and rightly, nobody starves, no step is too large.

The parent's half (Orders) and the render process's (Turns) without processes between them: what
they say to each other goes from hand to hand, and a death is simply a new pair of hands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from queue import SimpleQueue

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imagegen.engine.calls import PoisonedRenderer
from imagegen.engine.fake import FakeDenoising, FakeRenderer, draw
from imagegen.engine.messages import Done, Dropped, Failed, FromChild, Ready, Stepped, ToChild
from imagegen.engine.order import Audience
from imagegen.engine.orders import Orders
from imagegen.engine.turn import Turns
from imagegen.errors import (
    Cancelled,
    DeadlineExceeded,
    Draining,
    ImagegenError,
    Quarantined,
    QueueFull,
    RenderFailed,
)
from imagegen.generation import Rendering, RenderSpec, RowLimits, Scheduler

CALLERS = ("ann", "bob", "cyd")
SIZES = ((8, 8), (16, 8), (8, 16), (16, 16))
FAULTS = {
    "fine": Rendering,
    "!nan": RenderFailed,
    "!misfit": RenderFailed,
    "!oom": RenderFailed,
    "!boom": Quarantined,
    "!crash": Quarantined,
}
UNASKED = (Cancelled, DeadlineExceeded, Draining)
PLAIN = RenderSpec("a", "fine", "", 8, 8, 3, 5.0, Scheduler.DDIM, 0, (), exact=False)

specs = st.builds(
    lambda size, prompt, **fields: replace(
        PLAIN, width=size[0], height=size[1], prompt=prompt, **fields
    ),
    size=st.sampled_from(SIZES[:1] * 4 + SIZES),
    prompt=st.sampled_from(["fine"] * 40 + list(FAULTS)),
    num_inference_steps=st.sampled_from([1, 2, 5, 12]),
    guidance_scale=st.sampled_from([1.0, 5.0]),
    exact=st.sampled_from([False] * 9 + [True]),
)
limits = st.builds(
    lambda small, large: RowLimits(((64, max(small, large)), (256, large))),
    small=st.integers(2, 12),
    large=st.integers(1, 6),
)


class Killed(BaseException):
    """What a render process never hears of its own death."""


class DeadlyRenderer(FakeRenderer):
    """Also notes every step: (sizes, rows, whether it has company)."""

    def __init__(self, row_limits: RowLimits) -> None:
        super().__init__(row_limits=row_limits)
        self.steps: list[list[RenderSpec]] = []

    def step(self, pictures: Sequence[FakeDenoising]) -> None:
        self.steps.append([picture.spec for picture in pictures])
        if any("!crash" in picture.spec.prompt for picture in pictures):
            raise Killed
        super().step(pictures)


class RenderProcessInHand:
    """Both halves; `turn` is what happens between two steps."""

    def __init__(self, row_limits: RowLimits, max_queue: int = 16) -> None:
        self.limits = row_limits
        self.orders = Orders(max_queue=max_queue)
        self.now = 0.0
        self.too_large: list[list[RenderSpec]] = []
        self.answered: Counter[int] = Counter()
        self.waited: Counter[int] = Counter()  # turns since the last step, of those in flight
        self.most_of_a_caller = 0  # in flight at a time
        self.start()

    def start(self) -> None:
        self.inbox: SimpleQueue[ToChild] = SimpleQueue()
        self.said: list[FromChild] = []
        self.renderer = DeadlyRenderer(self.limits)
        self.turns = Turns(self.renderer, self.limits, self.inbox, self.said.append)
        self.waited.clear()
        self.hear(Ready(self.renderer.load(lambda _: None)))

    def submit(self, wanted: Sequence[RenderSpec], caller: str, deadline_s: float) -> list[Future]:
        audience = Audience(None, previews=False)
        futures = self.orders.submit(wanted, caller, self.now, deadline_s, audience)
        self.orders.admit(self.now)
        return futures

    def turn(self) -> list[int]:
        """One turn, if there is anything to do; returns who moved."""
        self.now += 1.0
        self.orders.admit(self.now)
        while self.orders.outbox:
            self.inbox.put(self.orders.outbox.popleft())
        if self.inbox.empty() and not self.turns._in_flight:
            return []
        try:
            self.turns.turn()
        except (PoisonedRenderer, Killed) as death:
            self.hear_all(unsent=isinstance(death, Killed))
            self.die()
            return []
        return self.hear_all()

    def hear_all(self, *, unsent: bool = False) -> list[int]:
        """What the child has said. One that was killed had no time for its report."""
        said = [m for m in self.said if not (unsent and isinstance(m, (Stepped, Done, Failed)))]
        self.said.clear()
        moved = [move.number for m in said if isinstance(m, Stepped) for move in m.moves]
        for message in said:
            if isinstance(message, (Done, Failed, Dropped)):
                self.answered[message.number] += 1
                self.waited.pop(message.number, None)
            self.hear(message)
        self.note_waiting(moved)
        return moved

    def note_waiting(self, moved: Sequence[int]) -> None:
        in_flight = self.turns._in_flight
        shares = Counter(flight.order.share for flight in in_flight.values())
        self.most_of_a_caller = max(self.most_of_a_caller, *shares.values(), 1)
        for number in [number for number, flight in in_flight.items() if not flight.arrived]:
            self.waited[number] = 0 if number in moved else self.waited[number] + 1
        for step in self.renderer.steps:
            rows = sum(spec.rows for spec in step)
            alone = len(step) == 1
            if not alone and (rows > self.limits.at(step[0].width, step[0].height)):
                self.too_large.append(step)
            if not alone and any(spec.exact for spec in step):
                self.too_large.append(step)
        self.renderer.steps.clear()

    def hear(self, message: FromChild) -> None:
        for call in self.orders.hear(message, self.now):
            call()

    def die(self) -> None:
        for verdict in self.orders.lost():
            verdict.tell()
        self.start()

    def run_out(self, turns: int) -> None:
        """Until nobody waits any more."""
        for _ in range(turns):
            if not self.orders and not self.orders.running:
                return
            self.turn()
        raise AssertionError(f"{len(self.orders)} still wait after {turns} turns")


class AnyOrder(RuleBasedStateMachine):
    @initialize(row_limits=limits)
    def begin(self, row_limits: RowLimits) -> None:
        self.engine = RenderProcessInHand(row_limits)
        self.asked: dict[Future, RenderSpec] = {}
        self.seed = 0
        self.kills = 0

    @rule(
        wanted=st.lists(specs, min_size=1, max_size=6),
        caller=st.sampled_from(CALLERS),
        deadline_s=st.sampled_from([10.0, 50.0, 5_000.0, 5_000.0]),
    )
    def submit(self, wanted: list[RenderSpec], caller: str, deadline_s: float) -> None:
        self.seed += len(wanted)
        wanted = [replace(spec, seed=self.seed + i) for i, spec in enumerate(wanted)]
        before = len(self.engine.orders)
        try:
            futures = self.engine.submit(wanted, caller, deadline_s)
        except QueueFull:
            assert len(self.engine.orders) == before, "whole or not at all"
        else:
            self.asked |= dict(zip(futures, wanted, strict=True))

    @rule(turns=st.integers(1, 4))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.engine.turn()

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        futures = data.draw(st.lists(st.sampled_from(list(self.asked)), min_size=1, max_size=3))
        for verdict in self.engine.orders.cancel(futures):
            verdict.tell()

    @rule(seconds=st.sampled_from([1, 2, 3, 40]))
    def time_passes(self, seconds: int) -> None:
        self.engine.now += seconds
        for verdict in self.engine.orders.expire(self.engine.now):
            verdict.tell()

    @rule(rows=st.sampled_from([2, 3, 5, None]))
    def memory_is_short(self, rows: int | None) -> None:
        self.engine.renderer._rows_that_fit = rows

    @precondition(lambda self: self.seed % 8 == 0)  # not so often that little else happens
    @rule()
    def killed_from_outside(self) -> None:
        self.kills += 1
        self.engine.die()

    @precondition(lambda self: self.seed % 16 == 15)
    @rule()
    def stop(self) -> None:
        for verdict in self.engine.orders.close(lambda: Draining("shutting down", 1.0)):
            verdict.tell()
        assert all(future.done() for future in self.asked)

    @invariant()
    def no_step_is_too_large(self) -> None:
        if hasattr(self, "engine"):
            assert not self.engine.too_large

    @invariant()
    def nobody_starves(self) -> None:
        if hasattr(self, "engine"):
            # A caller leads every third turn, there one of s shapes, there one of m pictures, and
            # s + m is at most one more than he has in flight (with those that have just left).
            longest = max(self.engine.waited.values(), default=0)
            assert longest <= len(CALLERS) * ((self.engine.most_of_a_caller + 2) / 2) ** 2

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.engine.run_out(turns=4_000)
        assert max(self.engine.answered.values(), default=1) == 1, "rendered twice"
        for future, spec in self.asked.items():
            self.check(future.exception(0) or future.result(0), spec)
        assert self.engine.orders.waiting == self.engine.orders.running == 0
        assert self.engine.orders.due() is None

    def check(self, outcome: Rendering | ImagegenError, spec: RenderSpec) -> None:
        if isinstance(outcome, Rendering):
            assert outcome.spec == spec
            assert outcome.pixels == draw(spec, spec.width, spec.height).pixels
        if isinstance(outcome, Quarantined) and self.kills:
            return  # it was twice in the wrong place
        assert isinstance(outcome, (FAULTS[spec.prompt], *UNASKED)), spec


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@given(
    row_limits=limits,
    many=st.lists(specs.filter(lambda spec: spec.prompt == "fine"), min_size=1, max_size=40),
    before=st.integers(0, 8),
    single=specs.filter(lambda spec: spec.prompt == "fine"),
)
@settings(max_examples=150, deadline=None)
def test_a_single_picture_moves_within_two_turns_whatever_another_caller_has(
    row_limits: RowLimits, many: list[RenderSpec], before: int, single: RenderSpec
) -> None:
    engine = RenderProcessInHand(row_limits, max_queue=100)
    engine.submit(many, "ann", 1.0)
    for _ in range(before):
        engine.turn()
    number = len(many) + 1
    engine.submit([single], "bob", 5_000.0)
    assert number in engine.turn() + engine.turn()


@given(row_limits=limits, steps=st.sampled_from([1, 2, 5, 12]), before=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_a_single_picture_is_answered_soon_whatever_another_caller_has(
    row_limits: RowLimits, steps: int, before: int
) -> None:
    engine = RenderProcessInHand(row_limits, max_queue=300)
    engine.submit([replace(PLAIN, seed=seed) for seed in range(200)], "ann", 1.0)
    for _ in range(before):
        engine.turn()
    [future] = engine.submit([replace(PLAIN, num_inference_steps=steps)], "bob", 5_000.0)
    for _ in range(2 * steps + 2):  # of two callers each moves at least every second turn
        engine.turn()
    assert future.done()
