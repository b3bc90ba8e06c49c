"""Kohya's names of SDXL's UNet layers: those of Stability's own code, not those of diffusers.

Stability's UNet (`generative-models`, openaimodel.py) counts its blocks through, samplers
included; diffusers counts per resolution. The table is the one diffusers reads such files by
(`_maybe_map_sgm_blocks_to_diffusers`, `_convert_unet_lora_key`).
"""

from __future__ import annotations

import re
from collections.abc import Collection

_BLOCK = re.compile(
    r"(down|mid|up)_block(?:s\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)
_INSIDE = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}


def sgm_names(modules: Collection[str]) -> dict[str, str]:
    """Stability's dotted name to diffusers', for each of a UNet's `modules` that has one."""
    layers = sum(f"down_blocks.0.resnets.{index}.conv1" in modules for index in range(8))
    attended = {module.partition(".attentions.")[0] for module in modules if "attentions" in module}
    names = {}
    for module in modules:
        if found := _BLOCK.fullmatch(module):
            side, block, kind, index, rest = found.groups()
            prefix = f"{side}_blocks.{block}" in attended
            place = _place(side, int(block or 0), (kind, int(index)), layers, attended=prefix)
            names[f"{place}.{_rest(kind, rest)}"] = module
        elif module in _OUTSIDE:
            names[_OUTSIDE[module]] = module
    return names


def _place(side: str, block: int, part: tuple[str, int], layers: int, *, attended: bool) -> str:
    kind, index = part
    if side == "mid":  # a residual block, attention, a residual block
        return f"middle_block.{index * 2 if kind == 'resnets' else 1}"
    start = block * (layers + 1)
    match kind:
        case "downsamplers":  # a block of its own after the others
            return f"input_blocks.{start + layers + 1}.0"
        case "upsamplers":  # at the end of the last one
            return f"output_blocks.{start + layers}.{2 if attended else 1}"
        case _:
            inner = 0 if kind == "resnets" else 1
            if side == "down":
                return f"input_blocks.{start + index + 1}.{inner}"
            return f"output_blocks.{start + index}.{inner}"


def _rest(kind: str, rest: str) -> str:
    if kind == "downsamplers":
        return "op"
    return _INSIDE.get(rest, rest) if kind == "resnets" else rest
