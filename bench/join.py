"""join: a picture submitted while eight others are half way: the steps until its own first.

Eight callers have a picture each on the way, of all four brands: the starter model, 256 x 256, 20
steps of DDIM under guidance, fp32 on a CPU. Ours: once half of their steps are done a ninth caller
submits one more, and the denoiser's calls are counted from what the engine reports, its own first
included; the call that is under way counts too. Naive: the ninth asks when four of the eight have
been answered; what it waits beyond the time of a picture alone, in that server's own steps.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from bench.pairs import Comparison, Goal, Options, in_turn, run_benchmark
from bench.servers import Server, naive_server
from bench.stage import Stage, starter_stage
from imagegen.application import Application
from imagegen.bootstrap import build
from imagegen.engine.process import Progress
from imagegen.generation import GenerationRequest, Rendering, RenderSpec
from imagegen.settings import Settings

OTHERS = 8
PATIENCE_S = 600.0


class Calls:
    """Counts the denoiser's calls by what the engine reports: a call moves no picture twice."""

    def __init__(self, steps_to_half_way: int) -> None:
        self.half_way = threading.Event()
        self.first: dict[int, int] = {}  # picture to the call that moved it first
        self.last = 0  # the call of which the latest report was
        self._steps_left = steps_to_half_way
        self._moved: set[int] = set()

    def hear(self, picture: int) -> None:
        """A picture has moved. Called on the engine's one thread."""
        if not self._moved or picture in self._moved:
            self._moved.clear()
            self.last += 1
        self._moved.add(picture)
        self.first.setdefault(picture, self.last)
        self._steps_left -= 1
        if self._steps_left == 0:
            self.half_way.set()


def measure(options: Options) -> Iterator[Comparison]:
    with (
        starter_stage(smoke=options.smoke) as stage,
        naive_server(stage) as naive,
        running_engine(stage) as application,
    ):
        pairs = in_turn(
            lambda: naive_steps(stage, naive), lambda: our_steps(stage, application), options.pairs
        )
    what = f"a ninth picture, {OTHERS} of {stage.num_inference_steps} steps half way"
    goals = (Goal("figure", "<=", 2),)
    yield Comparison(what, "steps until its first", "naive", "imagegen", pairs, goals)


@contextmanager
def running_engine(stage: Stage) -> Iterator[Application]:
    """The program without its web half."""
    with TemporaryDirectory() as output:
        settings = Settings(
            model=str(stage.model), presets=str(stage.presets), storage=f"file:{output}",
            device=stage.device, dtype=stage.dtype,
        )  # fmt: skip
        application = build(settings)
        application.start()
        try:
            application.engine.wait_ready(PATIENCE_S)
            yield application
        finally:
            application.stop()


def our_steps(stage: Stage, application: Application) -> float:
    engine, specs = application.engine, _specs(stage, application)
    calls = Calls(OTHERS * stage.num_inference_steps // 2)

    def submit(number: int) -> Future[Rendering]:
        def on_event(event: object) -> None:
            if isinstance(event, Progress):
                calls.hear(number)

        [future] = engine.submit(
            [specs[number]], caller=f"caller {number}", deadline_s=PATIENCE_S, on_event=on_event
        )
        return future

    futures = [submit(number) for number in range(OTHERS)]
    if not calls.half_way.wait(PATIENCE_S):
        raise TimeoutError(f"{OTHERS} pictures did not come half way within {PATIENCE_S:g} s")
    submitted_at = calls.last
    futures.append(submit(OTHERS))
    for future in futures:
        future.result(PATIENCE_S)
    return float(calls.first[OTHERS] - submitted_at)


def _specs(stage: Stage, application: Application) -> list[RenderSpec]:
    model = application.engine.wait_ready(PATIENCE_S)
    requests = [GenerationRequest.model_validate(one.to_json()) for one in stage.asked(OTHERS + 1)]
    catalog = application.catalog
    return [spec for one in requests for spec in catalog.get(one.brand).resolve(one, model)]


def naive_steps(stage: Stage, naive: Server) -> float:
    *others, last = stage.asked(OTHERS + 1)
    began = time.perf_counter()
    naive.png(last)
    alone_s = time.perf_counter() - began
    with ThreadPoolExecutor(OTHERS) as pool:
        pending = {pool.submit(naive.png, one) for one in others}
        while len(pending) > OTHERS // 2:
            done, pending = wait(pending, PATIENCE_S, FIRST_COMPLETED)
            for future in done:
                future.result()
        began = time.perf_counter()
        naive.png(last)
        waited_s = time.perf_counter() - began - alone_s
    return waited_s / (alone_s / stage.num_inference_steps)


if __name__ == "__main__":
    sys.exit(run_benchmark("join", __doc__, measure))
