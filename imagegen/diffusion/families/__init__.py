"""One file per architecture: encode the prompt, call the denoiser, decode the latents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from imagegen.diffusion.loading import read_json
from imagegen.errors import InvalidModel

if TYPE_CHECKING:
    from imagegen.diffusion.families.family import Family


def load_family(folder: Path, device: torch.device, dtype: torch.dtype) -> Family:
    """The model in `folder` (diffusers' layout). Raises InvalidModel for an unknown kind."""
    pipeline = read_json(folder / "model_index.json").get("_class_name")
    match pipeline:
        case "StableDiffusionPipeline":
            from imagegen.diffusion.families.sd import StableDiffusion

            return StableDiffusion(folder, device, dtype)
        case "StableDiffusionXLPipeline":
            from imagegen.diffusion.families.sdxl import StableDiffusionXL

            return StableDiffusionXL(folder, device, dtype)
        case _:
            raise InvalidModel(
                f"{folder} is made for {pipeline}; this version draws pictures from words with"
                " StableDiffusionPipeline (Stable Diffusion 1.x and 2.x) and"
                " StableDiffusionXLPipeline"
            )
