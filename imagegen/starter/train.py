"""Trains the starter model from nothing: `python -m imagegen.starter.train`.

`--reading` trains only the text encoder further, of the model that is there: in half an hour.

A stopped training goes on from its last checkpoint in the work folder. Hours on two CPU cores; CUDA
is used where there is one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from transformers import CLIPTokenizer

from imagegen.diffusion.families import preview_map
from imagegen.diffusion.loading import quieten
from imagegen.diffusion.pixels import fit_preview_map
from imagegen.presets.formats import built_in_formats
from imagegen.starter import autoencoder, denoiser, reading, text

MODEL = Path(__file__).parent / "model"
AUTOENCODER_PHASES = (
    autoencoder.Phase(crop_px=64, rows=8, until=7_000),
    autoencoder.Phase(crop_px=128, rows=2, until=9_000),
)
WORDS = denoiser.Stretch(
    sizes=((128, 128),), scenes=16_000, rows=32, until=6_000, learning_rate=1e-3
)
SIZES = denoiser.Stretch(
    sizes=tuple(built_in_formats(256).values()),
    scenes=1_200,
    rows=16,
    until=8_000,
    learning_rate=6e-4,
)
# Words are learned cheaply at 16 x 16 latents, the sizes people ask for at theirs; then both again
STRETCHES = (
    WORDS,
    SIZES,
    replace(WORDS, until=10_500),
    replace(SIZES, until=16_000),
    replace(SIZES, until=17_500, learning_rate=4e-4),
    replace(WORDS, until=20_000),
    replace(SIZES, until=21_700, learning_rate=5e-4),
)
LESSONS = 14_500  # of reading, after all that
# Large blocks stay with the process instead of going back to the kernel after every operation,
# and OpenMP threads wait a little before they sleep: together 1.7 times faster on two cores.
ALLOCATION = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
    "GOMP_SPINCOUNT": "20000",
}


def new_model(work: Path) -> tuple[Path, AutoencoderKL, denoiser.Model]:
    """Trained from nothing. The tokenizer's folder, the autoencoder, and what draws under words."""
    vae = autoencoder.train(work, AUTOENCODER_PHASES)
    autoencoder.whiten(vae)
    folder = work / "tokenizer"
    if not folder.exists():
        text.train_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    model = denoiser.train(denoiser.Trainer(work / "denoiser.pt", tokenizer), vae, STRETCHES)
    return folder, vae, taught(model, tokenizer, work)


def taught_model(work: Path, start: Path) -> tuple[Path, AutoencoderKL, denoiser.Model]:
    """The model in the folder `start`, which has learned to read better; parts as `new_model`'s."""
    folder = start / "tokenizer"
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    vae = AutoencoderKL.from_pretrained(start / "vae", torch_dtype=torch.float32)
    model = denoiser.Model(tokenizer)
    model.load_shipped(start)
    return folder, vae, taught(model, tokenizer, work)


def taught(model: denoiser.Model, tokenizer: CLIPTokenizer, work: Path) -> denoiser.Model:
    pupil = reading.teach(model.text_encoder, tokenizer, work / "reading.pt", steps=LESSONS)
    model.text_encoder = pupil
    return model


def export(tokenizer: Path, vae: AutoencoderKL, model: denoiser.Model, target: Path) -> None:
    """Writes the finished parts to `target` in diffusers' layout, fp16 safetensors.

    tokenizer: a folder, perhaps `target`'s own, whose files are taken as they are.
    """
    schedule = denoiser.noise_schedule().config
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=model.text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer),
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
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    write_preview_map(vae, fresh)
    pipeline.to(torch.float16).save_pretrained(fresh)
    # a tokenizer that was read writes more than it read: every default, and how it was last called
    shutil.rmtree(fresh / "tokenizer")
    shutil.copytree(tokenizer, fresh / "tokenizer")
    for config in fresh.rglob("config.json"):
        said = json.loads(config.read_text())
        said.pop("_name_or_path", None)  # where this machine had it
        if "dtype" in said:
            # transformers would load it as it lies, in fp16, and diffusers the other parts in fp32
            said["dtype"] = "float32"
        config.write_text(json.dumps(said, indent=2) + "\n")
    for weights in fresh.rglob("*.safetensors"):
        weights.chmod(0o644)  # safetensors makes them private; the image's user must read them
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


@torch.no_grad()
def write_preview_map(vae: AutoencoderKL, target: Path) -> None:
    """What colours the latents stand for, for looks at pictures in flight."""

    def decode(latents: torch.Tensor) -> torch.Tensor:
        decoded: torch.Tensor = vae.decode(latents / vae.config.scaling_factor).sample
        return decoded[0].permute(1, 2, 0)

    fitted = fit_preview_map(decode, vae.config.latent_channels)
    rows = [json.dumps([round(number, 4) for number in row]) for row in fitted.tolist()]
    (target / preview_map.FILE).write_text("[" + ",\n ".join(rows) + "]\n")


def main() -> None:
    if any(os.getenv(name) != value for name, value in ALLOCATION.items()):
        # glibc and libgomp read these before Python runs
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **ALLOCATION})  # noqa: S606
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/starter"), help="checkpoints")
    parser.add_argument("--target", type=Path, default=MODEL, help="where the model is written")
    parser.add_argument("--reading", action="store_true", help="of the model in --target, only")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    quieten()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.reading:
        parts = taught_model(arguments.work, arguments.target)
    else:
        parts = new_model(arguments.work)
    export(*parts, arguments.target)


if __name__ == "__main__":
    main()
