"""A tiny model's folder and LoRA files for it, written by hand under a UNet's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

UNET = {
    "down_blocks.0.attentions.0.proj_in": (8, 8, 1, 1),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (8, 8),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0": (8, 8),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k": (8, 4),
    "down_blocks.0.resnets.0.conv1": (6, 8, 3, 3),
}
TEXT_ENCODER = {
    "text_model.encoder.layers.0.self_attn.q_proj": (4, 4),
    "text_model.encoder.layers.0.mlp.fc1": (16, 4),
}
TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def write_model(folder: Path, text_prefix: str = "text_model.", *, second: bool = False) -> Path:
    """second: with SDXL's second text encoder, of the first one's layers."""
    unet = {f"{name}.weight": np.ones(shape, np.float16) for name, shape in UNET.items()}
    unet |= {"conv_norm_out.weight": np.ones(8, np.float16)}
    text = {
        f"{text_prefix}{name.removeprefix('text_model.')}.weight": np.ones(shape, np.float32)
        for name, shape in TEXT_ENCODER.items()
    }
    text |= {f"{text_prefix}embeddings.token_embedding.weight": np.ones((49, 4), np.float32)}
    parts = [
        ("unet", unet, "diffusion_pytorch_model.safetensors"),
        ("text_encoder", text, "model.safetensors"),
    ]
    if second:
        parts.append(("text_encoder_2", text, "model.safetensors"))
    for part, tensors, name in parts:
        (folder / part).mkdir(parents=True)
        save_file(tensors, folder / part / name)
    return folder


def pair(module: str, down: str, up: str, rank: int = 2) -> dict[str, np.ndarray]:
    """The two tensors of one layer, shaped for it; `down` and `up` are their names."""
    out_features, in_features, *kernel = (UNET | TEXT_ENCODER)[module]
    return {
        down: np.full((rank, in_features, *kernel), 0.5, np.float32),
        up: np.full((out_features, rank, *(1 for _ in kernel)), 0.25, np.float32),
    }


def peft_tensors(rank: int = 2) -> dict[str, np.ndarray]:
    tensors = {}
    for prefix, modules in (("unet.", UNET), ("text_encoder.", TEXT_ENCODER)):
        for module in modules:
            key = prefix + module
            tensors |= pair(module, f"{key}.lora_A.weight", f"{key}.lora_B.weight", rank)
    return tensors


def kohya_tensors(rank: int = 2) -> dict[str, np.ndarray]:
    tensors = {}
    for prefix, modules in (("lora_unet_", UNET), ("lora_te_", TEXT_ENCODER)):
        for module in modules:
            key = prefix + module.replace(".", "_")
            tensors |= pair(module, f"{key}.lora_down.weight", f"{key}.lora_up.weight", rank)
            tensors[f"{key}.alpha"] = np.array(1.0, np.float32)
    return tensors
