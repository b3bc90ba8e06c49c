"""Stable Diffusion 1.x and 2.x, as `StableDiffusionPipeline` renders them, a row at a time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from imagegen.diffusion.families.conditioning import Encoded
from imagegen.diffusion.families.family import Family
from imagegen.diffusion.families.words import TextReader


class StableDiffusion(Family):
    """One text encoder, whose last hidden states are what the UNet reads."""

    name = "sd"
    forced_options = MappingProxyType({"steps_offset": 1, "clip_sample": False})
    # published with InvokeAI's previews (invoke-ai/InvokeAI on GitHub, by @torridgristle), from
    # https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204
    preview_factors = (
        (0.3444, 0.1385, 0.0670),
        (0.1247, 0.4027, 0.1494),
        (-0.3192, 0.2513, 0.2103),
        (-0.1307, -0.1874, -0.7445),
        (0.0, 0.0, 0.0),
    )

    def _load_readers(self) -> Mapping[str, TextReader]:
        return {"text_encoder": self._reader()}

    def encode(self, text: str) -> Encoded:
        reader = self.readers["text_encoder"]
        return Encoded(reader.read(text, masked=reader.encoder.config.use_attention_mask).last)
