"""cold and port: from the start of a process to its first picture, and to its first word.

Both servers are started in turn, from nothing, and asked at once for one small picture under a
brand's LoRA: two steps without guidance, so that the start is what counts. The starter model, and
random weights of SD 1.5's shape in fp32 files of 4.1 GB, on a CPU. Files are in the page cache, or
dropped from it before each start, which takes root. *port* is the time until /livez answers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.alike import how_alike
from bench.pairs import Comparison, Goal, Options, Side, in_turn, run_benchmark
from bench.servers import Server, Start, imagegen_start, launched, naive_start, pixels
from bench.shapes import SD15, TINY_SD
from bench.stage import Asked, Stage, starter_stage
from bench.tax import random_stage

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
PORT = Goal("figure", "<=", 1)


def measure(options: Options) -> Iterator[Comparison]:
    with starter_stage(smoke=options.smoke) as stage:
        yield port(stage, options.pairs)
        yield from both_caches("starter", stage, options.pairs, Goal("ratio", "<=", 1 / 1.7))
    with random_stage(TINY_SD if options.smoke else SD15) as stage:
        small = replace(stage, px=stage.px // 2)
        yield from both_caches("SD 1.5 shape", small, options.pairs, Goal("ratio", "<=", 1 / 2))


def both_caches(what: str, stage: Stage, pairs: int, goal: Goal) -> Iterator[Comparison]:
    yield first_picture(f"{what}, files in the page cache", stage, pairs, goal, prepare=_nothing)
    if _drop_caches():
        dropped = f"{what}, page cache dropped"
        yield first_picture(dropped, stage, pairs, goal, prepare=_drop_caches)


def first_picture(
    what: str, stage: Stage, pairs: int, goal: Goal, prepare: Callable[[], object]
) -> Comparison:
    asked = Asked("aurora", 7, stage.px, num_inference_steps=2, guidance_scale=1.0)
    made: dict[str, bytes] = {}

    def side(name: str, start: Callable[[str], Start]) -> Side:
        def run() -> float:
            prepare()

            def ask(server: Server) -> None:
                made[name] = server.first_png(asked)

            return seconds_until(start, ask)

        return run

    measured = in_turn(
        side("naive", lambda _: naive_start(stage)),
        side("ours", lambda output: imagegen_start(stage, output)),
        pairs,
    )
    alike = how_alike([pixels(made["naive"])], [pixels(made["ours"])])
    return Comparison(what, "s to the picture", "naive", "imagegen", measured, (goal,), alike)


def port(stage: Stage, pairs: int) -> Comparison:
    def wait(server: Server) -> None:
        while not server.ready("/livez"):
            time.sleep(0.01)

    measured = in_turn(
        lambda: seconds_until(lambda _: naive_start(stage), wait),
        lambda: seconds_until(lambda output: imagegen_start(stage, output), wait),
        pairs,
    )
    return Comparison("port, starter", "s to /livez", "naive", "imagegen", measured, (PORT,))


def seconds_until(start: Callable[[str], Start], done: Callable[[Server], None]) -> float:
    """From the start of a server's process until `done` returns."""
    with TemporaryDirectory() as folder:
        how = start(folder)
        began = time.perf_counter()
        with launched(how):
            done(Server(how.port))
            return time.perf_counter() - began


def _nothing() -> None:
    """The files stay where the run before left them: in the page cache."""


def _drop_caches() -> bool:
    """Whether the page cache could be emptied."""
    with suppress(OSError):
        DROP_CACHES.write_text("3\n")
        return True
    return False


if __name__ == "__main__":
    sys.exit(run_benchmark("cold", __doc__, measure))
