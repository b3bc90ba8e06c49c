"""gpu: warm, SDXL, mixed, tax and cold on a machine with a CUDA GPU.

Random weights of SD 1.5's and SDXL's shapes in fp16, made on the GPU, and LoRAs of rank 8 on the
attention layers. *warm*: one picture at a time over HTTP, SD 1.5's shape at 512 x 512, against
diffusers' own pipeline, eager, in this process. *mixed*: four brands from eight callers, against
the naive server. *tax*: a step of four brands against the same step without a LoRA. *sdxl*: as
warm, SDXL's shape at 1024 x 1024. 20 steps of DDIM under guidance everywhere. *cold*: from the
start of a server to its first small picture, SD 1.5's shape; two pairs, as a start takes long. With
--smoke the shapes are tiny and it runs on a CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from bench import cold, mixed, overhead, tax
from bench.bare import Bare
from bench.pairs import Comparison, Goal, Options, run_benchmark
from bench.servers import Server, imagegen_server, naive_server
from bench.shapes import SD15, SDXL, TINY_SD, TINY_SDXL
from bench.stage import Stage
from bench.tax import random_stage

WARM = Goal("ratio", "<=", 1 / 2)
SDXL_WARM = Goal("ratio", "<=", round(1 / 1.4, 2))
PICTURES_A_PAIR = 2
COLD = Goal("ratio", "<=", 1 / 2)
COLD_PAIRS = 2
MIXED = Goal("ratio", ">=", 4)


def measure(options: Options) -> Iterator[Comparison]:
    device: Literal["cpu", "cuda"] = "cpu" if options.smoke else "cuda"
    steps = 2 if options.smoke else 20
    with random_stage(TINY_SD if options.smoke else SD15, device) as native:
        stage = replace(native, num_inference_steps=steps)
        with imagegen_server(stage) as ours:
            yield warm("SD 1.5 shape", stage, ours, options.pairs, WARM)
            with naive_server(stage) as naive:
                yield mixed.compare(stage, naive, ours, options.pairs, MIXED)
        yield tax.compare("SD 1.5 shape", stage, options.pairs, guidance_scale=4.0)
    with random_stage(TINY_SDXL if options.smoke else SDXL, device) as native:
        stage = replace(native, num_inference_steps=steps)
        with imagegen_server(stage) as ours:
            yield warm("SDXL shape", stage, ours, options.pairs, SDXL_WARM)
    with random_stage(TINY_SD if options.smoke else cold.SMALL_PICTURES, device) as stage:
        what = f"SD 1.5 shape, cold, {cold.CACHED}"
        pairs = min(options.pairs, COLD_PAIRS)
        yield cold.first_picture(what, stage, pairs, COLD, lambda: None)


def warm(what: str, stage: Stage, ours: Server, pairs: int, goal: Goal) -> Comparison:
    bare = Bare(stage, "aurora")
    found = overhead.compare(stage, bare, ours, pairs * PICTURES_A_PAIR, (goal,))
    return replace(found, what=f"{what}, {found.what}")


if __name__ == "__main__":
    sys.exit(run_benchmark("gpu", __doc__, measure, cuda=True))
