"""What each way of running the service changes, on days small enough to reckon by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegen.cost.assumptions import Assumptions
from imagegen.cost.scenarios import SCENARIOS, Scenario, play
from imagegen.cost.trace import Arrival, Kind, Trace

ASSUMED = Assumptions(
    start_s=20, naive_start_s=30, web_start_s=2, idle_tail_s=900, picture_s=10, naive_picture_s=12,
    marginal_picture=0.5, max_batch=8, page_s=1,
)  # fmt: skip
PAGES = (Arrival(1_000, Kind.PAGE, 0), Arrival(1_500, Kind.PAGE, 0))
PICTURES = (Arrival(10_000, Kind.GENERATE, 2),)
SCRIPT = (Arrival(20_000, Kind.BATCH, 16),)
DAY = Trace(PAGES + PICTURES + SCRIPT)


def test_naive_lets_pages_wake_the_gpu_and_draws_one_picture_at_a_time():
    played = play(DAY, Scenario("naive", is_naive=True), ASSUMED)
    assert played.page_waits_s == (31, 1)
    assert played.picture_waits_s == (30 + 12 + 12,)
    # from the first page to the second one's tail; a picture and a script with theirs
    assert played.gpu_billed_s == (501 + 900) + (54 + 900) + (30 + 16 * 12 + 900)
    assert (played.rendering_s, played.web_billed_s) == (18 * 12, 0)
    assert (played.pictures, played.refused, len(played.lives)) == (18, 0, 3)


def test_pages_on_a_cpu_wake_no_gpu_and_are_billed_while_they_answer():
    played = play(Trace(PAGES), Scenario("", has_web=True), ASSUMED)
    assert (played.gpu_billed_s, played.lives) == (0, ())
    assert played.page_waits_s == (3, 1)
    assert played.web_billed_s == 2 + 1 + 1


def test_the_web_holds_a_request_while_the_gpu_draws():
    played = play(Trace(PICTURES), Scenario("", has_web=True), ASSUMED)
    assert played.picture_waits_s == (2 + 20 + 15,)
    assert played.gpu_billed_s == 20 + 15 + 900
    assert played.web_billed_s == 2 + 20 + 15


def test_a_script_as_a_job_has_no_tail_and_full_batches():
    here = play(Trace(SCRIPT), Scenario(""), ASSUMED)
    assert here.gpu_billed_s == 20 + 16 / 4 * 25 + 900  # four at a time: 1 + 3 · 0.5
    job = play(Trace(SCRIPT), Scenario("", has_jobs=True), ASSUMED)
    assert job.gpu_billed_s == 20 + 16 / 8 * 45
    assert (job.pictures, job.picture_waits_s) == (16, ())


def test_a_short_job_is_billed_for_a_minute():
    played = play(Trace((Arrival(0, Kind.BATCH, 1),)), Scenario("", has_jobs=True), ASSUMED)
    assert played.gpu_billed_s == 60


def test_a_long_job_is_sharded_so_that_each_task_ends_in_time():
    script = Trace((Arrival(0, Kind.BATCH, 1_000),))
    played = play(script, Scenario("", has_jobs=True), ASSUMED)
    assert len(played.lives) == 2  # (3600 - 20) / 45 = 79 batches of 8 are 632 pictures
    assert max(life.billed_s for life in played.lives) <= 3_600
    assert played.rendering_s == pytest.approx(1_000 / 8 * 45, rel=0.01)


def test_warm_hours_cost_what_they_last_and_save_the_start():
    assumed = ASSUMED.model_copy(update={"warm_hours": "2-3"})
    played = play(Trace(PICTURES), Scenario("", is_warm=True), assumed)
    assert played.picture_waits_s == (15,)  # at 10,000 s it is a quarter to three
    assert played.gpu_billed_s == 10_015 + 900 - 2 * 3_600


def test_who_finds_no_room_is_counted():
    crowd = Trace(tuple(Arrival(0, Kind.GENERATE, 8) for _ in range(60)))
    played = play(crowd, Scenario("naive", is_naive=True), ASSUMED)
    assert played.refused == 60 - 3 * 16
    assert played.pictures == 3 * 16 * 8


def test_a_script_asks_again_where_people_are_refused():
    full = ASSUMED.model_copy(update={"concurrency": 4, "max_instances": 1})
    pictures = tuple(Arrival(0, Kind.GENERATE, 8) for _ in range(4))
    for kind, refused in ((Kind.GENERATE, 1), (Kind.BATCH, 0)):
        day = Trace((*pictures, Arrival(1, kind, 8)))
        assert play(day, Scenario("", is_naive=True), full).refused == refused


ARRIVALS = st.lists(
    st.one_of(
        st.builds(Arrival, st.floats(0, 90_000), st.just(Kind.PAGE), st.just(0)),
        st.builds(Arrival, st.floats(0, 90_000), st.just(Kind.GENERATE), st.integers(1, 8)),
        st.builds(Arrival, st.floats(0, 90_000), st.just(Kind.BATCH), st.integers(1, 900)),
    ),
    max_size=12,
).map(lambda arrivals: Trace(tuple(sorted(arrivals, key=lambda arrival: arrival.at_s))))


@given(ARRIVALS, st.sampled_from(SCENARIOS))
def test_nobody_is_lost_between_service_web_and_jobs(trace: Trace, scenario: Scenario):
    played = play(trace, scenario, ASSUMED)
    answered = len(played.picture_waits_s) + len(played.page_waits_s)
    scripts = len(trace.of(Kind.BATCH))
    assert answered + scripts == len(trace.arrivals) - played.refused  # so few are never refused
    assert played.pictures == sum(arrival.num_images for arrival in trace.arrivals)
    assert played.gpu_billed_s >= played.rendering_s - 1e-6
    if not trace.arrivals and not scenario.is_warm:
        assert (played.gpu_billed_s, played.web_billed_s) == (0, 0)
