"""Schedule: who is in flight and who waits; any order of events is the matter of test_any_order."""

from __future__ import annotations

import pytest

from imagegen.engine.scheduling import UNMEASURED_RETRY_S, Schedule
from imagegen.errors import QueueFull
from imagegen.generation import RenderSpec, RowLimits

SMALL, LARGE = 32 * 32, 64 * 64


@pytest.fixture
def schedule() -> Schedule:
    """Eight rows of small pictures fit, or two of large ones."""
    schedule = Schedule(max_queue=200)
    schedule.limits = RowLimits(((SMALL, 8), (LARGE, 2)))
    return schedule


@pytest.fixture
def small(make_spec) -> RenderSpec:
    return make_spec(width=32, height=32)


@pytest.fixture
def large(make_spec) -> RenderSpec:
    return make_spec(width=64, height=64)


def admit(schedule: Schedule) -> list[int]:
    return [ticket.number for ticket in schedule.admit()]


def test_one_caller_fills_a_batch_and_no_more(schedule, small):
    assert len(schedule.submit([small] * 6, "ann", 9.0)) == 6
    assert admit(schedule) == [1, 2, 3, 4]
    assert admit(schedule) == []
    schedule.retire(2)
    assert admit(schedule) == [5]


def test_without_guidance_twice_as_many_fit(schedule, make_spec):
    schedule.submit([make_spec(guidance_scale=1.0)] * 20, "ann", 9.0)
    assert len(admit(schedule)) == 8


def test_one_picture_at_a_time_until_the_model_says_more(small):
    schedule = Schedule(max_queue=8)
    schedule.submit([small] * 3, "ann", 9.0)
    assert admit(schedule) == [1]


def test_another_caller_s_single_picture_is_let_in_beside_a_full_batch(schedule, small, large):
    schedule.submit([small] * 100, "ann", 9.0)
    admit(schedule)
    schedule.submit([small], "bob", 9.0)
    schedule.submit([small] * 5, "cyd", 9.0)
    assert admit(schedule) == [101, 102], "a single one, and the third part of eight rows"
    schedule.submit([large], "dan", 9.0)
    assert admit(schedule) == [], "a full batch of its own would make more than two"
    for number in (1, 2):
        schedule.retire(number)
    assert admit(schedule) == [107]


def test_nobody_overtakes_whom_only_a_full_house_keeps_out(schedule, small, large):
    schedule.submit([small] * 4, "ann", 9.0)
    admit(schedule)
    for caller in ("bob", "cyd"):
        schedule.submit([small], caller, 9.0)
    assert admit(schedule) == [5, 6]
    [big] = schedule.submit([large], "dan", 9.0)
    [little] = schedule.submit([small], "eve", 9.0)
    assert admit(schedule) == [], "the little one would fit, and the next, and the next, …"
    schedule.retire(1)
    schedule.retire(2)
    assert admit(schedule) == [big]
    schedule.retire(3)
    assert admit(schedule) == [little]


def test_a_caller_s_share_of_the_queue_is_bounded_and_others_still_come_in(small):
    schedule = Schedule(max_queue=16)
    schedule.submit([small], "ann", 9.0, 8)
    assert admit(schedule) == [1], "what is rendered does not wait"
    schedule.submit([small] * 6, "ann", 9.0, 8)
    with pytest.raises(QueueFull, match="6 of your pictures wait already and 3 more") as told:
        schedule.submit([small] * 3, "ann", 9.0, 8)
    assert told.value.retry_after_s > 0
    schedule.submit([small] * 2, "ann", 9.0, 8)
    schedule.submit([small] * 8, "bob", 9.0, 8)
    with pytest.raises(QueueFull, match="the queue holds 16"):
        schedule.submit([small], "cyd", 9.0, 8)


def test_pictures_that_wait_again_after_a_death_are_in_the_share(small):
    schedule = Schedule(max_queue=16)
    schedule.submit([small], "ann", 9.0, 2)
    [number] = admit(schedule)
    schedule.lost([number])
    schedule.submit([small], "ann", 9.0, 2)
    with pytest.raises(QueueFull, match="2 of your pictures"):
        schedule.submit([small], "ann", 9.0, 2)


def test_callers_take_turns_in_what_is_free(small):
    schedule = Schedule(max_queue=10)
    ann = schedule.submit([small] * 3, "ann", 100.0)
    bob = schedule.submit([small] * 2, "bob", 100.0)
    served = []
    while admitted := admit(schedule):
        served += admitted
        schedule.retire(admitted[0])
        if len(admitted) > 1:
            schedule.retire(admitted[1])
    assert served == [ann[0], bob[0], ann[1], bob[1], ann[2]]


def test_within_a_caller_the_earliest_deadline_comes_first_then_who_came_first(small):
    schedule = Schedule(max_queue=10)
    schedule.submit([small], "ann", 300.0)
    schedule.submit([small] * 2, "ann", 200.0)
    schedule.submit([small], "ann", 100.0)
    served = []
    while admitted := admit(schedule):
        served += admitted
        schedule.retire(admitted[0])
    assert served == [4, 2, 3, 1]


def test_suspects_run_alone_so_that_only_the_guilty_is_quarantined(schedule, small):
    innocent, guilty, elsewhere, waiting = schedule.submit([small] * 4, "ann", 100.0)
    schedule.limits = RowLimits(((SMALL, 6),))
    assert admit(schedule) == [innocent, guilty, elsewhere]
    assert schedule.lost({innocent, guilty}) == []
    assert admit(schedule) == [innocent], "not even in company of those nobody suspects"
    schedule.retire(innocent)
    assert admit(schedule) == [guilty]
    assert schedule.lost({guilty}) == [guilty]
    assert admit(schedule) == [elsewhere, waiting]


def test_the_guilty_is_sought_by_quarters_so_that_the_innocent_soon_move_on(schedule, small):
    schedule.limits = RowLimits(((SMALL, 34),))
    everyone = schedule.submit([small] * 16, "ann", 100.0)
    [other] = schedule.submit([small], "bob", 100.0)
    assert sorted(admit(schedule)) == [*everyone, other]
    assert schedule.lost(set(everyone)) == []
    assert admit(schedule) == everyone[:4], "a quarter, and nobody beside it"
    for number in everyone[:4]:
        schedule.retire(number)
    second = admit(schedule)
    assert second == everyone[4:8]
    assert schedule.lost(set(second)) == []
    for number in second[:3]:
        assert admit(schedule) == [number], "a quarter of those"
        schedule.retire(number)
    guilty = second[3]
    assert admit(schedule) == [guilty]
    assert schedule.lost({guilty}) == [guilty]
    assert admit(schedule) == everyone[8:12]
    for number in everyone[8:12]:
        schedule.retire(number)
    assert admit(schedule) == everyone[12:]
    for number in everyone[12:]:
        schedule.retire(number)
    assert admit(schedule) == [other]


def test_a_suspect_may_leave_while_it_waits(schedule, small):
    first, second = schedule.submit([small] * 2, "ann", 100.0)
    admit(schedule)
    schedule.lost({first, second})
    assert schedule.waiting == 2
    assert schedule.leave(first) is False
    assert admit(schedule) == [second]


def test_retry_after_is_the_measured_time_until_enough_have_left(schedule, make_spec, small):
    schedule = Schedule(max_queue=8)
    schedule.limits = RowLimits(((SMALL, 4),))
    with pytest.raises(QueueFull) as unmeasured:
        schedule.submit([small] * 9, "ann", 100.0)
    assert unmeasured.value.retry_after_s == UNMEASURED_RETRY_S
    spec = make_spec(width=32, height=32, num_inference_steps=10)
    schedule.submit([spec] * 2, "ann", 100.0)
    admit(schedule)
    schedule.submit([spec] * 8, "ann", 100.0)
    schedule.learn(seconds=2.0, row_pixels=4 * SMALL)  # half a second a row
    schedule.moved(1, steps_left=3)
    for count, seconds in (
        (1, 3 * 4 * 0.5),  # the first leaves after three more steps of four rows
        (2, 10 * 4 * 0.5),
        (3, (3 * 2 + 10 * 2 + 10 * 2) * 0.5),  # all in flight and the first of those who wait
    ):
        with pytest.raises(QueueFull) as measured:
            schedule.submit([spec] * count, "ann", 100.0)
        assert measured.value.retry_after_s == pytest.approx(seconds)
    assert schedule.waiting == 8, "whole or not at all"


def test_the_measured_time_follows_the_machine(schedule, small):
    schedule = Schedule(max_queue=1)
    schedule.submit([small], "ann", 100.0)
    seconds = []
    for step_s in (1.0, 1.0, 3.0, 3.0, 3.0):
        schedule.learn(step_s, row_pixels=2 * SMALL)
        with pytest.raises(QueueFull) as refused:
            schedule.submit([small], "ann", 100.0)
        seconds.append(refused.value.retry_after_s)
    assert seconds[0] == seconds[1] < seconds[2] < seconds[3] < seconds[4]


def test_the_measured_time_knows_that_large_pictures_take_longer(schedule, small, large):
    schedule = Schedule(max_queue=2)
    schedule.limits = RowLimits(((SMALL, 2), (LARGE, 2)))
    schedule.submit([large], "ann", 100.0)
    admit(schedule)
    schedule.submit([small, large], "ann", 100.0)
    schedule.learn(seconds=1.0, row_pixels=2 * SMALL)  # measured with small ones alone
    for wanted, seconds in (
        ([large], 3 * 4.0),  # until the large one in flight leaves
        ([small] * 2, 3 * 4.0 + 3 * 1.0),  # and a small one that waits
    ):
        with pytest.raises(QueueFull) as refused:
            schedule.submit(wanted, "ann", 100.0)
        assert refused.value.retry_after_s == pytest.approx(seconds)
