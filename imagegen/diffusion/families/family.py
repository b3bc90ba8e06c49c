"""Family: what all architectures share, a UNet that denoises under words and its autoencoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from imagegen.diffusion.families.conditioning import Conditioning, Encoded
from imagegen.diffusion.families.preview_map import Factors, read_preview_map
from imagegen.diffusion.families.words import TextReader
from imagegen.diffusion.loading import read_json
from imagegen.diffusion.schedulers import StepRule, allowed_schedulers
from imagegen.diffusion.weights import load_model, load_text_encoder
from imagegen.errors import InvalidModel
from imagegen.generation import Scheduler

# of the UNet's configuration: inputs that the pipelines do not give either
_UNKNOWN_INPUTS = ("class_embed_type", "encoder_hid_dim_type")


class Family(ABC):
    """The parts of a model on one device; a file of this folder says how they belong together."""

    name: ClassVar[str]
    forced_options: ClassVar[Mapping[str, object]] = MappingProxyType({})
    """Of the scheduler's configuration: what the pipeline sets whatever the model says."""
    addition_embed_type: ClassVar[str | None] = None  # the UNet's further inputs
    preview_factors: ClassVar[Factors]  # of latents as the denoiser sees them

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        """Raises InvalidModel for what is missing, broken or of another kind."""
        self._folder, self._device, self._dtype = folder, device, dtype
        self.readers = self._load_readers()
        self.unet = self._load(UNet2DConditionModel, "unet", dtype)
        self.vae = self._load(AutoencoderKL, "vae", self._vae_dtype())
        config = read_json(folder / "scheduler" / "scheduler_config.json")
        self._scheduler_config = config | dict(self.forced_options)
        self.schedulers = allowed_schedulers(config)
        self.px_per_latent = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self._check()
        factors = read_preview_map(folder, self.preview_factors, self.unet.config.in_channels)
        self.preview_map = torch.tensor(factors, device=device, dtype=dtype)  # [channels + 1, 3]

    @abstractmethod
    def _load_readers(self) -> Mapping[str, TextReader]:
        """The text encoders, by the names of their folders."""

    @abstractmethod
    def encode(self, text: str) -> Encoded:
        """One text, alone in its batch as the pipeline encodes it."""

    def _added(self, encoded: Sequence[Encoded], width: int, height: int) -> dict[str, Tensor]:
        """The UNet's further inputs, a row a text."""
        return {}

    def _load(self, part: Any, name: str, dtype: torch.dtype) -> Any:
        return load_model(part, self._folder / name, self._device, dtype)

    def _reader(self, ending: str = "", *, projects: bool = False) -> TextReader:
        """ending: of the folders' names, where there are two encoders."""
        folder = self._folder / f"text_encoder{ending}"
        encoder = load_text_encoder(folder, self._device, self._dtype, projects=projects)
        return TextReader(self._folder / f"tokenizer{ending}", encoder)

    def _vae_dtype(self) -> torch.dtype:
        return self._dtype

    def _check(self) -> None:
        config = self.unet.config
        strange = [name for name in _UNKNOWN_INPUTS if getattr(config, name, None)]
        if config.addition_embed_type != self.addition_embed_type:
            strange.append(f"addition_embed_type {config.addition_embed_type}")
        if strange:
            raise InvalidModel(f"the UNet wants inputs that text-to-image has not: {strange}")
        if config.in_channels != self.vae.config.latent_channels:
            raise InvalidModel(
                f"the UNet takes {config.in_channels} channels, the autoencoder has"
                f" {self.vae.config.latent_channels}: this is no text-to-image model"
            )
        features = sum(reader.features for reader in self.readers.values())
        if config.cross_attention_dim != features:
            raise InvalidModel(
                f"the UNet reads text of {config.cross_attention_dim} features,"
                f" {' and '.join(self.readers)} give {features}"
            )

    @property
    def components(self) -> dict[str, nn.Module]:
        """The parts that LoRAs may change."""
        return {"unet": self.unet} | {name: each.encoder for name, each in self.readers.items()}

    @property
    def native_px(self) -> int:
        size = self.unet.config.sample_size
        side = size if isinstance(size, int) else min(size)
        return int(side * self.px_per_latent)

    def step_rule(
        self, scheduler: Scheduler, num_inference_steps: int, skipped: int | None = None
    ) -> StepRule:
        """A scheduler object of its own for one picture; skipped: as StepRule has it."""
        return StepRule(scheduler, self._scheduler_config, num_inference_steps, skipped)

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int, int]:
        channels = self.unet.config.in_channels
        return 1, channels, height // self.px_per_latent, width // self.px_per_latent

    def is_guided(self, guidance_scale: float) -> bool:
        """Whether a picture needs a second row (`do_classifier_free_guidance` of the pipelines)."""
        return guidance_scale > 1 and self.unet.config.time_cond_proj_dim is None

    def condition(
        self, encoded: Sequence[Encoded], width: int, height: int, guidance_scale: float
    ) -> Conditioning:
        """One row a text: the negative prompt and the prompt, or the prompt alone."""
        embeddings = torch.cat([text.states for text in encoded])
        added = self._added(encoded, width, height)
        features = self.unet.config.time_cond_proj_dim
        if features is None:
            return Conditioning(embeddings, None, added)
        guidance = embed_guidance(guidance_scale, features).to(embeddings)
        return Conditioning(embeddings, guidance.expand(len(encoded), -1), added)

    def unread_words(self, text: str) -> str:
        """What of `text` lies past a text encoder's last token, from the start of its word."""
        return max((reader.unread(text) for reader in self.readers.values()), key=len)

    def denoise(self, latents: Tensor, timesteps: Tensor, condition: Conditioning) -> Tensor:
        """One UNet call, all on its device: latents [rows, …], timesteps [rows]."""
        prediction: Tensor = self.unet(
            latents.contiguous(memory_format=torch.channels_last),
            timesteps,
            encoder_hidden_states=condition.embeddings,
            timestep_cond=condition.guidance,
            added_cond_kwargs=dict(condition.added) or None,
            return_dict=False,
        )[0]
        return prediction

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [1, channels, h, w] to a picture [height, width, 3], about -1 … 1."""
        scaled = self._unscaled(latents.to(self.vae.dtype))
        picture: Tensor = self.vae.decode(scaled, return_dict=False)[0][0]
        return picture.permute(1, 2, 0)

    def encode_picture(self, picture: Tensor) -> DiagonalGaussianDistribution:
        """A picture [1, 3, height, width], -1 … 1, to the latents that may stand for it.

        What is drawn from them goes through `scaled`.
        """
        posterior: DiagonalGaussianDistribution = self.vae.encode(
            picture.to(self.vae.dtype, memory_format=torch.channels_last)
        ).latent_dist
        return posterior

    def scaled(self, latents: Tensor) -> Tensor:
        """The autoencoder's latents as the denoiser wants them: `_unscaled` undone."""
        scaled: Tensor = latents * self.vae.config.scaling_factor
        return scaled

    def _unscaled(self, latents: Tensor) -> Tensor:
        """The denoiser's latents as the autoencoder wants them."""
        unscaled: Tensor = latents / self.vae.config.scaling_factor
        return unscaled


def embed_guidance(guidance_scale: float, features: int) -> Tensor:
    """The guidance scale as an input of a distilled UNet, [1, features].

    StableDiffusionPipeline.get_guidance_scale_embedding: sines and cosines of 1000 (scale - 1).
    """
    half = features // 2
    frequencies = torch.exp(torch.arange(half) * -(torch.log(torch.tensor(10_000.0)) / (half - 1)))
    angles = (torch.tensor([guidance_scale - 1]) * 1000.0)[:, None] * frequencies[None, :]
    embedding = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return nn.functional.pad(embedding, (0, features % 2))
