"""Faults in the middle of a batch of real processes: innocent mates get their right pictures."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial

import pytest

from imagegen.engine import spawn
from imagegen.engine.fake import FakeDenoising, FakeRenderer, draw
from imagegen.engine.messages import Render, Start
from imagegen.engine.process import RenderProcess
from imagegen.engine.renderer import Picture
from imagegen.errors import Quarantined, RenderFailed
from imagegen.generation import Rendering, RenderSpec, RowLimits

LONG_S = 60.0
FAULTS = {
    "!hang": (Quarantined, 2),
    "!crash": (Quarantined, 2),
    "!boom": (Quarantined, 2),
    "!oom": (RenderFailed, 0),
    "!nan": (RenderFailed, 0),
    "!slow": (Rendering, 0),
}


@pytest.fixture(scope="module")
def engine() -> Iterator[RenderProcess]:
    """Eight guided pictures a step, each of which takes a moment."""
    make = partial(FakeRenderer, step_s=0.02, row_limits=RowLimits(((1_024, 16),)))
    engine = RenderProcess(make, max_queue=32, step_timeout_s=2.0)
    engine.start()
    yield engine
    engine.stop(0)


class Forgetful(FakeRenderer):
    """Gives back fewer pictures than it was asked for, on which our own loop stumbles."""

    def finish(self, pictures: Sequence[FakeDenoising]) -> list[Picture]:
        return []


def test_a_fault_of_our_own_loop_is_in_the_log(make_spec, start_engine, caplog):
    caplog.set_level(logging.INFO, logger="imagegen.engine")
    [future] = start_engine(Forgetful).submit([make_spec()], deadline_s=LONG_S)
    assert isinstance(future.exception(LONG_S), Quarantined)
    assert "ValueError: zip()" in caplog.text
    assert any("in _retire" in getattr(record, "stack", "") for record in caplog.records)


class Batch:
    """Innocent pictures of two callers that are on their way."""

    def __init__(self, engine: RenderProcess, make_spec: Callable[..., RenderSpec]) -> None:
        self.specs = [make_spec(seed=seed, num_inference_steps=20 + seed) for seed in range(4)]
        self.moved: list[object] = []
        self.futures: list[Future[Rendering]] = []
        for caller, specs in {"ann": self.specs[:2], "bob": self.specs[2:]}.items():
            self.futures += engine.submit(
                specs, caller=caller, deadline_s=LONG_S, on_event=self.moved.append
            )
        end = time.monotonic() + LONG_S
        while not self.moved:
            assert time.monotonic() < end, "the batch does not move"
            time.sleep(0.005)

    def assert_unharmed(self) -> None:
        for spec, future in zip(self.specs, self.futures, strict=True):
            assert future.result(LONG_S).pixels == draw(spec, spec.width, spec.height).pixels


@pytest.mark.parametrize("fault", FAULTS)
def test_only_the_guilty_picture_fails(engine, make_spec, fault):
    expected, deaths = FAULTS[fault]
    before = engine.status().deaths
    batch = Batch(engine, make_spec)
    [guilty] = engine.submit([make_spec(fault)], caller="cyd", deadline_s=LONG_S)
    assert isinstance(guilty.exception(LONG_S) or guilty.result(0), expected)
    batch.assert_unharmed()
    assert engine.status().deaths == before + deaths


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_killed_or_stopped_in_a_step_is_replaced(engine, make_spec, number):
    before = engine.status().deaths
    batch = Batch(engine, make_spec)
    os.kill(engine.pid, number)
    batch.assert_unharmed()
    assert engine.status().deaths == before + 1


def test_a_process_that_is_stopped_while_it_has_nothing_to_do_is_found_out(engine, make_spec):
    engine.wait_ready(LONG_S)
    os.kill(engine.pid, signal.SIGSTOP)
    Batch(engine, make_spec).assert_unharmed()


def test_who_listens_to_a_stopped_process_does_not_wait_for_ever(make_spec, monkeypatch):
    """The watchdog itself sends: a full pipe to a process that does not read must not hold it."""
    monkeypatch.setattr(spawn, "STALLED_S", 1)
    child = spawn.Child(Start(pickle.dumps(FakeRenderer), max_rows=None))
    try:
        os.kill(child.pid, signal.SIGSTOP)
        message = Render(1, make_spec("mug " * 500), share=0, deadline_at=0.0, previews=False)
        began = time.monotonic()
        for _ in range(500):
            child.send(message)
        assert time.monotonic() - began < LONG_S
    finally:
        assert child.end(now=False) == "killed by SIGKILL"


FORK = """
import os, threading
from imagegen.engine.fake import FakeRenderer
from imagegen.engine.keeper import Keeper
from imagegen.engine.process import RenderProcess
from imagegen.engine.renderer import Picture

engine, close = RenderProcess(FakeRenderer, max_queue=8), Keeper.close

def tell_and_close(keeper):
    print(threading.current_thread().name, flush=True)
    close(keeper)

Keeper.close = tell_and_close
if os.fork() == 0:
    engine.start()
    engine.wait_ready(60)
    engine.stop(0)
    os._exit(0)
os.wait()
"""


def test_after_a_fork_too_the_engine_s_thread_alone_ends_the_child():
    """gunicorn forks between the making and the start. Two threads that close one connection meet
    in the middle of it: EBADF."""
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S, check=False)
    assert (done.stdout, done.stderr) == ("engine\n", "")
