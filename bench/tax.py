"""tax: one denoiser step with four brands in the batch, against the same batch with no LoRA.

Two renderers in one process, one that has never heard of a LoRA and one with four of them, step
the same four pictures in turn: the starter at 256 x 256 under guidance (8 rows), and random weights
of SD 1.5's shape at 256 x 256 without guidance (4 rows, LoRAs of rank 8 on all attention layers),
fp32 on a CPU. SD 1.5's native 512 x 512 would take minutes a step here. A figure is the median of
three steps. Beside it stands what the LoRAs' multiplications alone make of the model's: no program
can cost less, unless it does other work faster.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from bench.pairs import Comparison, Goal, Options, Side, in_turn, run_benchmark
from bench.shapes import SD15, TINY_SD, Shape, make_lora, make_model
from bench.stage import BRANDS, Stage, stage_for, starter_stage
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import GenerationRequest, RenderSpec

STEPS_A_RUN = 3
TAX = Goal("ratio", "<=", 1.06)


def measure(options: Options) -> Iterator[Comparison]:
    with starter_stage(smoke=options.smoke) as stage:
        yield compare("starter", stage, options.pairs, guidance_scale=4.0)
    shape = TINY_SD if options.smoke else SD15
    with random_stage(shape) as stage:
        small = stage if options.smoke else replace(stage, px=256)
        yield compare("SD 1.5 shape", small, options.pairs, guidance_scale=1.0)


@contextmanager
def random_stage(
    shape: Shape,
    device: Literal["cpu", "cuda"] = "cpu",
    dtype: Literal["float32", "float16"] | None = None,
) -> Iterator[Stage]:
    """Random weights of that shape with four random LoRAs; by default fp16 on CUDA, else fp32."""
    dtype = dtype or ("float16" if device == "cuda" else "float32")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = make_model(shape, folder / "model", getattr(torch, dtype), device)
        loras = {
            brand: make_lora(model, folder / f"{brand}.safetensors", seed)
            for seed, brand in enumerate(BRANDS)
        }
        stage = stage_for(model, loras, folder / "brands", px=shape.px)
        yield replace(stage, device=device, dtype=dtype)


def compare(what: str, stage: Stage, pairs: int, *, guidance_scale: float) -> Comparison:
    brands = [preset.adapters for preset in stage.catalog()]
    with_brands = DiffusersRenderer(str(stage.model), brands, stage.device, stage.dtype)
    without = DiffusersRenderer(str(stage.model), [], stage.device, stage.dtype)
    specs = _specs(with_brands, stage, guidance_scale)
    without.load(lambda _phase: None)
    bare = [replace(spec, adapters=()) for spec in specs]
    rows = len(specs) * (2 if guidance_scale > 1 else 1)
    measured = in_turn(_side(without, bare, stage), _side(with_brands, specs, stage), pairs)
    size = f"{rows} rows of {stage.px} px"
    floor = f"multiplications alone {1 + _share_of_work(without, bare, stage.loras[BRANDS[0]]):.3f}"
    return Comparison(f"{what}, {size}", "s a step", "no LoRA", "4 brands", measured, (TAX,), floor)


def _share_of_work(without: DiffusersRenderer, bare: Sequence[RenderSpec], lora: Path) -> float:
    """The multiplications of a LoRA over those of the same step without it; all are alike here."""
    with FlopCounterMode(display=False) as counter:
        without.step([without.begin(spec) for spec in bare])
    spent = counter.get_flop_counts()
    tensors = load_file(lora)
    added = 0.0
    for name, down in tensors.items():
        layer, _, rest = name.removeprefix("unet.").partition(".lora_A.")
        if rest:
            up = tensors[name.replace(".lora_A.", ".lora_B.")]
            [of_layer] = (ops for path, ops in spent.items() if path.endswith(f"Model.{layer}"))
            weight = down[0].numel() * up.shape[0]
            added += sum(of_layer.values()) * (down.numel() + up.numel()) / weight
    return added / int(counter.get_total_flops())


def _specs(renderer: DiffusersRenderer, stage: Stage, guidance_scale: float) -> list[RenderSpec]:
    """Loads the renderer; one picture of each brand."""
    model = renderer.load(lambda _phase: None)
    catalog = stage.catalog()
    asked = [replace(one, guidance_scale=guidance_scale) for one in stage.asked(len(BRANDS))]
    requests = [GenerationRequest.model_validate(one.to_json()) for one in asked]
    return [spec for one in requests for spec in catalog.get(one.brand).resolve(one, model)]


def _side(renderer: DiffusersRenderer, specs: Sequence[RenderSpec], stage: Stage) -> Side:
    def run() -> float:
        pictures = [renderer.begin(replace(spec, num_inference_steps=8)) for spec in specs]
        seconds = []
        for _ in range(STEPS_A_RUN):
            began = time.perf_counter()
            renderer.step(pictures)
            if stage.device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        return median(seconds)

    return run


if __name__ == "__main__":
    sys.exit(run_benchmark("tax", __doc__, measure))
