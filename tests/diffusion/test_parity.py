"""Our pictures are those of StableDiffusionPipeline, and company does not change them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from reference import REFERENCES, assert_equal, decibels, loaded, ours, reference
from tiny_models import TEXT_TARGETS, UNET_TARGETS, diffusers_lora, draw, make_spec, use

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import AdapterUse, Scheduler

pytestmark = pytest.mark.torch


def test_every_scheduler_has_a_reference() -> None:
    assert set(REFERENCES) == set(Scheduler)


@pytest.mark.parametrize("brand", [None, "aurora", "botanical", "pop"])
@pytest.mark.parametrize("scheduler", Scheduler)
def test_a_picture_equals_the_pipelines(
    renderer: DiffusersRenderer,
    model_folder: Callable[..., Path],
    loras: dict[str, AdapterUse],
    scheduler: Scheduler,
    brand: str | None,
) -> None:
    adapters = (loras[brand],) if brand else ()
    spec = make_spec(scheduler=scheduler, adapters=adapters)
    theirs = reference(model_folder(), spec)
    assert_equal(ours(renderer, spec), theirs)
    if brand:
        bare = ours(renderer, make_spec(scheduler=scheduler))
        assert np.abs(bare.astype(int) - theirs.astype(int)).max() > 20, "the LoRA must be seen"


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 96, "height": 64},
        {"width": 64, "height": 128},
        {"width": 72, "height": 104},  # latents that do not halve evenly
        {"guidance_scale": 0.0},
        {"guidance_scale": 1.0},
        {"seed": 0},
        {"seed": 2**32 - 1},
        {"negative_prompt": ""},
        {"prompt": "a lamp " * 40},
    ],
    ids=str,
)
def test_the_other_choices_equal_the_pipelines(
    renderer: DiffusersRenderer, model_folder: Callable[..., Path], changes: dict[str, object]
) -> None:
    spec = make_spec(scheduler=Scheduler.EULER_A, **changes)
    assert_equal(ours(renderer, spec), reference(model_folder(), spec))


@pytest.mark.parametrize("num_inference_steps", [1, 2, 12])
@pytest.mark.parametrize("scheduler", Scheduler)
def test_any_number_of_steps_equals_the_pipelines(
    renderer: DiffusersRenderer,
    model_folder: Callable[..., Path],
    scheduler: Scheduler,
    num_inference_steps: int,
) -> None:
    spec = make_spec(scheduler=scheduler, num_inference_steps=num_inference_steps)
    assert_equal(ours(renderer, spec), reference(model_folder(), spec))


@pytest.mark.parametrize("scheduler", Scheduler)
@pytest.mark.parametrize("options", [{"prediction_type": "v_prediction"}, {"distilled": True}])
def test_other_models_equal_the_pipelines(
    model_folder: Callable[..., Path], options: dict[str, object], scheduler: Scheduler
) -> None:
    folder = model_folder(**options)
    spec = make_spec(scheduler=scheduler)
    assert_equal(ours(loaded(folder), spec), reference(folder, spec))


def test_a_model_that_predicts_the_sample_equals_the_pipelines(
    model_folder: Callable[..., Path],
) -> None:
    folder = model_folder(prediction_type="sample")
    renderer = DiffusersRenderer(str(folder), [], "cpu", "float32")
    info = renderer.load(lambda _: None)
    assert set(info.schedulers) == set(Scheduler) - {Scheduler.EULER_A}
    for scheduler in info.schedulers:
        spec = make_spec(scheduler=scheduler)
        assert_equal(ours(renderer, spec), reference(folder, spec))


def test_several_loras_of_one_brand_add_up(
    renderer: DiffusersRenderer, model_folder: Callable[..., Path], loras: dict[str, AdapterUse]
) -> None:
    spec = make_spec(adapters=tuple(loras.values()))
    assert_equal(ours(renderer, spec), reference(model_folder(), spec))


def test_alpha_as_diffusers_writes_it(tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    said = {}
    for part, targets, alpha in (("unet", UNET_TARGETS, 2), ("text_encoder", TEXT_TARGETS, 8)):
        config = peft.LoraConfig(r=4, lora_alpha=alpha, target_modules=list(targets)).to_dict()
        said |= {f"{part}.{name}": value for name, value in config.items()}
    metadata = {"lora_adapter_metadata": json.dumps(said, default=list)}
    diffusers_lora(tmp_path / "x.safetensors", seed=4, rank=4, metadata=metadata)
    adapter = use(tmp_path / "x.safetensors", 0.9)
    spec = make_spec(adapters=(adapter,))
    assert_equal(ours(loaded(model_folder(), adapter), spec), reference(model_folder(), spec))


def test_half_precision_loras_count_the_same(
    tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    diffusers_lora(tmp_path / "x.safetensors", seed=5, rank=4, dtype=torch.float16)
    adapter = use(tmp_path / "x.safetensors")
    spec = make_spec(adapters=(adapter,))
    assert_equal(ours(loaded(model_folder(), adapter), spec), reference(model_folder(), spec))


def test_company_does_not_change_a_picture(
    renderer: DiffusersRenderer, loras: dict[str, AdapterUse]
) -> None:
    specs = [
        make_spec(adapters=(loras["aurora"],), scheduler=Scheduler.EULER, num_inference_steps=3),
        make_spec(adapters=(loras["pop"],), scheduler=Scheduler.DDPM, guidance_scale=1.0, seed=1),
        make_spec(scheduler=Scheduler.UNIPC, num_inference_steps=6, guidance_scale=9.0, seed=2),
        make_spec(adapters=(loras["botanical"], loras["pop"]), seed=3),
    ]
    alone = [draw(renderer, spec)[0] for spec in specs]
    together = draw(renderer, *specs)
    for one, other in zip(alone, together, strict=True):
        assert decibels(one, other) >= 60


def test_the_same_spec_twice_is_the_same_bytes(
    renderer: DiffusersRenderer, loras: dict[str, AdapterUse]
) -> None:
    spec = make_spec(adapters=(loras["aurora"],), scheduler=Scheduler.EULER_A, exact=True)
    first = draw(renderer, spec)
    draw(renderer, make_spec(adapters=(loras["pop"],)))
    assert draw(renderer, spec) == first


def test_one_brand_leaves_nothing_for_the_next(
    renderer: DiffusersRenderer, model_folder: Callable[..., Path], loras: dict[str, AdapterUse]
) -> None:
    spec = make_spec(adapters=(loras["botanical"],))
    alone = draw(loaded(model_folder(), loras["botanical"]), spec)
    draw(renderer, make_spec(adapters=(loras["aurora"],)))
    assert decibels(draw(renderer, spec)[0], alone[0]) > 60
    bare = draw(renderer, make_spec())
    assert bare == draw(loaded(model_folder()), make_spec())
    assert bare == draw(renderer, make_spec(adapters=(use(loras["aurora"].path, 0.0),)))


def test_base_weights_are_never_written(
    model_folder: Callable[..., Path], loras: dict[str, AdapterUse]
) -> None:
    renderer = loaded(model_folder(), *loras.values(), adapter_slots=1)
    models = renderer._family.components.values()
    before = [weight.clone() for model in models for weight in model.state_dict().values()]
    for _ in range(5):
        for adapter in loras.values():  # one slot: every picture of another brand refills it
            draw(renderer, make_spec(adapters=(adapter,), num_inference_steps=1))
    after = [weight for model in models for weight in model.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_brand_that_lost_its_slot_comes_back(
    renderer: DiffusersRenderer, model_folder: Callable[..., Path], loras: dict[str, AdapterUse]
) -> None:
    brands = (*loras.values(), tuple(loras.values()))
    crowded = loaded(model_folder(), *brands, adapter_slots=1)
    spec = make_spec(adapters=(loras["aurora"],))
    picture = crowded.begin(spec)
    crowded.step([picture])
    crowded.begin(make_spec(adapters=(loras["pop"],)))
    while picture.step_index < picture.step_count:
        crowded.step([picture])
    [finished] = crowded.finish([picture])
    assert finished.pixels == draw(renderer, spec)[0]


def test_more_brands_than_slots_do_not_fit_one_step(
    model_folder: Callable[..., Path], loras: dict[str, AdapterUse]
) -> None:
    crowded = loaded(model_folder(), *loras.values(), adapter_slots=2)
    pictures = [crowded.begin(make_spec(adapters=(adapter,))) for adapter in loras.values()]
    with pytest.raises(MemoryError, match="3 brands in one step, 2 slots"):
        crowded.step(pictures)
    crowded.step(pictures[:2])
    crowded.step(pictures[2:])
    assert [picture.step_index for picture in pictures] == [1, 1, 1]
