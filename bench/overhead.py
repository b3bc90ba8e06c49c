"""overhead: p50 of POST /generate with one caller, against the bare pipeline and nothing.

One picture of the starter model at a time, bare and over HTTP in turn: 256 x 256, 20 steps of DDIM
under guidance, Aurora's LoRA, fp32 on a CPU. Ours is the whole answer as its caller sees it: HTTP,
the queue, two processes, the PNG with its record, the file on the disk. Bare is the pipeline's
picture, neither encoded nor stored. A pair is one picture of each side; five times --pairs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from bench.alike import Pixels, how_alike
from bench.bare import Bare
from bench.pairs import Comparison, Goal, Options, in_turn, run_benchmark
from bench.servers import Server, imagegen_server, pixels
from bench.stage import Stage, starter_stage

PICTURES_A_PAIR = 5


def measure(options: Options) -> Iterator[Comparison]:
    goals = Goal("difference", "<=", 10.0), Goal("ratio", "<=", 1.02)
    with starter_stage(smoke=options.smoke) as stage, imagegen_server(stage) as ours:
        yield compare(stage, Bare(stage, "aurora"), ours, options.pairs * PICTURES_A_PAIR, goals)


def compare(
    stage: Stage, bare: Bare, ours: Server, pairs: int, goals: tuple[Goal, ...]
) -> Comparison:
    """Milliseconds a picture."""
    [asked] = stage.asked(1)
    made: dict[str, Pixels] = {}

    def run_bare() -> float:
        began = time.perf_counter()
        made["bare"] = bare.picture(asked)
        return (time.perf_counter() - began) * 1e3

    def run_ours() -> float:
        began = time.perf_counter()
        png = ours.png(asked)
        seconds = time.perf_counter() - began
        made["ours"] = pixels(png)
        return seconds * 1e3

    return Comparison(
        what=f"one caller, {stage.px} px, {stage.num_inference_steps} steps",
        unit="ms a picture",
        other="bare",
        ours="imagegen",
        pairs=in_turn(run_bare, run_ours, pairs),
        goals=goals,
        alike=how_alike([made["bare"]], [made["ours"]]),
    )


if __name__ == "__main__":
    sys.exit(run_benchmark("overhead", __doc__, measure))
