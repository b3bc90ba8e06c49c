"""The bare pipeline: diffusers called in a loop in one process, its LoRA active, no HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from bench.alike import Pixels
from bench.stage import Asked, Stage


class Bare:
    """diffusers' own pipeline for the stage's model with one brand's LoRA, loaded once."""

    def __init__(self, stage: Stage, brand: str) -> None:
        self._pipe: Any = DiffusionPipeline.from_pretrained(
            stage.model, dtype=getattr(torch, stage.dtype)
        ).to(stage.device)
        self._pipe.set_progress_bar_config(disable=True)
        lora = stage.loras[brand]
        self._pipe.load_lora_weights(lora.parent, weight_name=lora.name, adapter_name="lora")
        self._pipe.set_adapters("lora")

    def picture(self, asked: Asked) -> Pixels:
        image = self._pipe(
            asked.prompt,
            width=asked.px,
            height=asked.px,
            num_inference_steps=asked.num_inference_steps,
            guidance_scale=asked.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(asked.seed),
        ).images[0]
        return np.asarray(image)
