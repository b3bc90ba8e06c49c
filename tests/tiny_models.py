"""Small randomly initialised models, of Stable Diffusion 1.5's, 2.x's and XL's shape, and LoRAs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import AdapterUse, RenderSpec, Scheduler

Targets = Mapping[str, tuple[tuple[int, ...], int]]  # path to: input shape (rank is added), output

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn"


def _unet_targets(text_features: int, last: int, proj_in: tuple[int, ...]) -> Targets:
    return {
        f"{ATTENTION}1.to_q": ((32,), 32),
        f"{ATTENTION}1.to_out.0": ((32,), 32),
        f"{ATTENTION}2.to_k": ((text_features,), 32),
        f"{ATTENTION}2.to_v": ((text_features,), 32),
        "mid_block.attentions.0.proj_in": (proj_in, 32),
        f"up_blocks.{last}.resnets.0.conv1": ((48, 3, 3), 16),
        "down_blocks.0.downsamplers.0.conv": ((16, 3, 3), 16),
        f"up_blocks.{last}.resnets.0.time_emb_proj": ((64,), 16),
    }


def _text_targets(features: int) -> Targets:
    return {
        "encoder.layers.0.self_attn.q_proj": ((features,), features),
        # without an out_proj diffusers does not see kohya's other attention layers
        "encoder.layers.0.self_attn.out_proj": ((features,), features),
        "encoder.layers.1.mlp.fc1": ((features,), 48),
    }


UNET_TARGETS = _unet_targets(24, 3, (32, 1, 1))
TEXT_TARGETS = _text_targets(24)


@dataclass(frozen=True)
class Shape:
    """What tells one family's models from another's."""

    pipeline: str
    scheduler: str
    blocks: tuple[bool, ...]  # of the way down: with attention to the text, or not
    text_features: tuple[int, ...]  # of each text encoder
    targets: Mapping[str, Targets]  # what the LoRAs change, by component
    text_activation: str = "quick_gelu"
    unet: Mapping[str, object] = field(default_factory=dict)
    scaling_factor: float = 0.18215


SHAPES = {
    "sd15": Shape(
        "StableDiffusionPipeline", "PNDMScheduler", (True, True, True, False), (24,),
        {"unet": UNET_TARGETS, "text_encoder": TEXT_TARGETS},
        unet={"sample_size": 8, "attention_head_dim": 4},
    ),
    "sd2": Shape(
        "StableDiffusionPipeline", "DDIMScheduler", (True, True, True, False), (24,),
        {"unet": _unet_targets(24, 3, (32,)), "text_encoder": TEXT_TARGETS},
        text_activation="gelu",
        unet={
            "sample_size": 8, "attention_head_dim": [2, 4, 8, 8], "use_linear_projection": True,
            "upcast_attention": True,
        },
    ),
    "sdxl": Shape(
        "StableDiffusionXLPipeline", "EulerDiscreteScheduler", (False, True, True), (24, 16),
        {
            "unet": _unet_targets(40, 2, (32,)) | {
                "up_blocks.1.upsamplers.0.conv": ((32, 3, 3), 32),
                "add_embedding.linear_1": ((64,), 64),
            },
            "text_encoder": TEXT_TARGETS, "text_encoder_2": _text_targets(16),
        },
        unet={
            "sample_size": 16, "attention_head_dim": [2, 4, 8], "use_linear_projection": True,
            "transformer_layers_per_block": [1, 1, 2], "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 16,
        },
        scaling_factor=0.13025,
    ),
}  # fmt: skip


def make_model(
    folder: Path,
    *,
    shape: str = "sd15",
    prediction_type: str = "epsilon",
    distilled: bool = False,
    scheduler: tuple[tuple[str, object], ...] = (),
) -> None:
    """A model folder in diffusers' layout; 64 px (XL 128), f = 8, four latent channels.

    scheduler: further words of the scheduler's configuration.
    """
    kind = SHAPES[shape]
    torch.manual_seed(0)
    _make_unet(folder / "unet", kind, distilled=distilled)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16), norm_num_groups=4, sample_size=64,
        scaling_factor=kind.scaling_factor,
    )  # fmt: skip
    with torch.no_grad():  # random weights draw little: make it visible
        vae.decoder.conv_out.weight.mul_(8)
    vae.save_pretrained(folder / "vae")
    for index, features in enumerate(kind.text_features):
        _make_text_encoder(folder, kind, index, features)
    _write_json(folder / "scheduler" / "scheduler_config.json", {
        "_class_name": kind.scheduler, "_diffusers_version": "0.6.0",
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
        "steps_offset": 1, "clip_sample": False, "trained_betas": None,
        "prediction_type": prediction_type, **dict(scheduler),
    })  # fmt: skip
    _write_json(folder / "model_index.json", _index(kind))


def _index(kind: Shape) -> dict[str, object]:
    """As `save_pretrained` writes it."""
    parts: dict[str, object] = {
        "scheduler": ["diffusers", kind.scheduler], "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"], "vae": ["diffusers", "AutoencoderKL"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "feature_extractor": [None, None],
    }  # fmt: skip
    if len(kind.text_features) == 2:
        parts |= {
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"], "image_encoder": [None, None],
            "force_zeros_for_empty_prompt": True, "add_watermarker": None,
        }  # fmt: skip
    else:
        parts |= {"safety_checker": [None, None], "requires_safety_checker": False}
    return {"_class_name": kind.pipeline, "_diffusers_version": "0.42.1", **parts}


def _make_unet(folder: Path, kind: Shape, *, distilled: bool) -> None:
    names = {True: "CrossAttn{}Block2D", False: "{}Block2D"}
    unet = UNet2DConditionModel(
        in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=8,
        block_out_channels=(16, 32, 32, 32)[: len(kind.blocks)],
        down_block_types=tuple(names[attends].format("Down") for attends in kind.blocks),
        up_block_types=tuple(names[attends].format("Up") for attends in reversed(kind.blocks)),
        cross_attention_dim=sum(kind.text_features), time_cond_proj_dim=32 if distilled else None,
        **kind.unet,
    )  # fmt: skip
    with torch.no_grad():  # random weights predict little: make it visible
        unet.conv_out.weight.mul_(8)
    unet.save_pretrained(folder)


def _make_text_encoder(folder: Path, kind: Shape, index: int, features: int) -> None:
    ending = "_2" if index else ""
    config = CLIPTextConfig(
        vocab_size=514, hidden_size=features, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, bos_token_id=512, eos_token_id=513, pad_token_id=513,
        hidden_act="gelu" if index else kind.text_activation, projection_dim=16,
    )  # fmt: skip
    cls = CLIPTextModelWithProjection if index else CLIPTextModel
    cls(config).save_pretrained(folder / f"text_encoder{ending}")
    _make_tokenizer(folder / f"tokenizer{ending}", "!" if index else "<|endoftext|>")


def _make_tokenizer(folder: Path, pad: str) -> None:
    """One token a character: words run past 77 tokens soon."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocab = {token: index for index, token in enumerate(tokens)}
    vocab |= {"<|startoftext|>": 512, "<|endoftext|>": 513}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77, pad_token=pad)
    tokenizer.save_pretrained(folder)


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def keep_halves(folder: Path) -> None:
    """Leaves the model's weights as diffusers' fp16 variant only."""
    for path in list(folder.glob("*/*.safetensors")):
        half = {key: value.half() for key, value in load_file(path).items()}
        save_file(half, path.with_name(f"{path.stem}.fp16.safetensors"), {"format": "pt"})
        path.unlink()


def lora_tensors(
    seed: int, rank: int, shape: str = "sd15"
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Per dotted path, prefixed with its component: A and B, strong enough to be seen."""
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for component, targets in SHAPES[shape].targets.items():
        for path, (inputs, outputs) in targets.items():
            kernel = (1,) * (len(inputs) - 1)
            down = torch.randn(rank, *inputs, generator=generator) * 0.15
            up = torch.randn(outputs, rank, *kernel, generator=generator) * 0.15
            pairs[f"{component}.{path}"] = (down, up)
    return pairs


def diffusers_lora(
    path: Path,
    seed: int,
    rank: int,
    metadata: dict[str, str] | None = None,
    dtype: torch.dtype = torch.float32,
    shape: str = "sd15",
) -> None:
    tensors = {}
    for name, (down, up) in lora_tensors(seed, rank, shape).items():
        name = name.replace("text_encoder_2.", "text_encoder_2.text_model.")  # noqa: PLW2901
        tensors[f"{name}.lora_A.weight"] = down.to(dtype)
        tensors[f"{name}.lora_B.weight"] = up.to(dtype)
    save_file(tensors, path, metadata=metadata)


# kohya trains SDXL under the names of Stability's own UNet
SGM_NAMES = {
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.attentions.0": "middle_block.1",
    "up_blocks.2.resnets.0.conv1": "output_blocks.4.0.in_layers.2",
    "up_blocks.2.resnets.0.time_emb_proj": "output_blocks.4.0.emb_layers.1",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "up_blocks.1.upsamplers.0.conv": "output_blocks.3.2.conv",
    "add_embedding.linear_1": "label_emb.0.0",
}


def kohya_lora(path: Path, seed: int, rank: int, alpha: float, shape: str = "sd15") -> None:
    two = len(SHAPES[shape].text_features) == 2
    prefixes = {
        "unet": "lora_unet_",
        "text_encoder": f"lora_te{'1' if two else ''}_text_model_",
        "text_encoder_2": "lora_te2_text_model_",
    }
    tensors = {}
    for name, (down, up) in lora_tensors(seed, rank, shape).items():
        component, _, module = name.partition(".")
        for known, sgm in SGM_NAMES.items() if two else ():
            module = module.replace(known, sgm)
        stem = prefixes[component] + module.replace(".", "_")
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
