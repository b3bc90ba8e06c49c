"""ParsedAdapter: one LoRA file in RAM, checked against the layers it wants to change."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from imagegen.adapter_files.targets import declared_alphas, parse_targets, read_header
from imagegen.errors import InvalidAdapter
from imagegen.generation import AdapterUse

Layer = tuple[str, str]  # component and dotted path, such as ("unet", "mid_block.….to_q")


@dataclass(frozen=True)
class LowRank:
    """What a LoRA adds to one layer's weight: strength · up · down (Hu et al. 2021)."""

    down: Tensor  # [rank, in] or [rank, in, kernel, kernel], as the file has it
    up: Tensor  # [out, rank]
    strength: float  # alpha / rank

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @cached_property
    def balance(self) -> float:
        """Makes `balance · down` and `strength / balance · up` about equally large.

        Either alone may be smaller than the numbers that fp16 holds well: alpha 1 at rank 128 is a
        strength of 1/128. A power of two, which in fp32 changes no digit.
        """
        down, up = (float(matrix.abs().max()) for matrix in (self.down, self.up))
        if not (down and up and self.strength):
            return 1.0
        return float(2.0 ** round(math.log2(abs(self.strength) * up / down) / 2))


@dataclass(frozen=True)
class ParsedAdapter:
    """One LoRA file in the file's own precision; it shares the memory the file was read into."""

    path: Path
    layers: dict[Layer, LowRank]

    @property
    def size(self) -> int:
        """How many numbers its matrices have."""
        return sum(each.down.numel() + each.up.numel() for each in self.layers.values())

    @property
    def changes_words(self) -> bool:
        """Whether a text reads differently under it."""
        return any(component != "unet" for component, _ in self.layers)


def parse_adapter(use: AdapterUse, modules: Mapping[Layer, nn.Module]) -> ParsedAdapter:
    """Reads a LoRA for the model of those modules.

    Raises InvalidAdapter, naming the file, for one that does not fit or changes nothing.
    """
    header = read_header(use.path)
    names: dict[str, set[str]] = {}
    for component, path in modules:
        names.setdefault(component, set()).add(path)
    try:
        targets = parse_targets(header, {part: frozenset(paths) for part, paths in names.items()})
    except InvalidAdapter as error:
        raise InvalidAdapter(f"{use.path}: {error}") from None
    alphas = declared_alphas(use.path, targets)
    data = use.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != use.sha256.removeprefix("sha256:"):
        raise InvalidAdapter(f"{use.path} has changed since the presets were read; restart")
    tensors = safetensors.torch.load(data)
    parsed = ParsedAdapter(use.path, {})
    for target in targets:
        place = (target.component, target.module)
        alpha = float(tensors[target.alpha]) if target.alpha else alphas.get(target)
        strength = 1.0 if alpha is None else alpha / target.rank
        change = LowRank(tensors[target.down], tensors[target.up].flatten(1), strength)
        _check_shape(parsed, place, modules[place], change)
        parsed.layers[place] = change
    _check_effect(parsed)
    return parsed


def _check_shape(parsed: ParsedAdapter, place: Layer, module: nn.Module, change: LowRank) -> None:
    if not isinstance(module, nn.Linear | nn.Conv2d):
        raise InvalidAdapter(f"{parsed.path}: {'.'.join(place)} is a {type(module).__name__}")
    weight, down, up = module.weight, change.down, change.up
    if down.shape[1:] != weight.shape[1:] or up.shape[0] != weight.shape[0]:
        raise InvalidAdapter(
            f"{parsed.path} is for another architecture: {'.'.join(place)} has weights"
            f" {list(weight.shape)}, the LoRA {list(down.shape)} and {list(up.shape)}"
        )


def _check_effect(parsed: ParsedAdapter) -> None:
    changes = parsed.layers.values()
    if not all(bool(x.isfinite().all()) for each in changes for x in (each.down, each.up)):
        raise InvalidAdapter(f"{parsed.path} holds values that are not finite numbers")
    if not any(bool(each.down.any() and each.up.any() and each.strength) for each in changes):
        raise InvalidAdapter(f"{parsed.path} changes nothing: its matrices are all zero")
