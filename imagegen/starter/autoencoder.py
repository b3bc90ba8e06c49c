"""Trains the starter's AutoencoderKL (f = 8, four latent channels) on drawn scenes. Resumable."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch.nn import functional as F

from imagegen.starter.brands import any_picture
from imagegen.starter.checkpoints import load_checkpoint, save_checkpoint
from imagegen.starter.scenes import draw, random_scene

log = logging.getLogger(__name__)

CHANNELS = (32, 64, 96, 96)
LEARNING_RATE = 8e-4
# A fixed posterior width and a pull to zero: the KL term without its learned variances
NOISE = 0.03
ENERGY_WEIGHT = 2e-4
POOL = 96  # pictures kept to crop from; two are replaced at every step


def training_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def as_pixels(pictures: Sequence[np.ndarray | Image.Image]) -> torch.Tensor:
    """8-bit RGB pictures of one size as float [pictures, 3, height, width] in -1 … 1."""
    levels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return levels.permute(0, 3, 1, 2).float() / 127.5 - 1


@dataclass(frozen=True)
class Phase:
    """A stretch of training: crops of `crop_px`, `rows` at a time, until step `until`."""

    crop_px: int
    rows: int
    until: int


def new_autoencoder() -> AutoencoderKL:
    """Untrained. No mid-block attention: a crop and a whole picture must look alike to it."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(CHANNELS),
        block_out_channels=CHANNELS,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=256,
        force_upcast=False,
    ).to(memory_format=torch.channels_last)


class ScenePool:
    """A rolling pool of drawn pictures (uint8): a step costs two drawings, not eight."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._pictures = [self._drawn() for _ in range(POOL)]

    def _drawn(self) -> np.ndarray:
        side = 256 if self._rng.random() < 0.75 else self._rng.choice((128, 160, 192))
        return np.asarray(any_picture(self._rng, side, side))

    def crops(self, rows: int, crop_px: int) -> torch.Tensor:
        """`rows` random crops, float [rows, 3, crop_px, crop_px] in -1 … 1."""
        for _ in range(2):
            self._pictures[self._rng.randrange(POOL)] = self._drawn()
        crops = [self._crop(self._rng.choice(self._pictures), crop_px) for _ in range(rows)]
        return as_pixels(crops)

    def _crop(self, picture: np.ndarray, crop_px: int) -> np.ndarray:
        room = picture.shape[0] - crop_px
        # triangular: the object is in the middle, and edges are what there is to learn
        left = round(self._rng.triangular(0, room))
        top = round(self._rng.triangular(0, room))
        return picture[top : top + crop_px, left : left + crop_px]


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 of pixels, of 16 x 16 means (flat colours) and of gradients (edges); PSNR's square."""
    error = output - target
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    flat = F.avg_pool2d(error, 16).abs().mean()
    return error.abs().mean() + flat + 0.5 * (across + down) + 2 * error.square().mean()


def train(work: Path, phases: tuple[Phase, ...]) -> AutoencoderKL:
    """Trains, or goes on from `work/autoencoder.pt`; returns the finished model in fp32."""
    device = training_device()
    model = new_autoencoder().to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-3
    )
    checkpoint = work / "autoencoder.pt"
    step, last = 0, phases[-1].until
    if state := load_checkpoint(checkpoint, device):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    pool = ScenePool(seed=step)

    started = time.monotonic()
    while step < last:
        phase = next(phase for phase in phases if step < phase.until)
        pixels = pool.crops(phase.rows, phase.crop_px)
        pixels = pixels.to(device, memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 200) * (1 - step / last) ** 0.7
        with torch.autocast(device.type, torch.bfloat16):
            latents = model.encode(pixels).latent_dist.mode()
            output = model.decode(latents + NOISE * torch.randn_like(latents)).sample
        energy = latents.float().square().mean()
        loss = reconstruction_loss(output.float(), pixels) + ENERGY_WEIGHT * energy
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 500 == 0 or step == last:
            log.info(
                "autoencoder step %d of %d: loss %.4f, PSNR %.2f dB, %.1f min",
                step, last, loss.item(), psnr(model), (time.monotonic() - started) / 60,
            )  # fmt: skip
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            save_checkpoint(state, checkpoint)
    return model.cpu().eval()


@torch.no_grad()
def psnr(model: AutoencoderKL, pictures: int = 8, side: int = 256, seed: int = 10**6) -> float:
    """Mean PSNR in dB (peak 1) of encoding and decoding unseen scenes, clipped as when viewed."""
    rng, total = Random(seed), 0.0
    for _ in range(pictures):
        pixels = as_pixels([draw(random_scene(rng), side, side)]).to(model.device)
        decoded = model.decode(model.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
        total += -10 * torch.log10(F.mse_loss(decoded / 2, pixels / 2)).item()
    return total / pictures


@torch.no_grad()
def whiten(model: AutoencoderKL, pictures: int = 64) -> None:
    """Makes the latents white (zero mean, unit covariance) in the 1x1 convolutions.

    The pipeline knows only a `scaling_factor`; the denoiser learns faster from white latents. Exact
    in real arithmetic: the decoder's 1x1 convolution receives the inverse map. The posterior's
    width, from which img2img draws, becomes NOISE everywhere.
    """
    rng = Random(10**6 + 1)
    drawn = [as_pixels([draw(random_scene(rng))]) for _ in range(pictures)]
    latents = [model.encode(pixels).latent_dist.mode().flatten(2)[0] for pixels in drawn]
    flat = torch.cat(latents, dim=1).double()
    mean = flat.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh(torch.cov(flat))
    forward = torch.diag(values.rsqrt()) @ vectors.T
    backward = vectors @ torch.diag(values.sqrt())
    channels = flat.shape[0]

    into = model.quant_conv
    weight, bias = into.weight.double()[..., 0, 0], into.bias.double()
    # rows 0..channels-1 are the means; behind them come the log-variances, which were not trained
    weight[:channels] = forward @ weight[:channels]
    bias[:channels] = forward @ (bias[:channels] - mean[:, 0])
    weight[channels:], bias[channels:] = 0, 2 * math.log(NOISE)
    into.weight.copy_(weight[..., None, None])
    into.bias.copy_(bias)
    out = model.post_quant_conv
    weight = out.weight.double()[..., 0, 0]
    out.bias.copy_(out.bias.double() + weight @ mean[:, 0])
    out.weight.copy_((weight @ backward)[..., None, None])
    model.register_to_config(scaling_factor=1.0)
