"""The starter model and the brands that ship: our pictures are StableDiffusionPipeline's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import diffusers
import numpy as np
import pytest
from PIL import Image, ImageDraw
from reference import assert_equal, ours, reference
from sent_pictures import half_mask, sent
from tiny_models import make_spec

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.edits import edit_of
from imagegen.generation import RenderSpec, Scheduler
from imagegen.presets import PresetCatalog, check_presets
from imagegen.renderers import STARTER_FOLDER

pytestmark = pytest.mark.torch

MAX_MODEL_BYTES = 24_000_000
MAX_LORA_BYTES = 1_500_000


@pytest.fixture(scope="module")
def catalog(repository: Path) -> PresetCatalog:
    return PresetCatalog.load(repository / "brand_presets")


@pytest.fixture(scope="module")
def starter(catalog: PresetCatalog) -> DiffusersRenderer:
    brands = [preset.adapters for preset in catalog]
    renderer = DiffusersRenderer(str(STARTER_FOLDER), brands, "cpu", "float32")
    renderer.load(lambda _: None)
    return renderer


def spec_of(catalog: PresetCatalog, brand: str, scheduler: Scheduler) -> RenderSpec:
    """A small picture in few steps: what is compared is arithmetic, not beauty."""
    adapters = () if brand == "none" else catalog.get(brand).adapters
    return make_spec(
        brand=brand, adapters=adapters, scheduler=scheduler, prompt="a red mug on blue",
        negative_prompt="", width=128, height=128, num_inference_steps=5, guidance_scale=4.0,
    )  # fmt: skip


@pytest.mark.parametrize("scheduler", list(Scheduler))
@pytest.mark.parametrize("brand", ["none", "aurora", "botanic", "pop"])
def test_starter_and_brands_equal_the_pipeline(
    starter: DiffusersRenderer, catalog: PresetCatalog, brand: str, scheduler: Scheduler
) -> None:
    spec = spec_of(catalog, brand, scheduler)
    assert_equal(ours(starter, spec), reference(STARTER_FOLDER, spec))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("brand", "scheduler"),
    [
        ("none", Scheduler.DPMPP_2M_KARRAS), ("aurora", Scheduler.EULER_A),
        ("botanic", Scheduler.DDIM), ("pop", Scheduler.LCM),
    ],
)  # fmt: skip
def test_edits_with_starter_and_brands_equal_the_pipelines(
    starter: DiffusersRenderer, catalog: PresetCatalog, brand: str, scheduler: Scheduler,
    *, masked: bool,
) -> None:  # fmt: skip
    spec = spec_of(catalog, brand, scheduler)
    mask = sent(half_mask(128, 128)) if masked else None
    spec = replace(spec, edit=edit_of(sent(mug()), mask, 0.6, 128, 128))
    assert_equal(ours(starter, spec), reference(STARTER_FOLDER, spec))


def mug() -> Image.Image:
    """Red, on blue, as the starter's scenes have it."""
    drawn = Image.new("RGB", (128, 128), (40, 90, 210))
    pen = ImageDraw.Draw(drawn)
    pen.rectangle((30, 40, 80, 100), fill=(220, 40, 40))
    pen.arc((65, 50, 105, 90), -90, 90, fill=(220, 40, 40), width=8)
    return drawn


def test_the_starter_edits_what_it_is_shown(
    starter: DiffusersRenderer, catalog: PresetCatalog
) -> None:
    """What the mask protects is the picture's, what it does not is the prompt's."""
    spec = replace(
        spec_of(catalog, "none", Scheduler.DPMPP_2M_KARRAS), prompt="a green box on blue",
        num_inference_steps=20, edit=edit_of(sent(mug()), sent(half_mask(128, 128)), 1.0, 128, 128),
    )  # fmt: skip
    drawn, shown = ours(starter, spec).astype(int), np.asarray(mug()).astype(int)
    assert np.abs(drawn[:, :56] - shown[:, :56]).mean() < 12, "a mug's left half, as it was"
    plain = replace(spec, edit=edit_of(sent(mug()), None, 0.2, 128, 128))
    light = ours(starter, plain).astype(int)
    assert np.abs(light - shown).mean() < 30
    assert np.abs(drawn[:, 72:] - shown[:, 72:]).mean() > np.abs(light - shown)[:, 72:].mean()


def test_a_brands_picture_after_anothers_is_what_it_was_before(
    starter: DiffusersRenderer, catalog: PresetCatalog
) -> None:
    aurora, pop = (spec_of(catalog, brand, Scheduler.DDIM) for brand in ("aurora", "pop"))
    first = ours(starter, aurora)
    assert (ours(starter, pop) != first).any()
    assert (ours(starter, aurora) == first).all()


def test_the_starter_is_small_and_loads_unchanged_without_a_safety_checker() -> None:
    size = sum(path.stat().st_size for path in STARTER_FOLDER.rglob("*") if path.is_file())
    assert size <= MAX_MODEL_BYTES
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(STARTER_FOLDER, local_files_only=True)
    assert pipe.safety_checker is None
    assert pipe.config.requires_safety_checker is False


def test_the_brands_that_ship_are_without_fault(catalog: PresetCatalog, repository: Path) -> None:
    assert [preset.id for preset in catalog] == ["aurora", "botanic", "pop"]
    assert check_presets(repository / "brand_presets", STARTER_FOLDER) == []
    for preset in catalog:
        assert preset.cover is not None
        assert all(use.path.stat().st_size <= MAX_LORA_BYTES for use in preset.adapters)
