"""What diffusers' own pipelines make of a spec, and how ours compare."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image
from tiny_models import draw

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import AdapterUse, RenderSpec, Scheduler

MAX_DIFFERENCE = 1  # of 255
HALF, WHOLE = "float16", "float32"
MODELS = {
    "sd15": {},
    "sd2": {"shape": "sd2", "prediction_type": "v_prediction"},
    "sdxl": {"shape": "sdxl"},
}
REFERENCES = {
    Scheduler.DDIM: (diffusers.DDIMScheduler, {}),
    Scheduler.DDPM: (diffusers.DDPMScheduler, {}),
    Scheduler.EULER: (diffusers.EulerDiscreteScheduler, {}),
    Scheduler.EULER_A: (diffusers.EulerAncestralDiscreteScheduler, {}),
    Scheduler.DPMPP_2M: (diffusers.DPMSolverMultistepScheduler, {}),
    Scheduler.DPMPP_2M_KARRAS: (
        diffusers.DPMSolverMultistepScheduler,
        {"use_karras_sigmas": True},
    ),
    Scheduler.UNIPC: (diffusers.UniPCMultistepScheduler, {}),
    Scheduler.LCM: (diffusers.LCMScheduler, {}),
}


@functools.cache
def _pipeline(
    folder: Path, adapters: tuple[AdapterUse, ...], dtype: torch.dtype, device: str
) -> tuple[Any, dict[str, Any]]:
    """The pipeline that `folder` is made for with its LoRAs on, and its scheduler's options."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(
        folder, local_files_only=True, torch_dtype=dtype
    )
    pipe.set_progress_bar_config(disable=True)
    names = [f"lora_{index}" for index in range(len(adapters))]
    for name, adapter in zip(names, adapters, strict=True):
        pipe.load_lora_weights(
            adapter.path.parent, weight_name=adapter.path.name, adapter_name=name
        )
    if names:
        pipe.set_adapters(names, [adapter.weight for adapter in adapters])
    return pipe.to(device), pipe.scheduler.config


def reference(
    folder: Path,
    spec: RenderSpec,
    dtype: torch.dtype = torch.float32,
    *,
    empty: str | None = None,
    device: str = "cpu",
) -> np.ndarray:
    """What the pipeline makes of the same words, [height, width, 3].

    empty: what it is given for an empty negative prompt. SDXL's makes other pictures of None than
    of "", and ours are those of None.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe, config = _pipeline(folder, spec.adapters, dtype, device)
        cls, options = REFERENCES[spec.scheduler]
        pipe.scheduler = cls.from_config(config, **options)
        pipe, pictures = _for_edit(pipe, spec)
        image = pipe(
            spec.prompt, negative_prompt=spec.negative_prompt or empty,
            num_inference_steps=spec.num_inference_steps, guidance_scale=spec.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(spec.seed), **pictures,
        ).images[0]  # fmt: skip
    return np.asarray(image)


def _for_edit(pipe: Any, spec: RenderSpec) -> tuple[Any, dict[str, Any]]:
    """The pipeline for text-to-image, img2img or inpainting, and what only that one is given."""
    size = spec.width, spec.height
    if spec.edit is None:
        return pipe, {"width": spec.width, "height": spec.height}
    given = {
        "image": Image.frombytes("RGB", size, spec.edit.init_image.rows),
        "strength": spec.edit.strength,
    }
    task = "Img2Img"
    if spec.edit.mask is not None:
        task = "Inpaint"
        given["mask_image"] = Image.frombytes("L", size, spec.edit.mask.rows)
        given |= {"width": spec.width, "height": spec.height}
    cls = getattr(diffusers, type(pipe).__name__.replace("Pipeline", f"{task}Pipeline"))
    edits = cls.from_pipe(pipe)
    edits.set_progress_bar_config(disable=True)
    return edits, given


def ours(renderer: DiffusersRenderer, spec: RenderSpec) -> np.ndarray:
    [pixels] = draw(renderer, spec)
    return np.frombuffer(pixels, np.uint8).reshape(spec.height, spec.width, 3)


def assert_equal(ours: np.ndarray, theirs: np.ndarray, at_most: int = MAX_DIFFERENCE) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 4, "a reference that shows nothing proves nothing"
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= at_most


def decibels(one: bytes, other: bytes) -> float:
    a, b = (np.frombuffer(pixels, np.uint8).astype(float) for pixels in (one, other))
    return float(10 * np.log10(255**2 / max(((a - b) ** 2).mean(), 1e-12)))


def loaded(
    folder: Path,
    *adapters: AdapterUse | tuple[AdapterUse, ...],
    dtype: str = "float32",
    device: str = "cpu",
    **options: int,
) -> DiffusersRenderer:
    renderer = DiffusersRenderer(str(folder), adapters, device, dtype, **options)
    renderer.load(lambda _: None)
    return renderer
