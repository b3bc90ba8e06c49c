"""Stable Diffusion 1.x and 2.x, as `StableDiffusionPipeline` renders them, a row at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from imagegen.diffusion.loading import load_part, read_json
from imagegen.diffusion.schedulers import StepRule, allowed_schedulers
from imagegen.errors import InvalidModel
from imagegen.generation import Scheduler

# of the UNet's configuration: inputs that StableDiffusionPipeline does not give either
_UNKNOWN_INPUTS = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type")


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser needs to know of a picture besides its latents, all rows of it."""

    embeddings: Tensor  # [rows, tokens, features]; two rows under guidance: negative, prompt
    guidance: Tensor | None  # [rows, features] for a UNet that takes guidance as an input


class StableDiffusion:
    """Tokenizer, text encoder, UNet and autoencoder on one device."""

    name = "sd"

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        """Raises InvalidModel for what is missing, broken or of another kind."""
        self._device, self._dtype = device, dtype
        self.tokenizer = _load_tokenizer(folder / "tokenizer")
        self.text_encoder = self._load(CLIPTextModel, folder, "text_encoder", dtype)
        self.unet = self._load(UNet2DConditionModel, folder, "unet", dtype)
        self.vae = self._load(AutoencoderKL, folder, "vae", self._vae_dtype(folder))
        self._scheduler_config = read_json(folder / "scheduler" / "scheduler_config.json")
        self.schedulers = allowed_schedulers(self._scheduler_config)
        self.px_per_latent = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self._check()

    def _load(self, part: Any, folder: Path, name: str, dtype: torch.dtype) -> Any:
        model = load_part(part, folder, name, torch_dtype=dtype)
        model.requires_grad_(requires_grad=False)
        return model.eval().to(self._device, memory_format=torch.channels_last)

    def _vae_dtype(self, folder: Path) -> torch.dtype:
        """fp32 where the model's own file asks for it; diffusers' default asks for SD 1.5 too."""
        says_upcast = read_json(folder / "vae" / "config.json").get("force_upcast", False)
        return torch.float32 if says_upcast else self._dtype

    def _check(self) -> None:
        config = self.unet.config
        if strange := [name for name in _UNKNOWN_INPUTS if getattr(config, name, None)]:
            raise InvalidModel(f"the UNet wants inputs that text-to-image has not: {strange}")
        if config.in_channels != self.vae.config.latent_channels:
            raise InvalidModel(
                f"the UNet takes {config.in_channels} channels, the autoencoder has"
                f" {self.vae.config.latent_channels}: this is no text-to-image model"
            )
        if config.cross_attention_dim != self.text_encoder.config.hidden_size:
            raise InvalidModel(
                f"the UNet reads text of {config.cross_attention_dim} features, the text encoder"
                f" gives {self.text_encoder.config.hidden_size}"
            )

    @property
    def components(self) -> dict[str, nn.Module]:
        """The parts that LoRAs may change."""
        return {"unet": self.unet, "text_encoder": self.text_encoder}

    @property
    def native_px(self) -> int:
        size = self.unet.config.sample_size
        side = size if isinstance(size, int) else min(size)
        return int(side * self.px_per_latent)

    def step_rule(self, scheduler: Scheduler, num_inference_steps: int) -> StepRule:
        """A scheduler object of its own for one picture."""
        return StepRule(scheduler, self._scheduler_config, num_inference_steps)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int, int]:
        channels = self.unet.config.in_channels
        return 1, channels, height // self.px_per_latent, width // self.px_per_latent

    def is_guided(self, guidance_scale: float) -> bool:
        """Whether a picture needs a second row (`do_classifier_free_guidance` of the pipeline)."""
        return guidance_scale > 1 and self.unet.config.time_cond_proj_dim is None

    def condition(self, texts: Sequence[str], guidance_scale: float) -> Conditioning:
        """Encodes one text a row."""
        inputs = self.tokenizer(
            list(texts), padding="max_length", truncation=True, return_tensors="pt",
            max_length=self._max_tokens,
        ).to(self._device)  # fmt: skip
        masked = getattr(self.text_encoder.config, "use_attention_mask", False)
        embeddings = self.text_encoder(
            inputs.input_ids, attention_mask=inputs.attention_mask if masked else None
        )[0]
        features = self.unet.config.time_cond_proj_dim
        if features is None:
            return Conditioning(embeddings, None)
        guidance = embed_guidance(guidance_scale, features).to(embeddings)
        return Conditioning(embeddings, guidance.expand(len(texts), -1))

    def unread_words(self, text: str) -> str:
        """What of `text` lies past the text encoder's last token, from the start of its word."""
        tokens = self.tokenizer(text, return_offsets_mapping=True)
        starts = [start for start, end in tokens["offset_mapping"] if end > start]
        read = self._max_tokens - 2  # the start and the end token take a place each
        if len(starts) <= read:
            return ""
        return text[text.rfind(" ", 0, starts[read]) + 1 :]

    @property
    def _max_tokens(self) -> int:
        return int(self.text_encoder.config.max_position_embeddings)

    def denoise(
        self, latents: Tensor, timesteps: Tensor, conditions: Sequence[Conditioning]
    ) -> Tensor:
        """One UNet call: latents [rows, …], timesteps [rows], conditions of as many rows."""
        guidance = [known.guidance for known in conditions if known.guidance is not None]
        prediction: Tensor = self.unet(
            latents.contiguous(memory_format=torch.channels_last),
            timesteps.to(self._device),
            encoder_hidden_states=torch.cat([known.embeddings for known in conditions]),
            timestep_cond=torch.cat(guidance) if guidance else None,
            return_dict=False,
        )[0]
        return prediction

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [1, channels, h, w] to a picture [height, width, 3], about -1 … 1."""
        scaled = latents.to(self.vae.dtype) / self.vae.config.scaling_factor
        picture: Tensor = self.vae.decode(scaled, return_dict=False)[0][0]
        return picture.permute(1, 2, 0)


def _load_tokenizer(folder: Path) -> Any:
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidModel(f"{folder} holds no CLIP tokenizer: {reason}") from None


def embed_guidance(guidance_scale: float, features: int) -> Tensor:
    """The guidance scale as an input of a distilled UNet, [1, features].

    StableDiffusionPipeline.get_guidance_scale_embedding: sines and cosines of 1000 (scale - 1).
    """
    half = features // 2
    frequencies = torch.exp(torch.arange(half) * -(torch.log(torch.tensor(10_000.0)) / (half - 1)))
    angles = (torch.tensor([guidance_scale - 1]) * 1000.0)[:, None] * frequencies[None, :]
    embedding = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return nn.functional.pad(embedding, (0, features % 2))
