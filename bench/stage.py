"""What both sides are given: one model, four brands, the same requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from safetensors.numpy import load_file, save_file

from imagegen.presets import PresetCatalog
from imagegen.renderers import STARTER_FOLDER

BRANDS = ("aurora", "botanic", "pop", "fourth")
_PRESET = """\
name: {brand}
description: A brand of the benchmarks.
adapters: [{{file: {brand}.safetensors, weight: 1.0}}]
defaults: {{width: {px}, height: {px}}}
"""


@dataclass(frozen=True)
class Asked:
    """One picture, in words that both sides understand. DDIM, the scheduler of the models here."""

    brand: str
    seed: int
    px: int
    num_inference_steps: int
    guidance_scale: float = 4.0
    prompt: str = "a red mug"

    def to_json(self) -> dict[str, Any]:
        """The body of our POST /generate; the naive server takes the same."""
        return {
            "brand": self.brand,
            "prompt": self.prompt,
            "seed": self.seed,
            "width": self.px,
            "height": self.px,
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
            "scheduler": "ddim",
        }


@dataclass(frozen=True)
class Stage:
    """A model's folder, the brands' LoRAs, and how pictures are made on it."""

    model: Path
    loras: Mapping[str, Path]
    presets: Path  # the same LoRAs as a folder of brands
    px: int
    num_inference_steps: int
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "float16"] = "float32"

    def asked(self, count: int, first_seed: int = 0) -> list[Asked]:
        """Pictures of all brands in turn, each with a seed of its own."""
        return [
            Asked(BRANDS[i % len(BRANDS)], first_seed + i, self.px, self.num_inference_steps)
            for i in range(count)
        ]

    def catalog(self) -> PresetCatalog:
        return PresetCatalog.load(self.presets, self.model)


@contextmanager
def starter_stage(*, smoke: bool) -> Iterator[Stage]:
    """The model that ships with its three brands, and a fourth that is Aurora by half."""
    brands = Path(__file__).resolve().parents[1] / "brand_presets"
    with TemporaryDirectory() as folder:
        tensors = load_file(brands / "aurora" / "aurora.safetensors")
        halved = {name: t / 2 if ".lora_B" in name else t for name, t in tensors.items()}
        fourth = Path(folder) / "fourth.safetensors"
        save_file(halved, fourth)
        loras = {b: brands / b / f"{b}.safetensors" for b in BRANDS[:3]} | {"fourth": fourth}
        stage = stage_for(STARTER_FOLDER, loras, Path(folder) / "brands", px=256)
        yield replace(stage, px=128, num_inference_steps=2) if smoke else stage


def stage_for(model: Path, loras: Mapping[str, Path], presets: Path, *, px: int) -> Stage:
    """A stage of 20 steps; writes the brands into `presets`."""
    for brand, lora in loras.items():
        folder = presets / brand
        folder.mkdir(parents=True)
        (folder / f"{brand}.safetensors").write_bytes(lora.read_bytes())
        (folder / "preset.yaml").write_text(_PRESET.format(brand=brand, px=px))
    return Stage(model, dict(loras), presets, px, num_inference_steps=20)


def shares(asked: Sequence[Asked], callers: int) -> list[list[Asked]]:
    """What each caller asks for, one after another: at any time all brands are on their way."""
    return [list(asked[caller::callers]) for caller in range(callers)]
