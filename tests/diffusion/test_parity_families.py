"""Every family and every scheduler against diffusers' own pipelines, alone and in company."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import HALF, MODELS, WHOLE, assert_equal, decibels, loaded, ours, reference
from safetensors.torch import load_file, save_file
from tiny_models import draw, edit_json, keep_halves, make_spec, use

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import AdapterUse, RenderSpec, Scheduler

pytestmark = pytest.mark.torch

TRAILING = (("timestep_spacing", "trailing"),)

Load = Callable[..., DiffusersRenderer]
Loras = Callable[[str], dict[str, AdapterUse]]
Folder = Callable[..., Path]


def company(loras: dict[str, AdapterUse]) -> list[RenderSpec]:
    """A picture a scheduler: no two of them alike in brand, steps, guidance and seed."""
    brands = [(), *((adapter,) for adapter in loras.values())]
    return [
        make_spec(
            scheduler=scheduler, seed=index, adapters=brands[index % 4],
            num_inference_steps=3 + index % 3, guidance_scale=(5.0, 1.0, 3.0)[index % 3],
            negative_prompt=("text", "")[index % 2], prompt=f"mug {index}",
        )
        for index, scheduler in enumerate(Scheduler)
    ]  # fmt: skip


@pytest.mark.parametrize("model", ["sd2", "sdxl"])
@pytest.mark.parametrize("scheduler", Scheduler)
def test_a_picture_alone_equals_the_pipelines(
    model_folder: Folder, loras_for: Loras, load: Load, model: str, scheduler: Scheduler
) -> None:
    [spec] = [each for each in company(loras_for(model)) if each.scheduler is scheduler]
    assert_equal(ours(load(model), spec), reference(model_folder(**MODELS[model]), spec))


@pytest.mark.parametrize(("dtype", "least"), [(WHOLE, 60), (HALF, 40)])
@pytest.mark.parametrize("model", MODELS)
def test_pictures_in_company_equal_the_pipelines(
    model_folder: Folder, loras_for: Loras, load: Load, model: str, dtype: str, least: float
) -> None:
    """Both against fp32: between two fp16 pictures lies the rounding of either."""
    specs = company(loras_for(model))
    folder = model_folder(**MODELS[model])
    for spec, drawn in zip(specs, draw(load(model, dtype), *specs), strict=True):
        assert decibels(drawn, reference(folder, spec).tobytes()) >= least, spec


@pytest.mark.parametrize("brand", ["aurora", "pop"])
@pytest.mark.parametrize("model", ["sd2", "sdxl"])
def test_loras_of_both_formats_equal_the_pipelines(
    model_folder: Folder, loras_for: Loras, load: Load, model: str, brand: str
) -> None:
    spec = make_spec(adapters=(loras_for(model)[brand],))
    theirs = reference(model_folder(**MODELS[model]), spec)
    assert_equal(ours(load(model), spec), theirs)
    bare = ours(load(model), make_spec())
    assert np.abs(bare.astype(int) - theirs.astype(int)).max() > 20, "the LoRA must be seen"


@pytest.mark.parametrize("part", ["unet", "text_encoder", "text_encoder_2"])
def test_each_part_of_an_sdxl_lora_counts(
    tmp_path: Path, model_folder: Folder, loras_for: Loras, load: Load, part: str
) -> None:
    whole = load_file(loras_for("sdxl")["aurora"].path)
    only = {name: value for name, value in whole.items() if name.startswith(f"{part}.")}
    save_file(only, tmp_path / "x.safetensors")
    spec = make_spec(adapters=(use(tmp_path / "x.safetensors", 1.0),))
    folder = model_folder(**MODELS["sdxl"])
    drawn = ours(loaded(folder, *spec.adapters), spec)
    assert_equal(drawn, reference(folder, spec))
    assert (drawn != ours(load("sdxl"), make_spec())).any()


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0])
@pytest.mark.parametrize(
    ("scheduler", "num_inference_steps"),
    [(Scheduler.EULER, 1), (Scheduler.EULER, 4), (Scheduler.EULER_A, 1), (Scheduler.LCM, 2),
     (Scheduler.LCM, 4), (Scheduler.DDIM, 3)],
)  # fmt: skip
@pytest.mark.parametrize("shape", ["sd15", "sdxl"])
def test_few_steps_without_guidance_equal_the_pipelines(
    model_folder: Folder, shape: str, scheduler: Scheduler, num_inference_steps: int,
    guidance_scale: float,
) -> None:  # fmt: skip
    """As Turbo and Lightning are used: trailing timesteps, one row a picture."""
    folder = model_folder(shape=shape, scheduler=TRAILING)
    renderer = _kept(folder)
    spec = make_spec(
        scheduler=scheduler, num_inference_steps=num_inference_steps, guidance_scale=guidance_scale
    )
    picture = renderer.begin(spec)
    assert picture.row_count == 1
    if scheduler is Scheduler.EULER:
        assert picture.rule.timesteps[0] == 999, "trailing timesteps begin at the end"
    assert_equal(ours(renderer, spec), reference(folder, spec))


@functools.cache
def _kept(folder: Path) -> DiffusersRenderer:
    return loaded(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 96, "height": 64},
        {"width": 72, "height": 104},  # latents that do not halve evenly
        {"negative_prompt": ""},
        {"prompt": "a lamp " * 40},
    ],
    ids=str,
)
def test_sdxls_other_choices_equal_the_pipelines(
    model_folder: Folder, load: Load, changes: dict[str, object]
) -> None:
    spec = make_spec(scheduler=Scheduler.EULER, **changes)
    assert_equal(ours(load("sdxl"), spec), reference(model_folder(shape="sdxl"), spec))


def test_sdxl_hears_the_pictures_size(load: Load) -> None:
    condition = load("sdxl").begin(make_spec(width=96, height=64)).condition
    assert condition.added["time_ids"].tolist() == [[64, 96, 0, 0, 64, 96]] * 2


@pytest.mark.parametrize("zeros", [True, False])
def test_an_empty_negative_prompt_is_zeros_where_the_model_says_so(
    tmp_path: Path, model_folder: Folder, *, zeros: bool
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder(shape="sdxl"), folder)
    edit_json(folder / "model_index.json", force_zeros_for_empty_prompt=zeros)
    renderer, spec = loaded(folder), make_spec(negative_prompt="")
    negative, prompt = renderer.begin(spec).condition.embeddings
    assert (not negative.any()) is zeros
    assert prompt.any()
    drawn = ours(renderer, spec)
    assert_equal(drawn, reference(folder, spec, empty=None))
    read = reference(folder, spec, empty="")
    if zeros:
        assert (drawn != read).mean() > 0.1, "our choice: an empty text is never read as words"
    else:
        assert_equal(drawn, read)


@pytest.mark.parametrize("shape", ["sd15", "sdxl"])
def test_padding_is_masked_only_where_the_pipeline_masks_it(
    tmp_path: Path, model_folder: Folder, shape: str
) -> None:
    """StableDiffusionPipeline heeds `use_attention_mask`, StableDiffusionXLPipeline does not."""
    folder = tmp_path / "model"
    shutil.copytree(model_folder(shape=shape), folder)
    for encoder in folder.glob("text_encoder*"):
        edit_json(encoder / "config.json", use_attention_mask=True)
    spec = make_spec()
    drawn = ours(loaded(folder), spec)
    assert_equal(drawn, reference(folder, spec))
    unmasked = ours(loaded(model_folder(shape=shape)), spec)
    assert (drawn == unmasked).all() == (shape == "sdxl")


@pytest.mark.parametrize("options", [{"prediction_type": "v_prediction"}, {"distilled": True}])
def test_other_sdxl_models_equal_the_pipelines(
    model_folder: Folder, options: dict[str, object]
) -> None:
    folder = model_folder(shape="sdxl", **options)
    renderer = loaded(folder)
    for scheduler in (Scheduler.DPMPP_2M_KARRAS, Scheduler.LCM):
        spec = make_spec(scheduler=scheduler)
        assert_equal(ours(renderer, spec), reference(folder, spec))


def test_sdxls_scheduler_options_are_the_models_own(model_folder: Folder) -> None:
    """StableDiffusionPipeline alone forces steps_offset and clip_sample."""
    folder = model_folder(shape="sdxl", scheduler=(("steps_offset", 0), ("clip_sample", True)))
    spec = make_spec(scheduler=Scheduler.DDIM)
    renderer = loaded(folder)
    assert renderer.begin(spec).rule.timesteps[-1] == 0
    assert_equal(ours(renderer, spec), reference(folder, spec))


@pytest.mark.parametrize("says", [True, False, None])
def test_sdxls_autoencoder_runs_in_half_precision_only_where_its_file_allows_it(
    tmp_path: Path, model_folder: Folder, *, says: bool | None
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder(shape="sdxl"), folder)
    edit_json(folder / "vae" / "config.json", force_upcast=True if says is None else says)
    if says is None:
        config = (folder / "vae" / "config.json").read_text()
        (folder / "vae" / "config.json").write_text(config.replace('"force_upcast"', '"unsaid"'))
    renderer = loaded(folder, dtype=HALF)
    assert renderer._family.vae.dtype is (torch.float16 if says is False else torch.float32)
    spec = make_spec(num_inference_steps=2)
    theirs = reference(folder, spec, torch.float16)
    assert decibels(draw(renderer, spec)[0], theirs.tobytes()) >= 40


def test_latents_that_are_shifted_and_stretched_equal_the_pipelines(
    tmp_path: Path, model_folder: Folder
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder(shape="sdxl"), folder)
    edit_json(
        folder / "vae" / "config.json",
        latents_mean=[-0.5, 0.4, 0.1, 0.9], latents_std=[0.3, 0.2, 0.5, 0.4],
    )  # fmt: skip
    spec = make_spec(num_inference_steps=2)
    assert_equal(ours(loaded(folder), spec), reference(folder, spec))


def test_sdxl_in_half_precision_files_loads(tmp_path: Path, model_folder: Folder) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder(shape="sdxl"), folder)
    keep_halves(folder)
    assert len(list(folder.glob("*/*.fp16.safetensors"))) == 4
    renderer, spec = loaded(folder, dtype=HALF), make_spec(num_inference_steps=2)
    theirs = reference(model_folder(shape="sdxl"), spec, torch.float16)
    assert decibels(draw(renderer, spec)[0], theirs.tobytes()) >= 40
