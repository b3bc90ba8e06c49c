"""Supervision: when a render process is ill, when the next one starts, when hope is over."""

from __future__ import annotations

import pytest

from imagegen.engine.fake import FakeRenderer
from imagegen.engine.messages import (
    Done,
    Entered,
    Heartbeat,
    LoadFailed,
    Poisoned,
    Ready,
)
from imagegen.engine.supervision import (
    DEATHS_TO_FAIL,
    FAILED,
    GUILTY_TO_FAIL,
    LOADS_TO_FAIL,
    READY,
    RESTARTING,
    Supervision,
)

MODEL = FakeRenderer().load(lambda _: None)
DONE = Done(1, pixels=b"", warnings=(), render_s=1.0, gpu_s=1.0)


@pytest.fixture
def health() -> Supervision:
    health = Supervision(step_timeout_s=10.0, load_timeout_s=100.0)
    health.started(0.0)
    return health


def test_each_phase_gets_a_line_and_the_start_one_with_all_of_them(health):
    lines = [
        *health.hear(Entered("import"), 1.0),
        *health.hear(Entered("load"), 2.5),
        *health.hear(Ready(MODEL), 3.0),
        *health.hear(DONE, 5.0),
        *health.hear(DONE, 6.0),
    ]
    assert lines == [
        "import 2.5 s",
        "load 0.5 s",
        "ready after 3.0 s: fake on cpu in float32 (import 2.5 s, load 0.5 s)",
        "first picture in 1.0 s",
    ]
    assert health.phase == READY
    assert health.model is MODEL
    assert health.start_up.spent == {"import": 2.5, "load": 0.5, "first_picture": 1.0}


def test_what_came_before_the_first_render_process_is_told_once():
    health = Supervision(step_timeout_s=10.0, load_timeout_s=100.0, container_s=0.75)
    health.started(0.0)
    health.hear(Ready(MODEL), 2.0)
    assert health.start_up.spent == {"container": 0.75, "import": 2.0}
    health.died("killed", 3.0)
    health.started(3.0)
    health.hear(Ready(MODEL), 4.0)
    assert health.start_up.spent == {"import": 1.0}


def test_loading_may_be_silent_but_not_longer_than_its_time_out(health):
    health.hear(Entered("load"), 1.0)
    assert health.due(busy=False) == 100.0
    assert health.ailment(99.0, busy=False) is None
    assert "load" in health.ailment(100.0, busy=False)


def test_only_a_busy_child_must_give_signs_of_life(health):
    health.hear(Ready(MODEL), 1.0)
    assert health.due(busy=False) is None
    assert health.ailment(1_000.0, busy=False) is None
    health.hear(Heartbeat((1,)), 500.0)
    assert health.due(busy=True) == 510.0
    assert health.ailment(509.0, busy=True) is None
    assert "10 s" in health.ailment(510.0, busy=True)


def test_loads_that_fail_in_a_row_are_tried_later_and_later_then_given_up(health):
    waits, now = [], 0.0
    for _ in range(LOADS_TO_FAIL - 1):
        health.died("killed", now)
        assert health.phase == RESTARTING
        waits.append(health.due(busy=False) - now)
        now += waits[-1]
        assert health.may_start(now)
        health.started(now)
    health.died("killed", now)
    assert health.phase == FAILED
    assert health.hopeless, "another instance may do better"
    assert waits == [0.0, 0.5]
    assert not health.may_start(now + 1_000)


def test_deaths_without_a_finished_picture_between_them_end_in_failure(health):
    for _ in range(DEATHS_TO_FAIL - 1):
        health.hear(Ready(MODEL), 0.0)
        health.died("killed", 0.0)
        health.started(0.0)
    health.hear(Ready(MODEL), 0.0)
    health.hear(DONE, 0.0)
    health.died("killed", 0.0)
    assert health.phase == RESTARTING
    assert health.deaths == DEATHS_TO_FAIL
    assert health.may_start(0.0), "a finished picture forgives"


def kill_twice(health):
    """A picture that kills: the second death finds it guilty."""
    health.hear(Ready(MODEL), 0.0)
    health.died("killed", 0.0)
    health.started(0.0)
    health.hear(Ready(MODEL), 0.0)
    health.died("killed", 0.0, by_guilty_picture=True)


def test_a_death_that_names_the_guilty_is_forgiven(health):
    for _ in range(GUILTY_TO_FAIL - 1):
        kill_twice(health)
        assert health.phase == RESTARTING
        assert health.may_start(0.0), "the next one may be well"
        health.started(0.0)
    assert health.deaths >= DEATHS_TO_FAIL


def test_where_every_picture_kills_none_is_to_blame(health):
    for _ in range(GUILTY_TO_FAIL - 1):
        kill_twice(health)
        health.started(0.0)
    kill_twice(health)
    assert health.phase == FAILED
    assert health.hopeless, "another instance has another accelerator"


def test_the_operators_mistake_is_final(health):
    health.hear(LoadFailed("no weights in /models/x", final=True, traceback=""), 1.0)
    health.died("ended with code 1", 1.1)
    assert health.phase == FAILED
    assert health.error == "no weights in /models/x"
    assert health.deaths == 0
    assert not health.hopeless, "another instance would meet the same"


def test_last_words_say_more_than_the_exit_code(health):
    health.hear(LoadFailed("OSError: disk", final=False, traceback="…"), 1.0)
    health.died("ended with code 1", 1.1)
    assert (health.phase, health.error) == (RESTARTING, "OSError: disk")
    health.started(2.0)
    health.hear(Ready(MODEL), 3.0)
    assert health.error is None
    assert health.hear(Poisoned("CUDA error", "Traceback …"), 4.0) == ["CUDA error\nTraceback …"]


def test_the_time_to_ready_is_known_after_the_first_load(health):
    assert health.eta_s(1.0) is None
    health.hear(Ready(MODEL), 4.0)
    assert health.eta_s(5.0) == 0.0
    health.died("killed", 10.0)
    assert health.eta_s(10.0) == 4.0
    health.started(10.0)
    assert health.eta_s(11.0) == 3.0
    assert health.eta_s(99.0) == 0.0


def test_a_start_that_failed_for_good_takes_no_longer(health):
    health.hear(Entered("load"), 2.0)
    health.hear(LoadFailed("no weights", final=True, traceback=""), 6.0)
    health.died("ended with code 1", 6.1)
    assert health.start_up.so_far(1_000.0) == {"import": 2.0, "load": 4.0}


def test_earlier_starts_tell_how_long_each_phase_will_be(health):
    health.start_up.expect({"import": 2.0, "load": 3.0, "warmup": 1.0})
    assert health.eta_s(0.5) == 5.5
    health.hear(Entered("load"), 1.0)  # faster than usual
    assert health.eta_s(1.0) == 4.0
    assert health.eta_s(9.0) == 1.0, "what is late is nearly over, what comes still takes its time"
    assert health.start_up.so_far(9.0) == {"import": 1.0, "load": 8.0}
