"""Trains the starter's text encoder and UNet on the latents of drawn scenes. Resumable.

In turns: at 16 x 16 latents, where shapes and words are learned cheaply, and at 32 x 32 and the
other aspect ratios, which is what people ask for.
"""

from __future__ import annotations

import logging
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from imagegen.diffusion.training import loss_weights
from imagegen.starter.autoencoder import as_pixels, training_device
from imagegen.starter.captions import training_caption
from imagegen.starter.checkpoints import load_checkpoint, save_checkpoint
from imagegen.starter.scenes import Scene, draw, random_scene
from imagegen.starter.text import MAX_TOKENS

log = logging.getLogger(__name__)

WIDTH = 128  # of the text encoder's hidden states, which the UNet attends to
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Stretch:
    """Steps until step `until`, `rows` rows each, on `scenes` scenes of each size in pixels."""

    sizes: tuple[tuple[int, int], ...]
    scenes: int
    rows: int
    until: int
    learning_rate: float


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=WIDTH * 4,
            projection_dim=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_unet() -> UNet2DConditionModel:
    """6.7 M parameters. `attention_head_dim` is the number of heads, for historical reasons."""
    return UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(64, 128, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    ).to(memory_format=torch.channels_last)


def noise_schedule() -> DDPMScheduler:
    """Stable Diffusion 1.x's own betas."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
    )


@torch.no_grad()
def encode_scenes(
    autoencoder: AutoencoderKL, size: tuple[int, int], count: int, seed: int
) -> tuple[list[Scene], torch.Tensor]:
    """Draws `count` scenes of `size` (width, height); returns them and their latents in bf16."""
    rng = Random(seed)
    scenes = [random_scene(rng) for _ in range(count)]
    latents = []
    device = autoencoder.device
    for start in range(0, count, 16):
        pixels = as_pixels([draw(scene, *size) for scene in scenes[start : start + 16]])
        with torch.autocast(device.type, torch.bfloat16):
            encoded = autoencoder.encode(pixels.to(device, memory_format=torch.channels_last))
        latents.append(encoded.latent_dist.mode().bfloat16().cpu())
    return scenes, torch.cat(latents) * autoencoder.config.scaling_factor


class Dataset:
    """Scenes of one stretch with their latents, size by size; every use makes a new caption."""

    def __init__(self, autoencoder: AutoencoderKL, stretch: Stretch, seed: int) -> None:
        self._rng = Random(seed)
        self._sizes = [
            encode_scenes(autoencoder, size, stretch.scenes, seed + index)
            for index, size in enumerate(stretch.sizes)
        ]

    def batch(self, rows: int) -> tuple[torch.Tensor, list[str]]:
        """Latents, float [rows, 4, h, w] of one size, and their captions."""
        # the square is the first size and what most people ask for
        index = 0 if self._rng.random() < 0.5 else self._rng.randrange(len(self._sizes))
        scenes, latents = self._sizes[index]
        chosen = [self._rng.randrange(len(scenes)) for _ in range(rows)]
        return latents[chosen].float(), [training_caption(scenes[i], self._rng) for i in chosen]


class Average:
    """Exponential moving average of a model's parameters; early steps do not linger."""

    def __init__(self, module: Model, decay: float = 0.998) -> None:
        self.module = deepcopy(module).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, module: Model, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.module.parameters(), module.parameters(), strict=True):
            mine.lerp_(theirs, 1 - decay)


class Model(torch.nn.Module):
    """What is trained: text encoder and UNet together, predicting the noise."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = new_text_encoder(tokenizer)
        self.unet = new_unet()

    def load_shipped(self, folder: Path) -> None:
        """Takes over the weights of a model in diffusers' layout and of this shape."""
        text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        self.text_encoder.load_state_dict(text_encoder.state_dict())
        unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
        self.unet.load_state_dict(unet.state_dict())

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        states = self.text_encoder(tokens).last_hidden_state
        predicted: torch.Tensor = self.unet(noisy, timesteps, states).sample
        return predicted


def tokens_of(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids padded to 77 as the pipeline does, int64 [captions, 77]."""
    tokens: torch.Tensor = tokenizer(
        captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    return tokens


class Trainer:
    """The state of a training: model, average, optimiser, step. Kept in `checkpoint`."""

    def __init__(self, checkpoint: Path, tokenizer: CLIPTokenizer) -> None:
        torch.manual_seed(0)
        self.device = training_device()
        self.model = Model(tokenizer).to(self.device)
        self.average = Average(self.model)
        self.step = 0
        self._tokenizer = tokenizer
        self._schedule = noise_schedule()
        self._weights = loss_weights(self._schedule)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-3
        )
        self._checkpoint = checkpoint
        if kept := load_checkpoint(checkpoint, self.device):
            self.model.load_state_dict(kept["model"])
            self.average.module.load_state_dict(kept["average"])
            self._optimizer.load_state_dict(kept["optimizer"])
            self.step = kept["step"]
        self._generator = torch.Generator().manual_seed(self.step)

    def learn(self, latents: torch.Tensor, captions: list[str], learning_rate: float) -> float:
        """One optimiser step; returns the loss."""
        rows = len(captions)
        noise = torch.randn(latents.shape, generator=self._generator)
        timesteps = torch.randint(0, 1000, (rows,), generator=self._generator)
        noisy = self._schedule.add_noise(latents, noise, timesteps).to(self.device)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        with torch.autocast(self.device.type, torch.bfloat16):
            predicted = self.model(
                noisy.to(memory_format=torch.channels_last),
                timesteps.to(self.device),
                tokens_of(self._tokenizer, captions).to(self.device),
            )
        error = (predicted.float() - noise.to(self.device)).square().mean((1, 2, 3))
        loss: torch.Tensor = (self._weights[timesteps].to(self.device) * error).mean()
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self.step += 1
        self.average.update(self.model, self.step)
        return loss.item()

    def save(self) -> None:
        """Writes the checkpoint."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
        }
        save_checkpoint(state, self._checkpoint)


def train(trainer: Trainer, autoencoder: AutoencoderKL, stretches: tuple[Stretch, ...]) -> Model:
    """Trains whatever is left of `stretches`; returns the averaged model."""
    first = 0
    for stretch in stretches:
        if trainer.step < stretch.until:
            dataset = Dataset(autoencoder.to(trainer.device), stretch, trainer.step + 1)
            _train_stretch(trainer, dataset, stretch, first)
        first = stretch.until
    autoencoder.cpu()
    return trainer.average.module.cpu().eval()


def _train_stretch(trainer: Trainer, dataset: Dataset, stretch: Stretch, first: int) -> None:
    """Warm-up, then a parabola down to a twentieth of the stretch's learning rate."""
    started, recent = time.monotonic(), []
    while trainer.step < stretch.until:
        done = trainer.step - first
        decay = max(0.05, 1 - (done / (stretch.until - first)) ** 2)
        rate = stretch.learning_rate * min(1.0, (done + 1) / 100) * decay
        recent.append(trainer.learn(*dataset.batch(stretch.rows), rate))
        if trainer.step % 100 == 0 or trainer.step == stretch.until:
            log.info(
                "denoiser step %d of %d: loss %.4f, %.1f min",
                trainer.step,
                stretch.until,
                sum(recent) / len(recent),
                (time.monotonic() - started) / 60,
            )
            recent.clear()
            trainer.save()
