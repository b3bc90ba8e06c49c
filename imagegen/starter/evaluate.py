"""`imagegen starter evaluate`: how good the starter model and its brands are, in figures.

Renders with the service's own renderer, judges with `judge.py`, prints the figures and writes them
with a contact sheet into the model card.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL
from PIL import Image

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import GenerationRequest, ModelInfo, RenderSpec, Scheduler
from imagegen.presets import PresetCatalog
from imagegen.starter.autoencoder import psnr
from imagegen.starter.captions import caption
from imagegen.starter.judge import (
    Judge,
    background_colour,
    hit_rate,
    palette_distance,
    trained_judge,
)
from imagegen.starter.objects import OBJECTS
from imagegen.starter.scenes import Scene, all_triples

log = logging.getLogger(__name__)

MODEL = Path(__file__).parent / "model"
ROWS = 4  # pictures denoised together
SHEET_COLUMNS, THUMB_PX = 12, 128
BEGIN, END = "<!-- evaluate: begin -->", "<!-- evaluate: end -->"


@dataclass(frozen=True)
class Row:
    """One line of the report: a figure, its goal, and whether more is better."""

    name: str
    value: float
    goal: float
    unit: str = "%"
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def __str__(self) -> str:
        sign, mark = ("≤", "≥")[not self.at_most], "yes" if self.met else "**no**"
        reached = f"{self.value:.1f} {self.unit}"
        return f"| {self.name} | {reached} | {sign} {self.goal:g} {self.unit} | {mark} |"


class Studio:
    """The service's renderer, driven directly."""

    def __init__(self, model: Path, catalog: PresetCatalog) -> None:
        self._renderer = DiffusersRenderer(
            str(model), [preset.adapters for preset in catalog], "auto", "auto", name="starter"
        )
        self.model: ModelInfo = self._renderer.load(lambda phase: None)

    def render(self, specs: Sequence[RenderSpec]) -> Iterator[Image.Image]:
        """The pictures in order, four at a time; logs how far it is."""
        for start in range(0, len(specs), ROWS):
            pictures = [self._renderer.begin(spec) for spec in specs[start : start + ROWS]]
            while pending := [each for each in pictures if each.step_index < each.step_count]:
                self._renderer.step(pending)
            for done in self._renderer.finish(pictures):
                yield Image.frombytes("RGB", (done.width, done.height), done.pixels)
            if start % 40 == 0:
                log.info("rendered %d of %d", start + len(pictures), len(specs))


def plain_spec(prompt: str, seed: int, side: int) -> RenderSpec:
    """A picture of the bare model at the settings that the model card names."""
    return RenderSpec(
        brand="none",
        prompt=prompt,
        negative_prompt="",
        width=side,
        height=side,
        num_inference_steps=20,
        guidance_scale=6.0,
        scheduler=Scheduler.DPMPP_2M,
        seed=seed,
        adapters=(),
        exact=False,
    )


def held_out_scenes(count: int | None) -> list[tuple[Scene, str, bool]]:
    """Scenes never trained on, their captions, and whether the phrasing is new as well."""
    triples = all_triples(held_out=True)
    rng = Random(11)
    rng.shuffle(triples)
    scenes = [Scene(*triple) for triple in triples[:count]]
    return [
        (scene, caption(scene, rng, held_out=index % 2 == 1), index % 2 == 1)
        for index, scene in enumerate(scenes)
    ]


def judge_starter(
    studio: Studio, judge: Judge, count: int | None
) -> tuple[list[Row], list[Image.Image], list[str]]:
    """The rows of both halves, the pictures, and what went wrong in words."""
    asked = held_out_scenes(count)
    side = studio.model.native_px
    specs = [plain_spec(words, index, side) for index, (_, words, _) in enumerate(asked)]
    pictures = list(studio.render(specs))
    right: dict[tuple[bool, str], list[bool]] = {}
    faults = []
    for (scene, words, new), picture in zip(asked, pictures, strict=True):
        shown, colour = judge.verdict(picture)
        seen = {
            "background colour": background_colour(picture),
            "object colour": colour,
            "object": shown,
        }
        meant = {
            "background colour": scene.background,
            "object colour": scene.colour,
            "object": scene.object,
        }
        for what, found in seen.items():
            right.setdefault((new, what), []).append(found == meant[what])
        if seen != meant:
            faults.append(f"{words!r}: seen {shown}, {colour} on {seen['background colour']}")
    goals = {"background colour": 97, "object colour": 93, "object": 93}
    rows = [
        Row(
            f"{what} right, {'held-out' if new else 'known'} phrasings",
            100 * sum(hits) / len(hits),
            goals[what],
        )
        for (new, what), hits in sorted(right.items())
    ]
    return rows, pictures, faults


def brand_specs(
    catalog: PresetCatalog, brand: str, model: ModelInfo, adapter_scale: float | None
) -> list[RenderSpec]:
    """Three prompts for each object, which say nothing, one colour, or both colours."""
    prompts = [
        words
        for name in OBJECTS
        for words in (f"a {name}", f"one orange {name}", f"a grey {name} on a pink background")
    ]
    requests = [
        GenerationRequest(
            brand=brand, prompt=words, seed=index, adapter_scale=adapter_scale, format="square"
        )
        for index, words in enumerate(prompts)
    ]
    return [spec for request in requests for spec in catalog.get(brand).resolve(request, model)]


def judge_brand(
    studio: Studio, judge: Judge, catalog: PresetCatalog, brand: str
) -> tuple[list[Row], list[Image.Image]]:
    """How much nearer to its palette the LoRA brings a brand, and whether objects survive."""
    palette = catalog.get(brand).palette
    on = list(studio.render(brand_specs(catalog, brand, studio.model, None)))
    off = list(studio.render(brand_specs(catalog, brand, studio.model, 0.0)))
    near, far = (
        sum(palette_distance(picture, palette) for picture in side) / len(side)
        for side in (on, off)
    )
    objects = [name for name in OBJECTS for _ in range(3)]
    hits = [judge.verdict(picture)[0] == name for picture, name in zip(on, objects, strict=True)]
    return [
        Row(
            f"{brand}: palette distance with / without its LoRA ({near:.1f} / {far:.1f})",
            100 * near / far,
            50,
            at_most=True,
        ),
        Row(f"{brand}: object right", 100 * sum(hits) / len(hits), 85),
    ], on


def autoencoder_row(model: Path) -> Row:
    weights = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32).eval()
    return Row("autoencoder PSNR, 48 unseen scenes", psnr(weights, pictures=48), 32, unit="dB")


def sheet(pictures: Iterable[Image.Image], columns: int = SHEET_COLUMNS) -> Image.Image:
    """Thumbnails in rows of `columns`."""
    thumbs = [
        picture.resize((THUMB_PX, THUMB_PX), Image.Resampling.LANCZOS) for picture in pictures
    ]
    page = Image.new("RGB", (columns * THUMB_PX, -(-len(thumbs) // columns) * THUMB_PX), "white")
    for index, thumb in enumerate(thumbs):
        page.paste(thumb, (index % columns * THUMB_PX, index // columns * THUMB_PX))
    return page


def write_card(card: Path, rows: Sequence[Row], device: str) -> None:
    """Replaces the part of the model card between the markers."""
    table = ["| figure | reached | goal | met |", "|---|---|---|---|", *map(str, rows)]
    text = card.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    said = f"Printed by `imagegen starter evaluate` on {device}.\n\n" + "\n".join(table)
    card.write_text(f"{before}{BEGIN}\n{said}\n{END}{after}", encoding="utf-8")


def main(words: Sequence[str] | None = None) -> int:
    """The command. Exit status 0 when every goal is met, else 1."""
    parser = argparse.ArgumentParser(prog="imagegen starter evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="a folder in diffusers' layout")
    parser.add_argument("--presets", type=Path, default=Path("brand_presets"))
    parser.add_argument(
        "--work", type=Path, default=Path("build/starter"), help="keeps the trained judge"
    )
    parser.add_argument(
        "--card", type=Path, help="the model card to write the figures and sheets into"
    )
    parser.add_argument("--count", type=int, help="how many held-out scenes; all by default")
    arguments = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    catalog = PresetCatalog.load(arguments.presets)
    judge = trained_judge(arguments.work)
    studio = Studio(arguments.model, catalog)
    starter_rows, pictures, faults = judge_starter(studio, judge, arguments.count)
    rows = [*starter_rows, autoencoder_row(arguments.model)]
    rows.append(Row("the judge's own hits on 240 fresh drawings", hit_rate(judge), 97))
    brands = []
    for brand in catalog:
        brand_rows, shown = judge_brand(studio, judge, catalog, brand.id)
        rows += brand_rows
        brands += shown[::3]
    print("\n".join(map(str, rows)))  # noqa: T201  the command's answer
    if faults:
        print("\nNot as asked:\n" + "\n".join(faults))  # noqa: T201
    if arguments.card is not None:
        images = arguments.card.parent / "images"
        images.mkdir(exist_ok=True)
        sheet(pictures[:96]).save(images / "starter.jpg", quality=80)
        sheet(brands).save(images / "brands.jpg", quality=80)
        write_card(arguments.card, rows, studio.model.device)
    return 0 if all(row.met for row in rows) else 1
