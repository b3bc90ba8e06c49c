"""Kohya's SDXL files: every name of Stability's UNet finds its layer, and diffusers agrees."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from imagegen.adapter_files.sgm_names import sgm_names
from imagegen.adapter_files.targets import parse_targets
from imagegen.adapter_files.tensors import TensorHeader

# SDXL's own UNet: two residual blocks a resolution, attention at the lower two
RESNET = ("conv1", "conv2", "time_emb_proj", "conv_shortcut")
BLOCK = "transformer_blocks.0.attn1.to_q", "transformer_blocks.0.ff.net.0.proj", "proj_in"
MODULES = frozenset(
    [
        *("conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"),
        *("add_embedding.linear_1", "add_embedding.linear_2"),
        *(f"down_blocks.{b}.resnets.{r}.{x}" for b in range(3) for r in range(2) for x in RESNET),
        *(f"up_blocks.{b}.resnets.{r}.{x}" for b in range(3) for r in range(3) for x in RESNET),
        *(f"mid_block.resnets.{r}.{x}" for r in range(2) for x in RESNET),
        *(f"down_blocks.{b}.attentions.{a}.{x}" for b in (1, 2) for a in range(2) for x in BLOCK),
        *(f"up_blocks.{b}.attentions.{a}.{x}" for b in (0, 1) for a in range(3) for x in BLOCK),
        *(f"mid_block.attentions.0.{x}" for x in BLOCK),
        *(f"down_blocks.{b}.downsamplers.0.conv" for b in (0, 1)),
        *(f"up_blocks.{b}.upsamplers.0.conv" for b in (0, 1)),
    ]
)


@pytest.mark.parametrize(
    ("sgm", "module"),
    [
        ("input_blocks.0.0", "conv_in"),
        ("input_blocks.1.0.in_layers.2", "down_blocks.0.resnets.0.conv1"),
        ("input_blocks.3.0.op", "down_blocks.0.downsamplers.0.conv"),
        ("input_blocks.4.1.proj_in", "down_blocks.1.attentions.0.proj_in"),
        ("input_blocks.8.0.skip_connection", "down_blocks.2.resnets.1.conv_shortcut"),
        ("middle_block.1.proj_in", "mid_block.attentions.0.proj_in"),
        ("middle_block.2.out_layers.3", "mid_block.resnets.1.conv2"),
        ("output_blocks.0.1.proj_in", "up_blocks.0.attentions.0.proj_in"),
        ("output_blocks.2.2.conv", "up_blocks.0.upsamplers.0.conv"),
        ("output_blocks.8.0.emb_layers.1", "up_blocks.2.resnets.2.time_emb_proj"),
        ("label_emb.0.2", "add_embedding.linear_2"),
        ("out.2", "conv_out"),
    ],
)
def test_sdxls_layers_have_stabilitys_names(sgm: str, module: str) -> None:
    assert sgm_names(MODULES)[sgm] == module


def test_every_layer_has_one_name_of_its_own() -> None:
    assert sorted(sgm_names(MODULES).values()) == sorted(MODULES)


def test_a_sampler_without_attention_before_it_comes_second() -> None:
    """SD 1.x's lowest resolution has none; there the sampler follows the residual block."""
    bare = {"down_blocks.0.resnets.0.conv1", "up_blocks.0.upsamplers.0.conv"}
    assert "output_blocks.1.1.conv" in sgm_names(bare)


def test_a_file_under_those_names_lands() -> None:
    header = {}
    for sgm in sgm_names(MODULES):
        stem = f"lora_unet_{sgm.replace('.', '_')}"
        header[f"{stem}.lora_down.weight"] = TensorHeader("F32", (2, 8), (0, 0))
        header[f"{stem}.lora_up.weight"] = TensorHeader("F32", (8, 2), (0, 0))
    targets = parse_targets(header, {"unet": MODULES})
    assert {target.module for target in targets} == MODULES


@pytest.mark.torch
def test_diffusers_reads_the_blocks_the_same_way() -> None:
    from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers

    names = {name: module for name, module in sgm_names(MODULES).items() if "block" in module}
    keys = {f"lora_unet_{name.replace('.', '_')}": module for name, module in names.items()}
    for key, module in keys.items():
        [theirs] = _maybe_map_sgm_blocks_to_diffusers(
            {key: None}, SimpleNamespace(layers_per_block=2)
        )
        block = re.sub(r"_(in_layers|out_layers|emb_layers|skip_connection|op$).*", "", theirs)
        renamed = block.replace("input_blocks", "down_blocks").replace("output_blocks", "up_blocks")
        ours = f"lora_unet_{module.replace('.', '_')}"
        assert ours.startswith(renamed.replace("middle_block", "mid_block"))
