"""From the denoiser's numbers to 8-bit pictures: whole ones, and a cheap look on the way."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from imagegen.engine.renderer import Picture

_PATCHES, _PATCH = 4, 4  # patches a side, latents a patch's side


def to_picture(pixels: Tensor) -> Picture:
    """[height, width, 3] of about -1 … 1 to 8 bits, rounded as VaeImageProcessor rounds."""
    height, width, _ = pixels.shape
    levels = (pixels * 0.5 + 0.5).clamp(0, 1).float().mul(255).round().to(torch.uint8)
    return Picture(levels.contiguous().cpu().numpy().tobytes(), width, height)


class Glance:
    """The linear map from latents to colours that fits an autoencoder best, at a pixel a latent.

    Least squares over the cells of a decoded patchwork of random latent colours.
    """

    def __init__(self, decode: Callable[[Tensor], Tensor], channels: int, like: Tensor) -> None:
        """decode: latents [1, channels, h, w] to a picture [height, width, 3] about -1 … 1."""
        generator = torch.Generator("cpu").manual_seed(0)
        patches = torch.randn(1, channels, _PATCHES, _PATCHES, generator=generator)
        latents = patches.repeat_interleave(_PATCH, 2).repeat_interleave(_PATCH, 3)
        decoded = decode(latents.to(like)).float().cpu().permute(2, 0, 1)
        colours = F.adaptive_avg_pool2d(decoded, latents.shape[-1]).permute(1, 2, 0)
        inputs = _with_one(latents[0]).reshape(-1, channels + 1)
        self._map = torch.linalg.lstsq(inputs, colours.reshape(-1, 3)).solution.to(like)

    def look(self, latents: Tensor) -> Picture:
        """Latents [channels, h, w] to a picture of w x h pixels."""
        return to_picture(_with_one(latents) @ self._map)


def _with_one(latents: Tensor) -> Tensor:
    """[channels, h, w] to [h, w, channels + 1], the last being 1."""
    return F.pad(latents.permute(1, 2, 0), (0, 1), value=1.0)
