"""What the denoiser reads besides latents: texts, guidance, sizes. Imports no diffusers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """One text as the denoiser reads it: worth keeping, it does not depend on the picture."""

    states: Tensor  # [1, tokens, features]
    pooled: Tensor | None = None  # [1, features], the whole text at once; SDXL


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser needs to know besides latents: of all rows of a picture, or of a call."""

    embeddings: Tensor  # [rows, tokens, features]; two rows under guidance: negative, prompt
    guidance: Tensor | None  # [rows, features] for a UNet that takes guidance as an input
    added: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))
    """SDXL's `text_embeds` and `time_ids`, [rows, features] each."""

    @classmethod
    def together(cls, pictures: Sequence[Conditioning]) -> Conditioning:
        """The rows of all pictures of a call, one under another."""
        guidance = [known.guidance for known in pictures if known.guidance is not None]
        return cls(
            torch.cat([known.embeddings for known in pictures]),
            torch.cat(guidance) if guidance else None,
            {
                name: torch.cat([known.added[name] for known in pictures])
                for name in pictures[0].added
            },
        )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        guidance = () if self.guidance is None else (self.guidance,)
        return self.embeddings, *guidance, *self.added.values()

    def clone(self) -> Conditioning:
        return Conditioning(
            self.embeddings.clone(),
            None if self.guidance is None else self.guidance.clone(),
            {name: each.clone() for name, each in self.added.items()},
        )
