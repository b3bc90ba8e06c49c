"""CLIP's text encoder (Radford et al. 2021, arXiv:2103.00020), as transformers' classes compute it.

Our own for the cold start: importing transformers takes longer than importing torch, and all that a
render needs of it is here. Layers have its names, so that weights and LoRAs land where they should.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.errors import InvalidModel


def _quick_gelu(x: Tensor) -> Tensor:
    """The approximation that CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"quick_gelu": _quick_gelu, "gelu": F.gelu}
_WRONG_END = 2  # what old configurations call the end token; it is the largest number then


@dataclass(frozen=True)
class ClipConfig:
    """A text encoder's config.json; what it leaves out is as in transformers' CLIPTextConfig."""

    vocab_size: int = 49_408
    hidden_size: int = 512
    intermediate_size: int = 2_048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    max_position_embeddings: int = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5
    projection_dim: int = 512
    eos_token_id: int = 49_407
    use_attention_mask: bool = False  # read by StableDiffusionPipeline

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ClipConfig:
        """Raises InvalidModel for an activation that no CLIP has."""
        known = {field.name for field in fields(cls)}
        config = cls(**{name: value for name, value in content.items() if name in known})
        if config.hidden_act not in _ACTIVATIONS:
            raise InvalidModel(f"a text encoder with {config.hidden_act!r} is no CLIP")
        return config


@dataclass(frozen=True)
class Reading:
    """What the encoder makes of a text: states are [1, tokens, features]."""

    last: Tensor  # of the last layer, normalised
    penultimate: Tensor  # of the last layer but one, as it is
    pooled: Tensor  # [1, features] of the end token, projected where the encoder projects


class ClipTextEncoder(nn.Module):
    """Reads token ids, int64 [1, tokens]."""

    def __init__(self, config: ClipConfig, *, projects: bool) -> None:
        """projects: whether it has a `text_projection`, as SDXL's second encoder."""
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = _Layers(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.text_projection = (
            nn.Linear(config.hidden_size, config.projection_dim, bias=False)
            if projects
            else nn.Identity()
        )

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Reading:
        """mask: bool [1, tokens], false where nobody shall look; None where all may be seen."""
        states = penultimate = self.embeddings(ids)
        seen = None if mask is None else _causal(mask)
        for layer in self.encoder.layers:
            penultimate, states = states, layer(states, seen)
        last = self.final_layer_norm(states)
        end = self.config.eos_token_id
        at = ids.argmax(-1) if end == _WRONG_END else (ids == end).int().argmax(-1)
        return Reading(last, penultimate, self.text_projection(last[:, at[0]]))


def _causal(mask: Tensor) -> Tensor:
    """Who may look at whom, bool [1, 1, tokens, tokens]: at the words before, where unmasked."""
    tokens = mask.shape[-1]
    before = torch.ones(tokens, tokens, dtype=torch.bool, device=mask.device).tril()
    return before & mask[:, None, None, :]


class _Embeddings(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.token_embedding = _table(config.vocab_size, config.hidden_size)
        self.position_embedding = _table(config.max_position_embeddings, config.hidden_size)

    def forward(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.token_embedding(ids)
        return embedded + self.position_embedding.weight[: ids.shape[1]]


def _table(rows: int, features: int) -> nn.Embedding:
    """Not filled with noise: on a meta device torch imports its compiler for that."""
    return nn.Embedding(rows, features, _weight=torch.empty(rows, features))


class _Layers(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))


class _Layer(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = _Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = _Mlp(config)

    def forward(self, states: Tensor, seen: Tensor | None) -> Tensor:
        states = states + self.self_attn(self.layer_norm1(states), seen)
        moved: Tensor = states + self.mlp(self.layer_norm2(states))
        return moved


class _Attention(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self._heads = config.num_attention_heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, states: Tensor, seen: Tensor | None) -> Tensor:
        query, key, value = (
            projected.unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for projected in (self.q_proj(states), self.k_proj(states), self.v_proj(states))
        )
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, is_causal=seen is None
        )
        attended: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return attended


class _Mlp(nn.Module):
    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self._activation = _ACTIVATIONS[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        moved: Tensor = self.fc2(self._activation(self.fc1(states)))
        return moved
