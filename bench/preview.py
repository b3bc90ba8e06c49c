"""preview: a look at a picture in flight, against decoding it.

The starter's map from latents to colours, fp32 on a CPU, at its native 256 x 256 and at 512 x 512,
after one step. A figure is the median of twenty looks, and of two decodings.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median

from bench.pairs import Comparison, Goal, Options, Side, in_turn, run_benchmark
from bench.stage import starter_stage
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import GenerationRequest

LOOKS, DECODINGS = 20, 2  # a run
LONGEST = Goal("figure", "<=", 5)


def measure(options: Options) -> Iterator[Comparison]:
    with starter_stage(smoke=options.smoke) as stage:
        renderer = DiffusersRenderer(str(stage.model), [], stage.device, stage.dtype)
        model = renderer.load(lambda _phase: None)
        [asked] = stage.asked(1)
        request = GenerationRequest.model_validate(asked.to_json())
        [spec] = stage.catalog().get(asked.brand).resolve(request, model)
        for px in (stage.px, stage.px * 2):
            picture = renderer.begin(replace(spec, width=px, height=px, adapters=()))
            renderer.step([picture])
            looking = _side(lambda: renderer.preview(picture), LOOKS)  # noqa: B023 - called at once
            decoding = _side(lambda: renderer.finish([picture]), DECODINGS)  # noqa: B023
            pairs = in_turn(decoding, looking, options.pairs)
            yield Comparison(f"{px} px", "ms", "decoding", "a look", pairs, (LONGEST,))


def _side(call: Callable[[], object], times: int) -> Side:
    def run() -> float:
        seconds = []
        for _ in range(times):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
        return median(seconds) * 1_000

    return run


if __name__ == "__main__":
    sys.exit(run_benchmark("preview", __doc__, measure))
