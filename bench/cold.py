"""cold and port: from the start of a process to its first picture, and to its first word.

Both servers are started in turn, from nothing, and asked at once for one small picture under a
brand's LoRA: two steps without guidance, so that the start is what counts. The starter model, and
random weights of SD 1.5's size that say of themselves that they draw 64 x 64 pixels (at 512 x 512 a
CPU would be busy with the picture for most of the time, not with the start): in fp16, as a GPU has
them, 2.1 GB, and in fp32, 4.3 GB. Files are in the page cache, or dropped from it before each
start, which takes root. *port* is the time until /livez answers.
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
from imagegen.engine.start_up import in_words

DROP_CACHES = Path("/proc/sys/vm/drop_caches")
CACHED = "files in the page cache"
SMALL_PICTURES = replace(SD15, px=64, unet={**SD15.unet, "sample_size": 8})
PORT = Goal("figure", "<=", 1)


def measure(options: Options) -> Iterator[Comparison]:
    with starter_stage(smoke=options.smoke) as stage:
        yield port(stage, options.pairs)
        yield from both_caches("starter", stage, options.pairs, Goal("ratio", "<=", 1 / 1.7))
    shape = TINY_SD if options.smoke else SMALL_PICTURES
    twice = Goal("ratio", "<=", 1 / 2)
    with random_stage(shape, dtype="float16") as stage:
        yield first_picture(f"SD 1.5 size, fp16, {CACHED}", stage, options.pairs, twice, _nothing)
    with random_stage(shape) as stage:
        yield from both_caches("SD 1.5 size, fp32", stage, options.pairs, twice)


def both_caches(what: str, stage: Stage, pairs: int, goal: Goal) -> Iterator[Comparison]:
    yield first_picture(f"{what}, {CACHED}", stage, pairs, goal, _nothing)
    if _drop_caches():
        dropped = f"{what}, page cache dropped"
        yield first_picture(dropped, stage, pairs, goal, _drop_caches)


def first_picture(
    what: str, stage: Stage, pairs: int, goal: Goal, prepare: Callable[[], object]
) -> Comparison:
    asked = Asked("aurora", 7, stage.px, num_inference_steps=2, guidance_scale=1.0)
    made: dict[str, bytes] = {}
    spent: dict[str, float] = {}

    def side(name: str, start: Callable[[str], Start]) -> Side:
        def run() -> float:
            prepare()

            def ask(server: Server) -> None:
                made[name] = server.first_png(asked)
                spent.update(server.start_s())

            return seconds_until(start, ask)

        return run

    measured = in_turn(
        side("naive", lambda _: naive_start(stage)),
        side("ours", lambda output: imagegen_start(stage, output)),
        pairs,
    )
    alike = how_alike([pixels(made["naive"])], [pixels(made["ours"])])
    note = f"{alike}; imagegen's last start: {in_words(spent)}"
    return Comparison(what, "s to the picture", "naive", "imagegen", measured, (goal,), note)


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
