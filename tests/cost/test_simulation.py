"""Cloud Run as the model has it: small cases by hand, and what always holds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegen.cost.instance import Request, Service
from imagegen.cost.simulation import Run, simulate
from imagegen.cost.trace import DAY_S

SERVICE = Service(
    start_s=20, concurrency=10, max_instances=3, idle_tail_s=900, picture_s=10,
    marginal_picture=0.5, max_batch=4,
)  # fmt: skip


def picture(at_s: float, num_images: int = 1) -> Request:
    return Request(at_s, num_images=num_images)


def page(at_s: float) -> Request:
    return Request(at_s, held_s=1)


def billed_s(run: Run) -> float:
    return sum(life.billed_s for life in run.lives)


def test_a_lone_picture_pays_its_start_itself_and_the_tail():
    run = simulate([picture(100)], SERVICE)
    assert run.answered_s == (130,)
    [life] = run.lives
    assert (life.started_s, life.ready_s, life.stopped_s) == (100, 120, 1030)
    assert (life.busy, life.rendering_s) == (((120, 130),), 10)
    assert (life.billed_s, life.billed_while_busy_s) == (930, 30)


@pytest.mark.parametrize(("gap_s", "instances", "answer_s"), [(899, 1, 10), (901, 2, 30)])
def test_the_tail_is_what_the_next_one_may_use(gap_s, instances, answer_s):
    again_s = 30 + gap_s
    run = simulate([picture(0), picture(again_s)], SERVICE)
    assert (len(run.lives), run.answered_s[1]) == (instances, again_s + answer_s)


def test_a_page_keeps_a_gpu_awake_as_long_as_a_picture_does():
    run = simulate([page(0), page(800)], SERVICE)
    assert run.answered_s == (21, 801)
    assert billed_s(run) == 801 + 900
    assert run.lives[0].rendering_s == 0


def test_pictures_share_steps_and_a_lock_does_not():
    together = simulate([picture(0), picture(0)], SERVICE)
    assert together.answered_s == (35, 35)
    locked = simulate([picture(0), picture(0)], replace(SERVICE, max_batch=1))
    assert locked.answered_s == (30, 40)


def test_a_request_is_answered_with_its_last_picture():
    assert simulate([picture(0, 8)], replace(SERVICE, marginal_picture=1)).answered_s == (100,)


def test_a_script_keeps_so_many_pictures_on_the_way():
    """Four pictures in pairs: 15 s a pair. With room for all four at once it would be 25 s."""
    script = Request(0, num_images=4, at_a_time=2, slots=2)
    assert simulate([script], SERVICE).answered_s == (50,)


def test_who_finds_no_room_pends_and_is_refused_after_three_and_a_half_starts():
    service = replace(SERVICE, concurrency=1, max_instances=1, picture_s=45)
    run = simulate([picture(0), picture(0), picture(0)], service)
    assert run.answered_s == (65, 110, None)  # 70 s: the second's turn came before, not the third's
    patient = Request(0, num_images=1, patience_s=900)
    assert simulate([picture(0), picture(0), patient], service).answered_s == (65, 110, 155)


@pytest.mark.parametrize(("requests", "instances"), [(1, 1), (6, 1), (7, 2), (13, 3), (60, 3)])
def test_another_instance_starts_beyond_sixty_percent_of_the_concurrency(requests, instances):
    run = simulate([picture(0)] * requests, SERVICE)
    assert len(run.lives) == instances
    assert sum(answer is not None for answer in run.answered_s) >= min(requests, 30)


def test_requests_that_are_being_served_count_as_well():
    assert len(simulate([picture(0)] * 6 + [picture(25)], SERVICE).lives) == 2
    assert len(simulate([picture(0)] * 2, replace(SERVICE, concurrency=2)).lives) == 2


def test_requests_go_where_the_fewest_are():
    assert all(life.busy for life in simulate([picture(0)] * 7, SERVICE).lives)


def test_one_request_starts_one_instance_where_the_concurrency_is_one():
    assert len(simulate([picture(0)], replace(SERVICE, concurrency=1)).lives) == 1


def test_without_arrivals_nothing_is_billed():
    assert simulate([], SERVICE, horizon_s=DAY_S) == Run((), ())


def test_warm_hours_are_billed_each_day_whoever_comes():
    warm = replace(SERVICE, warm_hours=(9, 10))
    run = simulate([], warm, horizon_s=2 * DAY_S)
    assert [(life.started_s, life.stopped_s) for life in run.lives] == [
        (9 * 3600, 10 * 3600),
        (DAY_S + 9 * 3600, DAY_S + 10 * 3600),
    ]
    late = simulate([picture(10 * 3600 - 60)], warm, horizon_s=DAY_S)
    assert late.answered_s == (10 * 3600 - 50,)
    assert late.lives[0].stopped_s == 10 * 3600 - 50 + 900


def test_warm_hours_keep_one_instance_and_not_all():
    warm = replace(SERVICE, warm_hours=(0, 10))
    first, second = simulate([picture(100)] * 7, warm, horizon_s=DAY_S).lives
    assert (first.started_s, first.stopped_s) == (0, 10 * 3600)
    assert second.billed_s < 1_000


def test_warm_all_day_is_one_instance_that_never_stops():
    run = simulate([picture(50_000)], replace(SERVICE, warm_hours=(0, 24)), horizon_s=2 * DAY_S)
    assert [life.billed_s for life in run.lives] == [2 * DAY_S]


REQUESTS = st.lists(
    st.builds(
        Request,
        st.floats(0, 5_000),
        held_s=st.floats(0, 20),
        num_images=st.integers(0, 9),
        at_a_time=st.integers(1, 9),
        slots=st.integers(1, 4),
        patience_s=st.sampled_from([0.0, 300.0]),
    ),
    max_size=40,
).map(lambda requests: sorted(requests, key=lambda request: request.at_s))
SERVICES = st.builds(
    Service,
    start_s=st.floats(0, 60),
    concurrency=st.integers(4, 20),
    max_instances=st.integers(1, 4),
    idle_tail_s=st.floats(0, 1_000),
    scale_at=st.floats(0.1, 1),
    pend_s=st.floats(0, 60),
    pend_starts=st.floats(0, 4),
    picture_s=st.floats(0, 30),
    marginal_picture=st.floats(0, 1),
    max_batch=st.integers(1, 8),
    warm_hours=st.sampled_from([None, (0.0, 1.0), (1.0, 24.0)]),
)


@given(REQUESTS, SERVICES)
def test_what_always_holds(requests: list[Request], service: Service):
    run = simulate(requests, service, DAY_S)
    assert run == simulate(requests, service, DAY_S)  # no clock, no chance

    assert len(run.answered_s) == len(requests)  # each ends once: answered or refused
    for request, answered_s in zip(requests, run.answered_s, strict=True):
        least_s = service.picture_s if request.num_images else request.held_s
        assert answered_s is None or answered_s >= request.at_s + least_s - 1e-4

    for life in run.lives:
        assert life.started_s <= life.ready_s <= life.stopped_s
        assert all(life.ready_s <= begin <= end <= life.stopped_s for begin, end in life.busy)
        assert life.rendering_s <= life.busy_s + 1e-6
        assert life.busy_s <= life.billed_while_busy_s <= life.billed_s + 1e-6
    changes = [(life.started_s, 1) for life in run.lives if life.billed_s]
    changes += [(life.stopped_s, -1) for life in run.lives if life.billed_s]
    alive = most = 0
    for _, change in sorted(changes):
        alive += change
        most = max(most, alive)
    assert most <= service.max_instances

    served = sum(
        request.num_images
        for request, answered_s in zip(requests, run.answered_s, strict=True)
        if answered_s is not None
    )
    rendering_s = sum(life.rendering_s for life in run.lives)
    assert rendering_s <= served * service.picture_s + 1e-3
    assert rendering_s >= served * service.picture_s / service.max_batch - 1e-3


def test_an_idle_instance_that_is_never_needed_stops_once_it_is_ready():
    """The only request gives up before the start is over: the start is billed all the same."""
    service = replace(SERVICE, pend_s=5, pend_starts=0, idle_tail_s=0)
    run = simulate([picture(0)], service)
    assert run.answered_s == (None,)
    assert billed_s(run) == 20
    assert math.isclose(run.lives[0].rendering_s, 0)
