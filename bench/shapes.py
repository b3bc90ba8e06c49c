"""Random weights in the shape of known models, and LoRAs for them: nothing is downloaded.

How fast a denoiser is does not depend on what its weights have learned.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from imagegen.diffusion.loading import quieten
from imagegen.renderers import STARTER_FOLDER

LORA_RANK = 8
_ADAPTED = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True)
class Shape:
    """A model's configuration, as its publisher's files have it."""

    pipeline: str
    px: int  # the side of its native picture
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text: tuple[Mapping[str, Any], ...]  # one or two text encoders
    scheduler: Mapping[str, Any] = field(
        default_factory=lambda: {
            "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
            "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "steps_offset": 1,
            "clip_sample": False, "set_alpha_to_one": False, "prediction_type": "epsilon",
        }
    )  # fmt: skip


_CLIP_L = {
    "vocab_size": 49_408, "hidden_size": 768, "intermediate_size": 3_072,
    "num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768,
}  # fmt: skip
_CLIP_BIG_G = {
    "vocab_size": 49_408, "hidden_size": 1_280, "intermediate_size": 5_120,
    "num_hidden_layers": 32, "num_attention_heads": 20, "projection_dim": 1_280,
    "hidden_act": "gelu",
}  # fmt: skip
_SDXL_BLOCKS = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "use_linear_projection": True, "addition_embed_type": "text_time",
}  # fmt: skip
_VAE_BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}

SD15 = Shape(
    "StableDiffusionPipeline", 512,
    unet={"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    vae=_VAE_BLOCKS | {
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 512,
        "force_upcast": False,
    },
    text=(_CLIP_L,),
)  # fmt: skip
SDXL = Shape(
    "StableDiffusionXLPipeline", 1024,
    unet=_SDXL_BLOCKS | {
        "sample_size": 128, "block_out_channels": (320, 640, 1_280),
        "transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2_048, "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2_816,
    },
    vae=_VAE_BLOCKS | {
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 1_024,
        "scaling_factor": 0.13025, "force_upcast": True,
    },
    text=(_CLIP_L, _CLIP_BIG_G),
)  # fmt: skip

_TINY_CLIP = {
    "vocab_size": 2_048, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "projection_dim": 32,
}  # fmt: skip
_TINY_VAE = _VAE_BLOCKS | {
    "block_out_channels": (8, 8, 16, 16), "norm_num_groups": 4, "sample_size": 64,
}  # fmt: skip
TINY_SD = Shape(
    "StableDiffusionPipeline", 64,
    unet={
        "sample_size": 8, "cross_attention_dim": 32, "attention_head_dim": 4,
        "block_out_channels": (16, 32, 32, 32), "norm_num_groups": 8, "layers_per_block": 1,
    },
    vae=_TINY_VAE | {"force_upcast": False},
    text=(_TINY_CLIP,),
)  # fmt: skip
TINY_SDXL = Shape(
    "StableDiffusionXLPipeline", 64,
    unet=_SDXL_BLOCKS | {
        "sample_size": 8, "block_out_channels": (16, 32, 32), "norm_num_groups": 8,
        "layers_per_block": 1, "transformer_layers_per_block": (1, 1, 2),
        "attention_head_dim": (2, 4, 4), "cross_attention_dim": 64, "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 32,
    },
    vae=_TINY_VAE | {"force_upcast": True},
    text=(_TINY_CLIP, _TINY_CLIP | {"hidden_act": "gelu"}),
)  # fmt: skip


def make_model(shape: Shape, folder: Path, dtype: torch.dtype, device: str = "cpu") -> Path:
    """Writes a model folder in diffusers' layout, made on `device`; returns it."""
    quieten()
    torch.manual_seed(0)
    with torch.device(device), torch.no_grad():
        unet = UNet2DConditionModel(**shape.unet)
        unet.conv_out.weight.mul_(8)  # untrained weights predict little: make it visible
        unet.to(dtype).save_pretrained(folder / "unet")
        del unet
        vae = AutoencoderKL(**shape.vae)
        vae.decoder.conv_out.weight.mul_(8)
        vae.to(dtype).save_pretrained(folder / "vae")
        parts = _make_text_encoders(shape, folder, dtype)
    _write_json(folder / "scheduler" / "scheduler_config.json", shape.scheduler)
    parts |= {
        "scheduler": ["diffusers", shape.scheduler["_class_name"]],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    if shape.pipeline == "StableDiffusionPipeline":
        parts |= {"safety_checker": [None, None], "requires_safety_checker": False}
        parts |= {"feature_extractor": [None, None]}
    _write_json(folder / "model_index.json", {"_class_name": shape.pipeline} | parts)
    return folder


def _make_text_encoders(shape: Shape, folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Random text encoders behind the starter's tokenizer; returns their lines of the index."""
    starter = json.loads((STARTER_FOLDER / "text_encoder" / "config.json").read_text())
    ends = {name: starter[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    parts: dict[str, Any] = {}
    for number, sizes in enumerate(shape.text):
        suffix = "_2" if number else ""
        kind: Any = CLIPTextModelWithProjection if number else CLIPTextModel
        encoder = kind(CLIPTextConfig(**sizes, **ends))
        encoder.to(dtype).save_pretrained(folder / f"text_encoder{suffix}")
        shutil.copytree(STARTER_FOLDER / "tokenizer", folder / f"tokenizer{suffix}")
        parts[f"text_encoder{suffix}"] = ["transformers", kind.__name__]
        parts[f"tokenizer{suffix}"] = ["transformers", "CLIPTokenizer"]
    return parts


def make_lora(model: Path, path: Path, seed: int) -> Path:
    """A LoRA of rank 8 on every attention layer of the model's UNet, strong enough to be seen."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(model / "unet"))
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, layer in unet.named_modules():
        if isinstance(layer, torch.nn.Linear) and ".attn" in name and name.endswith(_ADAPTED):
            down = torch.randn(LORA_RANK, layer.in_features, generator=generator)
            up = torch.randn(layer.out_features, LORA_RANK, generator=generator)
            tensors[f"unet.{name}.lora_A.weight"] = (down / layer.in_features**0.5).half()
            tensors[f"unet.{name}.lora_B.weight"] = (up * 0.1).half()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))
