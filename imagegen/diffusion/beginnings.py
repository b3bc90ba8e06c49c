"""Beginnings: the latents before a picture's first step, out of noise or of another picture."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from imagegen.diffusion.device import send
from imagegen.edits import Edit, SourcePixels
from imagegen.generation import RenderSpec

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    from imagegen.diffusion.families.family import Family
    from imagegen.diffusion.schedulers import StepRule

MOST_KEPT = 16  # encoded pictures: a megabyte or two each at 1024 pixels


@dataclass(frozen=True)
class Kept:
    """What of an inpainted picture stays as it was; all on the device, as latents."""

    latents: Tensor  # of the picture that was sent
    noise: Tensor  # that its parts get which stay
    mask: Tensor  # [1, 1, height/8, width/8]: 1 is repainted, 0 stays

    def put_back(self, moved: Tensor, rule: StepRule, step_index: int) -> Tensor:
        """`moved` before step `step_index`, with what stays in its place, as noisy as that is.

        As StableDiffusionInpaintPipeline does it with a UNet that never saw a mask.
        """
        stays = self.latents
        if step_index < len(rule.timesteps):
            signal, noise = rule.noise_level(step_index)
            stays = signal * self.latents + noise * self.noise
        return (1 - self.mask) * stays + self.mask * moved


@dataclass(frozen=True)
class Beginning:
    """A picture before its first step."""

    latents: Tensor  # [1, channels, height/8, width/8]
    kept: Kept | None = None
    warnings: tuple[str, ...] = ()


class Beginnings:
    """Draws first latents. Encoded pictures are kept: a request's pictures are edits of one."""

    def __init__(self, family: Family, device: torch.device) -> None:
        self._family, self._device = family, device
        self._encoded: OrderedDict[tuple[str, int, int], DiagonalGaussianDistribution] = (
            OrderedDict()
        )

    def draw(
        self, spec: RenderSpec, rule: StepRule, generator: torch.Generator, dtype: torch.dtype
    ) -> Beginning:
        """generator: of the CPU, as a CPU and a GPU then draw the same picture.

        It is asked in the order in which diffusers' pipelines for text-to-image, img2img and
        inpainting ask theirs. dtype: the denoiser's.
        """
        if spec.edit is None:
            return Beginning(self._noise(spec, generator, dtype) * rule.init_noise_sigma)
        latents = self._family.scaled(self._read(spec, spec.edit).sample(generator)).to(dtype)
        noise = self._noise(spec, generator, dtype)
        signal, strength = rule.noise_level(0)
        begun = signal * latents + strength * noise
        if spec.edit.mask is None:
            return Beginning(begun)
        # For UNets of nine channels, which see them, that pipeline also draws the latents of what
        # stays: schedulers that draw noise in each step draw what comes after that.
        self._noise(spec, generator, self._family.vae.dtype)
        if spec.edit.strength == 1:
            begun = noise * rule.init_noise_sigma
        mask = self._mask(spec, spec.edit.mask)
        return Beginning(
            begun,
            Kept(latents, noise, send(mask.to(dtype), self._device)),
            () if mask.any() else (self._too_fine(),),
        )

    def _noise(self, spec: RenderSpec, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        shape = self._family.latent_shape(spec.width, spec.height)
        return send(torch.randn(shape, generator=generator, dtype=dtype), self._device)

    def _read(self, spec: RenderSpec, edit: Edit) -> DiagonalGaussianDistribution:
        key = edit.init_image.sha256, spec.width, spec.height
        if key not in self._encoded:
            pixels = send(_levels(edit.init_image, spec, 3), self._device)
            picture = pixels.permute(2, 0, 1)[None].float() / 255 * 2 - 1
            self._encoded[key] = self._family.encode_picture(picture)
            if len(self._encoded) > MOST_KEPT:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(key)
        return self._encoded[key]

    def _mask(self, spec: RenderSpec, mask: SourcePixels) -> Tensor:
        """One pixel a latent, its upper left one: what `interpolate` takes for the nearest."""
        step = self._family.px_per_latent
        return _levels(mask, spec, 1)[::step, ::step, 0].gt(0)[None, None]

    def _too_fine(self) -> str:
        return (
            f"the mask's white lies between the {self._family.px_per_latent} pixels that the model"
            " works in: nothing was repainted; paint it broader"
        )


def _levels(pixels: SourcePixels, spec: RenderSpec, channels: int) -> Tensor:
    """[height, width, channels], uint8."""
    rows = torch.frombuffer(bytearray(pixels.rows), dtype=torch.uint8)
    return rows.view(spec.height, spec.width, channels)
