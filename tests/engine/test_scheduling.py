"""Schedule: in any order of events every picture is answered once and callers take turns."""

from __future__ import annotations

from collections import Counter, defaultdict

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imagegen.engine.scheduling import UNMEASURED_RETRY_S, Schedule, next_rows
from imagegen.errors import QueueFull

CALLERS = ("ann", "bob", "cyd")


class Scheduling(RuleBasedStateMachine):
    """A model beside the schedule: who is open, who holds a row, who has passed whom."""

    @initialize(max_queue=st.integers(1, 6), max_rows=st.integers(1, 3))
    def begin(self, max_queue: int, max_rows: int) -> None:
        self.max_queue, self.max_rows = max_queue, max_rows
        self.schedule = Schedule(max_queue=max_queue, max_rows=max_rows)
        self.now = 0.0
        self.open: dict[int, tuple[str, float]] = {}  # caller, deadline
        self.rows: set[int] = set()
        self.deaths: Counter[int] = Counter()
        self.requeued: set[int] = set()
        self.passed: dict[str, Counter[str]] = defaultdict(Counter)

    @rule(count=st.integers(1, 4), caller=st.sampled_from(CALLERS), deadline_s=st.integers(1, 20))
    def submit(self, count: int, caller: str, deadline_s: int) -> None:
        waiting = self.schedule.waiting
        if waiting + count > self.max_queue:
            with pytest.raises(QueueFull) as refused:
                self.schedule.submit(count, caller, self.now + deadline_s)
            assert refused.value.retry_after_s > 0
            assert self.schedule.waiting == waiting  # whole or not at all
            return
        numbers = self.schedule.submit(count, caller, self.now + deadline_s)
        assert len(numbers) == count
        assert not self.open.keys() & set(numbers)
        self.open |= dict.fromkeys(numbers, (caller, self.now + deadline_s))

    @rule()
    def admit(self) -> None:
        for number in self.schedule.admit():
            caller = self.open[number][0]
            assert number not in self.rows
            if number not in self.requeued:
                self.take_turn(caller)
            self.passed.pop(caller, None)
            self.rows.add(number)
        suspects = [number for number in self.rows if self.deaths[number]]
        assert len(self.rows) <= (1 if suspects else self.max_rows)
        assert self.rows or not self.waiting(), "a free engine leaves nobody waiting"

    def take_turn(self, caller: str) -> None:
        for other in {self.open[number][0] for number in self.waiting()} - {caller}:
            self.passed[other][caller] += 1
            assert self.passed[other][caller] == 1, f"{caller} had two turns while {other} waited"

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.leave(data.draw(st.sampled_from(sorted(self.open))))

    @rule(seconds=st.integers(0, 8))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        for number in self.schedule.expire(self.now):
            assert self.open[number][1] <= self.now
            self.leave(number)
        assert all(deadline > self.now for _, deadline in self.open.values())
        assert self.schedule.due() == min((due for _, due in self.open.values()), default=None)

    def leave(self, number: int) -> None:
        assert self.schedule.leave(number) is (number in self.rows)
        del self.open[number]

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), render_s=st.floats(0.01, 100))
    def end_one(self, data: st.DataObject, render_s: float) -> None:
        number = data.draw(st.sampled_from(sorted(self.rows)))
        self.schedule.learn(render_s)
        assert self.schedule.retire(number) is (number in self.open)
        assert not self.schedule.retire(number)
        self.rows.remove(number)
        self.open.pop(number, None)

    @rule(blame=st.booleans())
    def child_dies(self, blame: bool) -> None:
        lost = self.rows & self.open.keys()
        self.deaths.update(lost if blame else ())
        guilty = self.schedule.lost(blame=blame)
        assert set(guilty) == {number for number in lost if self.deaths[number] >= 2}
        for number in guilty:
            del self.open[number]
        self.requeued |= lost
        self.rows.clear()

    def waiting(self) -> set[int]:
        return self.open.keys() - self.rows

    @invariant()
    def counts_agree(self) -> None:
        assert self.schedule.waiting == len(self.waiting())
        assert self.schedule.running == len(self.rows)
        for caller in CALLERS:
            if not any(self.open[number][0] == caller for number in self.waiting()):
                self.passed.pop(caller, None)

    def teardown(self) -> None:
        """Whatever happened: the rest gets rendered, and then nothing is left."""
        if not hasattr(self, "schedule"):
            return
        while self.open or self.rows:
            self.admit()
            assert self.rows
            for number in list(self.rows):
                assert self.schedule.retire(number) is (self.open.pop(number, None) is not None)
            self.rows.clear()
        assert self.schedule.waiting == self.schedule.running == 0
        assert self.schedule.due() is None


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_callers_take_turns_and_each_is_served_in_order():
    schedule = Schedule(max_queue=10)
    ann = schedule.submit(3, "ann", 100.0)
    bob = schedule.submit(2, "bob", 100.0)
    served = []
    while admitted := schedule.admit():
        served += admitted
        schedule.retire(admitted[0])
    assert served == [ann[0], bob[0], ann[1], bob[1], ann[2]]


def test_suspects_run_alone_so_that_only_the_guilty_is_quarantined():
    schedule = Schedule(max_queue=10, max_rows=3)
    innocent, guilty, bystander = schedule.submit(3, "", 100.0)
    assert schedule.admit() == [innocent, guilty, bystander]
    assert schedule.lost(blame=True) == []
    assert schedule.admit() == [innocent]
    schedule.retire(innocent)
    assert schedule.admit() == [guilty]
    assert schedule.lost(blame=True) == [guilty]
    assert schedule.admit() == [bystander]


def test_retry_after_is_the_measured_time_until_there_is_room():
    schedule = Schedule(max_queue=4)
    with pytest.raises(QueueFull) as unmeasured:
        schedule.submit(5, "", 100.0)
    assert unmeasured.value.retry_after_s == UNMEASURED_RETRY_S
    schedule.submit(1, "", 100.0)
    [number] = schedule.admit()
    schedule.learn(2.0)
    schedule.retire(number)
    schedule.submit(4, "", 100.0)
    with pytest.raises(QueueFull) as measured:
        schedule.submit(3, "", 100.0)
    assert measured.value.retry_after_s == pytest.approx(3 * 2.0)


def test_rows_of_a_step_share_a_shape_and_exact_ones_are_alone(make_spec):
    small, large = make_spec(), make_spec(width=64)
    exact = make_spec(exact=True)
    assert next_rows([small, large, small, exact, small], 2) == [0, 2]
    assert next_rows([large, small], 8) == [0]
    assert next_rows([exact, small, small], 8) == [0]
