"""From the denoiser's numbers to 8-bit pictures: whole ones, and a cheap look on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from imagegen.engine.renderer import Picture

_PATCHES, _PATCH = 8, 4  # patches a side, latents a patch's side


def to_levels(pixels: Tensor) -> Tensor:
    """About -1 … 1 to 8 bits, rounded as VaeImageProcessor rounds."""
    return (pixels * 0.5 + 0.5).clamp(0, 1).float().mul(255).round().to(torch.uint8)


def seal(pixels: Tensor) -> Tensor:
    """[height, width, 3] of about -1 … 1 to its bytes and one more: are all values finite?

    Told by a byte among the others, that needs no look at the device of its own.
    """
    return torch.cat([to_levels(pixels).flatten(), pixels.isfinite().all().to(torch.uint8)[None]])


def unseal(sealed: Sequence[Tensor]) -> list[bytes | None]:
    """What `seal` made of each picture, None for one that is not finite; uint8, any sizes.

    One transfer from the device for all of one size.
    """
    sizes: dict[int, list[int]] = {}
    for index, picture in enumerate(sealed):
        sizes.setdefault(len(picture), []).append(index)
    pixels: list[bytes | None] = [None] * len(sealed)
    for indexes in sizes.values():
        together = torch.stack([sealed[index] for index in indexes]).cpu().numpy()
        for index, row in zip(indexes, together, strict=True):
            pixels[index] = row[:-1].tobytes() if row[-1] else None
    return pixels


def look(latents: Tensor, preview_map: Tensor) -> Picture:
    """A picture of a pixel a latent: latents [channels, h, w], preview_map [channels + 1, 3]."""
    levels = to_levels(_with_one(latents) @ preview_map)
    return Picture(levels.cpu().numpy().tobytes(), latents.shape[2], latents.shape[1])


def fit_preview_map(decode: Callable[[Tensor], Tensor], channels: int) -> Tensor:
    """The linear map from latents to colours that fits an autoencoder best, [channels + 1, 3].

    Least squares over the cells of a decoded patchwork of random latent colours; the last row is
    added to every pixel. decode: latents [1, channels, h, w] to a picture [height, width, 3] of
    about -1 … 1.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    patches = torch.randn(1, channels, _PATCHES, _PATCHES, generator=generator)
    latents = patches.repeat_interleave(_PATCH, 2).repeat_interleave(_PATCH, 3)
    decoded = decode(latents).float().cpu().permute(2, 0, 1)
    colours = F.adaptive_avg_pool2d(decoded, latents.shape[-1]).permute(1, 2, 0)
    inputs = _with_one(latents[0]).reshape(-1, channels + 1)
    fitted: Tensor = torch.linalg.lstsq(inputs, colours.reshape(-1, 3)).solution
    return fitted


def _with_one(latents: Tensor) -> Tensor:
    """[channels, h, w] to [h, w, channels + 1], the last being 1."""
    return F.pad(latents.permute(1, 2, 0), (0, 1), value=1.0)
