"""Stable Diffusion XL, as `StableDiffusionXLPipeline` renders it, a row at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from imagegen.diffusion.families.conditioning import Encoded
from imagegen.diffusion.families.family import Family
from imagegen.diffusion.families.words import TextReader
from imagegen.diffusion.loading import read_json
from imagegen.errors import InvalidModel


class StableDiffusionXL(Family):
    """Two text encoders side by side; the UNet also hears the picture's size."""

    name = "sdxl"
    addition_embed_type = "text_time"
    # published with InvokeAI's previews (invoke-ai/InvokeAI on GitHub, by @StAlKeR7779)
    preview_factors = (
        (0.3816, 0.4930, 0.5320),
        (-0.3753, 0.1631, 0.1739),
        (0.1770, 0.3588, -0.2048),
        (-0.4350, -0.2644, -0.4289),
        (0.0, 0.0, 0.0),
    )

    def _load_readers(self) -> Mapping[str, TextReader]:
        index = read_json(self._folder / "model_index.json")
        self._zeros_for_empty = bool(index.get("force_zeros_for_empty_prompt", True))
        return {
            "text_encoder": self._reader(),
            "text_encoder_2": self._reader("_2", projects=True),
        }

    def encode(self, text: str) -> Encoded:
        """The last hidden states but one of both encoders; an empty text may be all zeros.

        The pipeline zeroes a negative prompt of None where the model says so, and reads one of ""
        as words. A RenderSpec cannot tell them apart: here an empty one, said or not, is zeros.
        Neither encoder gets a mask, whatever its file says.
        """
        readings = [reader.read(text) for reader in self.readers.values()]
        states = torch.cat([reading.penultimate for reading in readings], dim=-1)
        pooled = readings[-1].pooled
        if not text and self._zeros_for_empty:
            return Encoded(torch.zeros_like(states), torch.zeros_like(pooled))
        return Encoded(states, pooled)

    def _vae_dtype(self) -> torch.dtype:
        """fp32 unless the model's own file forgoes it, as its activations overflow in fp16."""
        config = read_json(self._folder / "vae" / "config.json")
        return torch.float32 if config.get("force_upcast", True) else self._dtype

    def _added(self, encoded: Sequence[Encoded], width: int, height: int) -> dict[str, Tensor]:
        """Original size, crop and target size: the picture is whole and was never scaled."""
        pooled = torch.cat([text.pooled for text in encoded if text.pooled is not None])
        size = pooled.new_tensor([[height, width, 0, 0, height, width]])
        return {"text_embeds": pooled, "time_ids": size.expand(len(encoded), -1)}

    def _check(self) -> None:
        super()._check()
        config = self.unet.config
        pooled = self.readers["text_encoder_2"].encoder.config.projection_dim
        given = pooled + 6 * config.addition_time_embed_dim
        if config.projection_class_embeddings_input_dim != given:
            raise InvalidModel(
                f"the UNet takes {config.projection_class_embeddings_input_dim} features of text"
                f" and size, this model gives {given}: is it a refiner?"
            )

    def scaled(self, latents: Tensor) -> Tensor:
        mean, std = self._statistics(latents)
        return super().scaled((latents - mean) / std)

    def _unscaled(self, latents: Tensor) -> Tensor:
        mean, std = self._statistics(latents)
        return super()._unscaled(latents) * std + mean

    def _statistics(self, latents: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """The mean and standard deviation of each channel, where the model says them."""
        config = self.vae.config
        if config.latents_mean is None or config.latents_std is None:
            return 0.0, 1.0
        mean, std = (latents.new_tensor(each) for each in (config.latents_mean, config.latents_std))
        return mean.view(1, -1, 1, 1), std.view(1, -1, 1, 1)
