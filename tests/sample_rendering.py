"""A finished picture and its file."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from imagegen.encoding import encode
from imagegen.generation import (
    AdapterUse,
    ModelInfo,
    OutputFormat,
    Rendering,
    RenderSpec,
    Scheduler,
)
from imagegen.provenance import Record

MODEL = ModelInfo(
    name="./models/starter", sha256="sha256:" + "ab" * 32, family="sd", native_px=256, min_px=64,
    max_px=512, schedulers=tuple(Scheduler), device="cpu", dtype="float32",
)  # fmt: skip
ADAPTER = AdapterUse(Path("/home/somebody/presets/aurora/aurora.safetensors"), "cd" * 32, 0.8)
SPEC = RenderSpec(
    brand="aurora", prompt="a red mug", negative_prompt="text, watermark", width=64, height=48,
    num_inference_steps=20, guidance_scale=5.5, scheduler=Scheduler.DPMPP_2M_KARRAS, seed=0,
    adapters=(ADAPTER,), exact=False,
)  # fmt: skip
RECORD = Record(
    preset_version="sha256:ef", campaign="Frühling & Co", versions={"imagegen": "0.1.0"}
)


def rendering(spec: RenderSpec = SPEC, **changes: object) -> Rendering:
    spec = replace(spec, **changes)
    pixels = random.Random(1).randbytes(spec.width * spec.height * 3)
    return Rendering(spec, MODEL, pixels, warnings=(), queue_s=0.1, render_s=0.2, gpu_s=0.3)


def file_of(picture: Rendering, output_format: OutputFormat, record: Record = RECORD) -> bytes:
    return encode(picture, output_format=output_format, output_quality=90, record=record)
