"""Trains the starter model from nothing: `python -m imagegen.starter.train all`.

Stages: `autoencoder`, `denoiser`, `export` (writes `model/`), or `all`. Each goes on from its last
checkpoint in the work folder. Hours on two CPU cores; CUDA is used where there is one.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

from imagegen.presets.formats import built_in_formats
from imagegen.starter import autoencoder, denoiser, text

MODEL = Path(__file__).parent / "model"
AUTOENCODER_PHASES = (
    autoencoder.Phase(crop_px=64, rows=8, until=7_000),
    autoencoder.Phase(crop_px=128, rows=2, until=9_000),
)
STRETCHES = (
    denoiser.Stretch(sizes=((128, 128),), scenes=16_000, rows=32, until=6_000, learning_rate=1e-3),
    denoiser.Stretch(
        sizes=tuple(built_in_formats(256).values()),
        scenes=1_200,
        rows=16,
        until=6_700,
        learning_rate=5e-4,
    ),
)
# Large blocks stay with the process instead of going back to the kernel after every operation,
# and OpenMP threads wait a little before they sleep: together 1.7 times faster on two cores.
ALLOCATION = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
    "GOMP_SPINCOUNT": "20000",
}


def finished_autoencoder(work: Path) -> AutoencoderKL:
    """The trained autoencoder with white latents."""
    model = autoencoder.train(work, AUTOENCODER_PHASES)
    autoencoder.whiten(model)
    return model


def finished_tokenizer(work: Path) -> CLIPTokenizer:
    folder = work / "tokenizer"
    if not folder.exists():
        text.train_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder)


def export(work: Path, target: Path) -> None:
    """Writes the finished parts to `target` in diffusers' layout, fp16 safetensors."""
    tokenizer = finished_tokenizer(work)
    vae = finished_autoencoder(work)
    model = denoiser.train(work, vae, tokenizer, STRETCHES)
    schedule = denoiser.noise_schedule().config
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=model.text_encoder,
        tokenizer=tokenizer,
        unet=model.unet,
        scheduler=DDIMScheduler(
            beta_start=schedule.beta_start,
            beta_end=schedule.beta_end,
            beta_schedule=schedule.beta_schedule,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    shutil.rmtree(target, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(target)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(work / "tokenizer" / name, target / "tokenizer" / name)


def main() -> None:
    if any(os.getenv(name) != value for name, value in ALLOCATION.items()):
        # glibc and libgomp read these before Python runs
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **ALLOCATION})  # noqa: S606
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=["autoencoder", "denoiser", "export", "all"])
    parser.add_argument("--work", type=Path, default=Path("build/starter"))
    parser.add_argument("--target", type=Path, default=MODEL)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.stage == "autoencoder":
        autoencoder.train(arguments.work, AUTOENCODER_PHASES)
    elif arguments.stage == "denoiser":
        tokenizer = finished_tokenizer(arguments.work)
        denoiser.train(arguments.work, finished_autoencoder(arguments.work), tokenizer, STRETCHES)
    else:
        export(arguments.work, arguments.target)


if __name__ == "__main__":
    main()
