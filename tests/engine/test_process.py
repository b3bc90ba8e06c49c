"""RenderProcess with real processes: whatever happens to them, whoever waits is told."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial

import pytest

from imagegen.engine import supervision
from imagegen.engine.fake import SLOW_STEP_S, FakeRenderer, draw
from imagegen.engine.messages import Ready
from imagegen.engine.process import Preview, Progress, RenderProcess
from imagegen.engine.renderer import PHASES
from imagegen.engine.scheduling import UNMEASURED_RETRY_S
from imagegen.errors import (
    Cancelled,
    DeadlineExceeded,
    Draining,
    ModelFailed,
    ModelLoading,
    Quarantined,
    QueueFull,
    RenderFailed,
)
from imagegen.generation import RowLimits

LONG_S = 60.0  # more than anything takes on a busy machine; reached only by a failure


@pytest.fixture(scope="module")
def shared() -> Iterator[RenderProcess]:
    """One engine for the tests in which no process dies: a start takes long on a busy machine."""
    engine = RenderProcess(FakeRenderer, max_queue=8)
    engine.start()
    yield engine
    assert engine.status().deaths == 0
    engine.stop(0)


@pytest.fixture(scope="module")
def mortal() -> Iterator[RenderProcess]:
    """One engine for the tests in which its process dies; each ends with a picture that is well."""
    engine = RenderProcess(FakeRenderer, max_queue=8, step_timeout_s=2.0)
    engine.start()
    yield engine
    engine.stop(0)


def render(engine: RenderProcess, *specs, **options) -> list[Future]:
    return engine.submit(specs, **{"deadline_s": LONG_S, **options})


def wait_until(condition, what: str) -> None:
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.01)


def start_slow_picture(engine: RenderProcess, make_spec, **options) -> Future:
    """In its row and moving: it would take minutes."""
    moved = []
    spec = make_spec("!slow", num_inference_steps=1_000)
    [future] = render(engine, spec, on_event=moved.append, **options)
    wait_until(lambda: moved, "the slow picture moves")
    return future


# What goes well


def test_a_picture_its_progress_and_its_measures(shared, make_spec):
    progress: list[Progress] = []
    specs = [make_spec(seed=1), make_spec("mug " * 80, seed=2)]
    first, second = (f.result(LONG_S) for f in render(shared, *specs, on_event=progress.append))
    assert first.pixels == draw(specs[0], 24, 16).pixels
    assert (first.spec, second.spec) == tuple(specs)
    assert first.model == shared.wait_ready(LONG_S)
    assert (first.warnings, len(second.warnings)) == ((), 1)
    assert 0 < first.gpu_s <= first.render_s
    assert second.queue_s > 0
    told = [(event.index, event.step, event.of) for event in progress]
    assert told == [(i, n, 3) for i in (0, 1) for n in (1, 2, 3)]
    assert [event.eta_s is None for event in progress] == [True, False, False] * 2


def test_what_comes_before_the_model_waits_for_it(make_spec, caplog):
    caplog.set_level(logging.INFO, logger="imagegen.engine")
    engine = RenderProcess(partial(FakeRenderer, load_s=1.0), max_queue=8)
    [future] = render(engine, make_spec())
    assert engine.status().phase == "stopped"
    engine.start()
    try:
        wait_until(lambda: engine.status().phase == "load", "the weights load")
        assert engine.status().eta_s is None
        with pytest.raises(ModelLoading, match="load"):
            engine.wait_ready(0.01)
        assert future.result(LONG_S).queue_s >= 1.0
        assert (engine.status().phase, engine.status().eta_s) == ("ready", 0.0)
    finally:
        engine.stop(0)
    lines = [record.getMessage().split() for record in caplog.records]
    assert [words[1] for words in lines] == [*PHASES, "ready", "first"]
    spent = engine.status().start_s
    assert list(spent) == [*PHASES, "first_picture"]
    assert spent["load"] > 0.5  # a busy machine hears of the beginning late


def test_an_on_event_that_fails_harms_nobody(shared, make_spec, caplog):
    [future] = render(shared, make_spec(), on_event=lambda _: 1 / 0)
    assert future.result(LONG_S)
    assert "ZeroDivisionError" in caplog.text


def test_the_operator_bounds_the_rows_that_the_model_says_fit(start_engine, make_spec):
    make = partial(FakeRenderer, row_limits=RowLimits(((1_024, 16), (4_096, 3))))
    engine = start_engine(make, max_rows=4)
    assert engine.wait_ready(LONG_S).row_limits == RowLimits(((1_024, 4), (4_096, 3)))
    futures = render(engine, *(make_spec("!slow", seed=seed) for seed in range(4)))
    wait_until(lambda: engine.status().running == 2, "two guided pictures are in flight")
    assert engine.status().queued == 2
    engine.cancel(futures)


def test_who_asked_for_looks_gets_them_while_the_picture_is_made(shared, make_spec):
    seen: list[Progress | Preview] = []
    spec = make_spec("!slow", width=64, height=32)
    [future] = render(shared, spec, on_event=seen.append, previews=True)
    future.result(LONG_S)
    assert [type(event) for event in seen] == [Progress, Preview, Progress, Preview, Progress]
    assert seen[1] == Preview(0, draw(spec, 8, 4))


# One picture's failure


@pytest.mark.parametrize("fault", ["!nan", "!oom", "!misfit"])
def test_a_pictures_own_failure_is_its_own(shared, make_spec, fault):
    bad, good = render(shared, make_spec(fault), make_spec())
    assert isinstance(bad.exception(LONG_S), RenderFailed)
    assert good.result(LONG_S)


def test_an_unexpected_failure_ends_the_process_and_is_tried_once_more(mortal, make_spec):
    deaths = mortal.status().deaths
    bad, good = render(mortal, make_spec("!boom"), make_spec())
    assert isinstance(bad.exception(LONG_S), Quarantined)
    assert good.result(LONG_S)
    assert mortal.status().deaths == deaths + 2


# The process dies


def test_a_picture_that_kills_twice_is_quarantined(mortal, make_spec):
    deaths = mortal.status().deaths
    deadly, good = render(mortal, make_spec("!crash"), make_spec())
    assert isinstance(deadly.exception(LONG_S), Quarantined)
    assert good.result(LONG_S)
    with pytest.raises(Quarantined, match="seed 7"):
        render(mortal, make_spec(), make_spec("!crash"))
    assert mortal.status().queued == 0
    assert mortal.status().deaths == deaths + 2


def test_pictures_that_kill_do_not_end_the_hope_for_the_others(mortal, make_spec, monkeypatch):
    monkeypatch.setattr(supervision, "DEATHS_TO_FAIL", 2)
    *deadly, good = render(mortal, *(make_spec("!crash", seed=s) for s in (1, 2)), make_spec())
    assert all(isinstance(future.exception(LONG_S), Quarantined) for future in deadly)
    assert good.result(LONG_S)


def test_pictures_in_flight_survive_a_death_from_outside(mortal, make_spec):
    deaths = mortal.status().deaths
    spec = make_spec("!slow", num_inference_steps=4)
    moved: list[Progress] = []
    first, waiting = render(mortal, spec, make_spec(), on_event=moved.append)
    wait_until(lambda: moved, "the first step")
    os.kill(mortal.pid, signal.SIGKILL)
    assert first.result(LONG_S).pixels == draw(spec, 24, 16).pixels
    assert waiting.result(LONG_S)
    assert mortal.status().deaths == deaths + 1


def test_a_step_that_hangs_is_killed_like_a_crash(mortal, make_spec):
    deaths = mortal.status().deaths
    hanging, good = render(mortal, make_spec("!hang"), make_spec())
    assert isinstance(hanging.exception(LONG_S), Quarantined)
    assert good.result(LONG_S)
    assert mortal.status().deaths == deaths + 2


def test_a_hanging_picture_that_was_cancelled_blames_nobody(mortal, make_spec):
    mortal.wait_ready(LONG_S)
    hanging, good = render(mortal, make_spec("!hang", seed=8), make_spec())
    time.sleep(0.3)  # it hangs by now, most likely; if not, the same holds for an easier reason
    mortal.cancel([hanging])
    assert isinstance(hanging.exception(0), Cancelled)
    assert good.result(LONG_S)


def test_the_parent_alone_decides_when_the_child_ends(shared, make_spec):
    shared.wait_ready(LONG_S)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(shared.pid, number)
    [future] = render(shared, make_spec())
    assert future.result(LONG_S)


# The model does not load


def test_the_operators_mistake_is_told_to_everyone_and_not_repeated(make_spec):
    engine = RenderProcess(partial(FakeRenderer, fail_load="no weights in /models/x"), max_queue=8)
    futures = render(engine, make_spec(), make_spec())
    engine.start()
    try:
        for future in futures:
            assert isinstance(future.exception(LONG_S), ModelFailed)
        for ask in (partial(engine.wait_ready, LONG_S), partial(render, engine, make_spec())):
            with pytest.raises(ModelFailed, match="no weights in /models/x"):
                ask()
        status = engine.status()
        assert (status.phase, status.error) == ("failed", "no weights in /models/x")
        assert (status.ready, status.deaths, status.hopeless) == (False, 0, False)
    finally:
        engine.stop(0)


def test_a_load_that_keeps_failing_is_given_up(start_engine, make_spec):
    engine = start_engine(partial(FakeRenderer, fail_load="!boom"))
    [future] = render(engine, make_spec())
    assert isinstance(future.exception(LONG_S), ModelFailed)
    assert "RuntimeError" in engine.status().error
    assert engine.status().deaths == 3
    assert engine.status().hopeless, "another instance may do better"


# Leaving early


def test_cancelling_takes_effect_within_a_step(shared, make_spec):
    running = start_slow_picture(shared, make_spec)
    waiting, good = render(shared, make_spec(), make_spec())
    shared.cancel([running, waiting])
    assert isinstance(running.exception(0), Cancelled)
    assert isinstance(waiting.exception(0), Cancelled)
    assert good.result(LONG_S)
    shared.cancel([running, good])  # too late is no error
    assert not good.cancel()
    assert shared.status().abandoned_gpu_s >= SLOW_STEP_S, "what it cost until then was in vain"


def test_deadlines_end_pictures_in_the_queue_and_in_a_row(shared, make_spec):
    shared.wait_ready(LONG_S)
    slow = make_spec("!slow", num_inference_steps=1_000)
    running, waiting = render(shared, slow, make_spec(), deadline_s=0.5)
    [good] = render(shared, make_spec())
    assert isinstance(running.exception(LONG_S), DeadlineExceeded)
    assert isinstance(waiting.exception(LONG_S), DeadlineExceeded)
    assert good.result(LONG_S)


def test_deadlines_pass_while_the_model_loads(start_engine, make_spec):
    engine = start_engine(partial(FakeRenderer, load_s=3_600.0))
    [future] = render(engine, make_spec(), deadline_s=0.2)
    assert isinstance(future.exception(LONG_S), DeadlineExceeded)


def test_the_queue_takes_all_of_a_submission_or_nothing(start_engine, make_spec):
    engine = start_engine(max_queue=3)
    render(engine, make_spec("!slow", num_inference_steps=1))[0].result(LONG_S)  # a measure
    start_slow_picture(engine, make_spec)
    render(engine, make_spec(), make_spec())
    with pytest.raises(QueueFull) as refused:
        render(engine, make_spec(), make_spec())
    assert refused.value.retry_after_s >= 0.25
    assert (engine.status().queued, engine.status().running) == (2, 1)
    render(engine, make_spec())


def test_a_full_queue_waits_for_the_process_too(make_spec):
    engine = RenderProcess(FakeRenderer, max_queue=1)
    health, now = engine._desk.health, time.monotonic()
    health.started(now - 40.0)
    health.hear(Ready(FakeRenderer().load(lambda _: None)), now)
    health.died("killed", now + LONG_S)  # restarts then, and needs 40 s again
    with pytest.raises(QueueFull) as refused:
        render(engine, make_spec(), make_spec())
    waits_s = UNMEASURED_RETRY_S + LONG_S + 40.0
    assert waits_s - 30.0 < refused.value.retry_after_s <= waits_s
    engine.stop(0)


def test_callers_take_turns(start_engine, make_spec):
    engine = start_engine(partial(FakeRenderer, step_s=0.05))  # time to let the next one in
    running = start_slow_picture(engine, make_spec, caller="first")
    order: list[str] = []
    futures = []
    for caller, seeds in {"many": range(3), "few": range(1)}.items():
        specs = (make_spec(seed=seed, num_inference_steps=6) for seed in seeds)
        for future in render(engine, *specs, caller=caller):
            future.add_done_callback(lambda _, caller=caller: order.append(caller))
            futures.append(future)
    engine.cancel([running])
    for future in futures:
        future.result(LONG_S)
    wait_until(lambda: len(order) == 4, "all have called back")
    assert order == ["many", "few", "many", "many"]


# Stopping


def test_stop_lets_open_pictures_end_side_by_side(start_engine, make_spec):
    engine = start_engine(partial(FakeRenderer, row_limits=RowLimits(((1_024, 8),))))
    specs = [make_spec("!slow", seed=seed, num_inference_steps=8) for seed in range(4)]
    futures = render(engine, *specs)
    engine.stop(LONG_S)
    renderings = [future.result(0) for future in futures]
    assert any(rendering.gpu_s < 0.8 * rendering.render_s for rendering in renderings)
    assert engine.status().phase == "stopped"
    assert engine.pid is None


def test_stop_without_grace_tells_everyone_and_takes_nothing_more(start_engine, make_spec):
    engine = start_engine()
    running = start_slow_picture(engine, make_spec)
    [waiting] = render(engine, make_spec())
    engine.stop(0)
    for future in (running, waiting):
        assert isinstance(future.exception(0), Draining)
    with pytest.raises(Draining):
        render(engine, make_spec())
    with pytest.raises(Draining):
        engine.wait_ready(LONG_S)
    engine.cancel([running])
    engine.stop(0)


def test_stop_before_start_tells_those_who_wait(make_spec):
    engine = RenderProcess(FakeRenderer, max_queue=8)
    [future] = render(engine, make_spec())
    engine.stop(0)
    assert isinstance(future.exception(0), Draining)


def test_an_error_in_the_engine_itself_is_told_too(start_engine, make_spec, monkeypatch):
    engine = start_engine()
    running = start_slow_picture(engine, make_spec)
    monkeypatch.setattr(engine._keeper, "_watch", lambda: 1 / 0)
    assert isinstance(running.exception(LONG_S), ModelFailed)
    assert engine.status().phase == "failed"


# Another process in place of one that is well


def test_a_renewal_waits_for_what_is_in_flight_and_keeps_what_waits(start_engine, make_spec):
    engine = start_engine()
    engine.wait_ready(LONG_S)
    before = engine.pid
    [moving] = render(engine, make_spec("!slow", num_inference_steps=6))
    wait_until(lambda: engine.status().running == 1, "it is in flight")
    ended = engine.renew(partial(FakeRenderer, step_s=0.01))
    [waiting] = render(engine, make_spec(seed=8))
    assert moving.result(LONG_S)
    assert not ended.done()
    assert waiting.result(LONG_S)
    assert ended.result(LONG_S) is None
    assert engine.pid != before
    assert engine.status().deaths == 0


@pytest.mark.parametrize("fault", ["the LoRA is too large", "!crash", "!boom"])
def test_a_renewal_that_fails_goes_back(start_engine, make_spec, fault):
    engine = start_engine()
    engine.wait_ready(LONG_S)
    reason = engine.renew(partial(FakeRenderer, fail_load=fault)).result(LONG_S)
    assert reason
    assert render(engine, make_spec())[0].result(LONG_S)
    assert (engine.status().deaths, engine.status().phase) == (0, "ready")


def test_who_waits_for_a_renewal_hears_of_the_end(start_engine, make_spec):
    engine = start_engine()
    engine.wait_ready(LONG_S)
    start_slow_picture(engine, make_spec)
    ended = engine.renew(FakeRenderer)
    engine.stop(0)
    assert "stopped" in ended.result(LONG_S)
