"""Small randomly initialised models of Stable Diffusion 1.5's shape, and LoRAs for them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import AdapterUse, RenderSpec, Scheduler

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn"
# diffusers' path, [rank is added], input shape, output size
UNET_TARGETS = {
    f"{ATTENTION}1.to_q": ((32,), 32),
    f"{ATTENTION}1.to_out.0": ((32,), 32),
    f"{ATTENTION}2.to_k": ((24,), 32),
    f"{ATTENTION}2.to_v": ((24,), 32),
    "mid_block.attentions.0.proj_in": ((32, 1, 1), 32),
    "up_blocks.3.resnets.0.conv1": ((48, 3, 3), 16),
    "down_blocks.0.downsamplers.0.conv": ((16, 3, 3), 16),
    "up_blocks.3.resnets.0.time_emb_proj": ((64,), 16),
}
TEXT_TARGETS = {
    "encoder.layers.0.self_attn.q_proj": ((24,), 24),
    # without an out_proj diffusers does not see kohya's other attention layers
    "encoder.layers.0.self_attn.out_proj": ((24,), 24),
    "encoder.layers.1.mlp.fc1": ((24,), 48),
}


def make_model(folder: Path, *, prediction_type: str = "epsilon", distilled: bool = False) -> None:
    """A model folder in diffusers' layout; 64 px, f = 8, four latent channels."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1,
        block_out_channels=(16, 32, 32, 32), norm_num_groups=8,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=4, cross_attention_dim=24,
        time_cond_proj_dim=32 if distilled else None,
    )  # fmt: skip
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16), norm_num_groups=4, sample_size=64,
    )  # fmt: skip
    with torch.no_grad():  # random weights predict and draw little: make everything visible
        unet.conv_out.weight.mul_(8)
        vae.decoder.conv_out.weight.mul_(8)
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    text = CLIPTextConfig(
        vocab_size=514, hidden_size=24, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, bos_token_id=512, eos_token_id=513, pad_token_id=513,
    )  # fmt: skip
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    _make_tokenizer(folder / "tokenizer")
    _write_json(folder / "scheduler" / "scheduler_config.json", {
        "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0",
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
        "steps_offset": 1, "clip_sample": False, "trained_betas": None,
        "prediction_type": prediction_type,
    })  # fmt: skip
    _write_json(folder / "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None], "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"], "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"], "vae": ["diffusers", "AutoencoderKL"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "requires_safety_checker": False,
    })  # fmt: skip


def _make_tokenizer(folder: Path) -> None:
    """One token a character: words run past 77 tokens soon."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocab = {token: index for index, token in enumerate(tokens)}
    vocab |= {"<|startoftext|>": 512, "<|endoftext|>": 513}
    CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77).save_pretrained(folder)


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def lora_tensors(seed: int, rank: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Per dotted path, prefixed with its component: A and B, strong enough to be seen."""
    generator = torch.Generator().manual_seed(seed)
    targets = {f"unet.{path}": shape for path, shape in UNET_TARGETS.items()}
    targets |= {f"text_encoder.{path}": shape for path, shape in TEXT_TARGETS.items()}
    pairs = {}
    for path, (inputs, outputs) in targets.items():
        kernel = (1,) * (len(inputs) - 1)
        down = torch.randn(rank, *inputs, generator=generator) * 0.15
        up = torch.randn(outputs, rank, *kernel, generator=generator) * 0.15
        pairs[path] = (down, up)
    return pairs


def diffusers_lora(
    path: Path,
    seed: int,
    rank: int,
    metadata: dict[str, str] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    tensors = {}
    for name, (down, up) in lora_tensors(seed, rank).items():
        tensors[f"{name}.lora_A.weight"] = down.to(dtype)
        tensors[f"{name}.lora_B.weight"] = up.to(dtype)
    save_file(tensors, path, metadata=metadata)


def kohya_lora(path: Path, seed: int, rank: int, alpha: float) -> None:
    tensors = {}
    for name, (down, up) in lora_tensors(seed, rank).items():
        component, _, module = name.partition(".")
        prefix = "lora_unet_" if component == "unet" else "lora_te_text_model_"
        stem = prefix + module.replace(".", "_")
        tensors[f"{stem}.lora_down.weight"] = down
        tensors[f"{stem}.lora_up.weight"] = up
        tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)


def use(path: Path, weight: float = 1.0) -> AdapterUse:
    return AdapterUse(path, hashlib.sha256(path.read_bytes()).hexdigest(), weight)


def make_spec(**changes: object) -> RenderSpec:
    fields = {
        "brand": "aurora", "prompt": "a red mug", "negative_prompt": "text", "width": 64,
        "height": 64, "num_inference_steps": 4, "guidance_scale": 5.0, "seed": 7,
        "scheduler": Scheduler.DDIM, "adapters": (), "exact": False,
    }  # fmt: skip
    return RenderSpec(**(fields | changes))


def draw(renderer: DiffusersRenderer, *specs: RenderSpec) -> list[bytes]:
    """All pictures in one step loop; each leaves when its steps are done."""
    pictures = [renderer.begin(spec) for spec in specs]
    while busy := [each for each in pictures if each.step_index < each.step_count]:
        renderer.step(busy)
    return [picture.pixels for picture in renderer.finish(pictures)]
