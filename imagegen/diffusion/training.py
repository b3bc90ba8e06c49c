"""Trains a brand's LoRA from a folder of pictures, with diffusers, peft and accelerate.

Not on a render's way: only `imagegen train-lora` imports this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image, ImageOps, UnidentifiedImageError
from safetensors.torch import save
from transformers import CLIPTextModel, CLIPTokenizer

from imagegen.diffusion.loading import quieten, read_json
from imagegen.errors import InvalidTraining

# Attention carries what is said, the residual blocks' convolutions carry texture: both are needed
TARGET_MODULES = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2"]
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
MAX_PIXELS = 50_000_000  # of one picture; Pillow itself only warns
CAPTION_DROPOUT = (
    0.1  # how often a picture is shown without its words, so that guidance keeps working
)
ROWS = 8
SNR_GAMMA, MAX_WEIGHT = 5.0, 10.0  # see loss_weights

Progress = Callable[[int, int, float], None]  # step, of how many, mean loss of late


@dataclass(frozen=True)
class Example:
    """A picture and its words."""

    picture: Path
    caption: str


def read_examples(images: Path, template: str) -> list[Example]:
    """The pictures of a folder; `x.txt` beside `x.png` says what it shows, or nothing does.

    template: the brand's, with `{prompt}`: training and use say the same words.
    """
    pictures = sorted(path for path in images.glob("*") if path.suffix.lower() in PICTURES)
    if not pictures:
        raise InvalidTraining(f"no pictures ({', '.join(PICTURES)}) in {images}")
    examples = []
    for picture in pictures:
        words = picture.with_suffix(".txt")
        try:
            caption = words.read_text(encoding="utf-8").strip() if words.exists() else ""
        except ValueError:
            raise InvalidTraining(f"{words} is not text in UTF-8") from None
        examples.append(Example(picture, template.replace("{prompt}", caption)))
    return examples


def read_pixels(picture: Path, resolution: int) -> torch.Tensor:
    """The middle square of a picture, float [3, resolution, resolution] in -1 … 1."""
    try:
        with Image.open(picture, formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > MAX_PIXELS:  # before a small file fills the memory
                raise InvalidTraining(f"{picture} is {image.width} x {image.height}: too large")
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidTraining(f"cannot read {picture}: {error}") from error
    square = ImageOps.fit(upright, (resolution, resolution), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 127.5 - 1


def loss_weights(schedule: DDPMScheduler) -> torch.Tensor:
    """How much a prediction's squared error counts at each timestep, mean 1, float [timesteps].

    (1 + SNR) / SNR makes the noise's error that of v (Salimans & Ho 2022, arXiv:2202.00512),
    bounded at `MAX_WEIGHT`: the colours of a picture are decided where there is hardly any
    signal, and the plain error hardly counts there. Above `SNR_GAMMA` it falls with the SNR (Hang
    et al. 2023, arXiv:2303.09556, eq. 7): fine detail is learned soon enough.
    """
    signal = schedule.alphas_cumprod
    snr = signal / (1 - signal)
    weights = ((1 + snr) / snr).clamp(max=MAX_WEIGHT) * (SNR_GAMMA / snr).clamp(max=1)
    if schedule.config.prediction_type == "v_prediction":
        weights = weights * signal  # its error is the noise's over the signal's share already
    normalised: torch.Tensor = weights / weights.mean()
    return normalised


class LoraTrainer:
    """One training: the frozen model, its LoRA layers, and the examples as latents."""

    def __init__(self, model: Path, *, rank: int, seed: int) -> None:
        # oneDNN computes bf16 well or emulates it; CUDA has it since Ampere
        quick = torch.cuda.is_available() or torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        mixed = "bf16" if quick else "no"
        self.accelerator = Accelerator(mixed_precision=mixed)
        self.tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
        self.text_encoder = CLIPTextModel.from_pretrained(
            model / "text_encoder", dtype=torch.float32
        ).requires_grad_(False)
        self.autoencoder = AutoencoderKL.from_pretrained(
            model / "vae", torch_dtype=torch.float32
        ).requires_grad_(False)
        self.unet = UNet2DConditionModel.from_pretrained(
            model / "unet", torch_dtype=torch.float32
        ).requires_grad_(False)
        self.schedule = DDPMScheduler.from_pretrained(model / "scheduler")
        self.loss_weights = loss_weights(self.schedule).to(self.accelerator.device)
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # peft draws the A matrices from the global generator
        self.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGET_MODULES))
        for part in (self.text_encoder, self.autoencoder, self.unet):
            part.to(self.accelerator.device)

    @torch.no_grad()
    def prepare(self, examples: list[Example], resolution: int) -> None:
        """Encodes every picture and its words once."""
        scale = self.autoencoder.config.scaling_factor
        device = self.accelerator.device
        self.latents = scale * torch.cat(
            [
                self.autoencoder.encode(
                    read_pixels(each.picture, resolution)[None].to(device)
                ).latent_dist.mode()
                for each in examples
            ]
        )
        captions = ["", *(example.caption for example in examples)]
        tokens = self.tokenizer(
            captions, padding="max_length", truncation=True,
            max_length=self.tokenizer.model_max_length, return_tensors="pt",
        ).input_ids  # fmt: skip
        states = [self.text_encoder(rows.to(device)).last_hidden_state for rows in tokens.split(32)]
        self.states = torch.cat(states)  # row 0 is the empty caption

    def loss(self) -> torch.Tensor:
        """The weighted denoising loss of one random batch (Ho et al. 2020, eq. 14, or for v)."""
        draw = self.generator
        rows = torch.randint(0, len(self.latents), (ROWS,), generator=draw)
        latents = self.latents[rows]
        dropped = torch.rand(ROWS, generator=draw) < CAPTION_DROPOUT
        states = self.states[torch.where(dropped, 0, rows + 1)]
        noise = torch.randn(latents.shape, generator=draw).to(latents.device)
        steps = torch.randint(0, self.schedule.config.num_train_timesteps, (ROWS,), generator=draw)
        steps = steps.to(latents.device)
        noisy = self.schedule.add_noise(latents, noise, steps)
        with self.accelerator.autocast():
            predicted = self.unet(noisy, steps, states).sample
        if self.schedule.config.prediction_type == "v_prediction":
            noise = self.schedule.get_velocity(latents, noise, steps)
        error = (predicted.float() - noise).square().mean((1, 2, 3))
        loss: torch.Tensor = (self.loss_weights[steps] * error).mean()
        return loss

    def train(self, steps: int, learning_rate: float, progress: Progress) -> None:
        """AdamW with a warm-up and a linear decay on the LoRA layers alone."""
        layers = [parameter for parameter in self.unet.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(layers, learning_rate, weight_decay=1e-3)
        self.unet, optimizer = self.accelerator.prepare(self.unet, optimizer)
        recent: list[float] = []
        for step in range(1, steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * min(
                    1.0, step / 30, (steps - step + 1) / (0.7 * steps)
                )
            loss = self.loss()
            optimizer.zero_grad(set_to_none=True)
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(layers, 1.0)
            optimizer.step()
            recent = [*recent[-49:], loss.item()]
            progress(step, steps, sum(recent) / len(recent))

    def weights(self) -> dict[str, torch.Tensor]:
        """The LoRA's tensors in fp16, named as diffusers' save_lora_weights does."""
        named = get_peft_model_state_dict(self.accelerator.unwrap_model(self.unet))
        return {f"unet.{name}": tensor.half().cpu().contiguous() for name, tensor in named.items()}


def train_lora(
    brand_folder: Path,
    images: Path,
    *,
    model: Path,
    template: str = "{prompt}",
    steps: int = 800,
    rank: int = 8,
    learning_rate: float = 1e-3,
    resolution: int | None = None,
    seed: int = 0,
    progress: Progress = lambda step, of, loss: None,
) -> Path:
    """Trains on the pictures in `images`; writes `<brand>.safetensors` to the brand's folder.

    resolution: pixels of the square pictures are cut to; the model's own by default. Raises
    InvalidTraining when a picture cannot be read or there are none, or for an SDXL model.
    """
    quieten()
    pipeline = read_json(model / "model_index.json").get("_class_name")
    if pipeline != "StableDiffusionPipeline":
        raise InvalidTraining(
            f"{model} is made for {pipeline}; LoRAs are trained here for Stable Diffusion 1.x and"
            " 2.x, and taken from kohya's or diffusers' own trainer for others"
        )
    examples = read_examples(images, template)
    trainer = LoraTrainer(model, rank=rank, seed=seed)
    native_px = trainer.unet.config.sample_size * 2 ** (
        len(trainer.autoencoder.config.block_out_channels) - 1
    )
    trainer.prepare(examples, resolution or native_px)
    trainer.train(steps, learning_rate, progress)

    target = brand_folder / f"{brand_folder.name}.safetensors"
    brand_folder.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    fresh.write_bytes(save(trainer.weights(), {"format": "pt"}))
    fresh.replace(target)
    return target
