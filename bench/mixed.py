"""mixed: pictures a second with four brands interleaved from eight callers, against naive.

Both servers run beside each other, one of them idle, and are asked over HTTP for the same pictures
of the starter model: 20 steps of DDIM under guidance, fp32 on a CPU, at its native 256 x 256, and
at 128 x 128, where calls are small as on a fast GPU. A run is eight callers who each ask for two
pictures, one after the other; its figure is pictures over the seconds from the first request to the
last answer. We store every picture on the disk; naive does not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from bench.alike import how_alike
from bench.pairs import Comparison, Goal, Options, Side, in_turn, run_benchmark
from bench.servers import Server, imagegen_server, naive_server, pixels
from bench.stage import Asked, Stage, starter_stage

CALLERS = 8
PICTURES_A_CALLER = 2


def measure(options: Options) -> Iterator[Comparison]:
    with (
        starter_stage(smoke=options.smoke) as stage,
        naive_server(stage) as naive,
        imagegen_server(stage) as ours,
    ):
        sizes = (stage.px,) if options.smoke else (stage.px, stage.px // 2)
        for px in sizes:
            sized = replace(stage, px=px)
            yield compare(sized, naive, ours, options.pairs, Goal("ratio", ">=", 2.5))


def compare(stage: Stage, naive: Server, ours: Server, pairs: int, goal: Goal) -> Comparison:
    asked = stage.asked(CALLERS * PICTURES_A_CALLER)
    made: dict[Server, dict[Asked, bytes]] = {}

    def side(server: Server) -> Side:
        def run() -> float:
            began = time.perf_counter()
            made[server] = server.pngs(asked, CALLERS)
            return len(asked) / (time.perf_counter() - began)

        return run

    measured = in_turn(side(naive), side(ours), pairs)
    return Comparison(
        what=f"4 brands from {CALLERS} callers, {stage.px} px, {stage.num_inference_steps} steps",
        unit="pictures/s",
        other="naive",
        ours="imagegen",
        pairs=measured,
        goals=(goal,),
        alike=how_alike(
            [pixels(made[naive][one]) for one in asked], [pixels(made[ours][one]) for one in asked]
        ),
    )


if __name__ == "__main__":
    sys.exit(run_benchmark("mixed", __doc__, measure))
