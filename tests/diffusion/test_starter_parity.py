"""The starter model and the brands that ship: our pictures are StableDiffusionPipeline's."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
from reference import assert_equal, ours, reference
from tiny_models import make_spec

from imagegen.diffusion.renderer import DiffusersRenderer
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
