"""Edits are those of diffusers' img2img and inpainting pipelines, alone and in any company."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from reference import HALF, MODELS, WHOLE, assert_equal, decibels, loaded, ours, reference
from sent_pictures import edit, half_mask, scene, sent
from tiny_models import draw, edit_json, make_spec

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.edits import edit_of
from imagegen.generation import AdapterUse, RenderSpec, Scheduler

pytestmark = pytest.mark.torch

TASKS = ("img2img", "inpaint")

Load = Callable[..., DiffusersRenderer]
Loras = Callable[[str], dict[str, AdapterUse]]
Folder = Callable[..., Path]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scheduler", Scheduler)
def test_an_edit_equals_the_pipelines(
    model_folder: Folder, loras_for: Loras, load: Load, model: str, scheduler: Scheduler, task: str
) -> None:
    """Under a LoRA, with guidance, every scheduler."""
    adapters = (loras_for(model)["aurora"],)
    spec = make_spec(scheduler=scheduler, adapters=adapters, num_inference_steps=7, edit=edit(task))
    theirs = reference(model_folder(**MODELS[model]), spec)
    assert_equal(ours(load(model), spec), theirs)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("strength", [0.13, 0.29, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("scheduler", Scheduler)
def test_any_strength_equals_the_pipelines(
    model_folder: Folder, load: Load, scheduler: Scheduler, strength: float, task: str
) -> None:
    spec = make_spec(
        scheduler=scheduler, num_inference_steps=8, edit=edit(task, strength), guidance_scale=1.0
    )
    picture = load("sd15").begin(spec)
    assert picture.step_count == spec.step_count == int(8 * strength)
    assert_equal(ours(load("sd15"), spec), reference(model_folder(), spec))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "changes",
    [
        {"width": 96, "height": 64},
        {"width": 72, "height": 104},  # latents that do not halve evenly
        {"num_inference_steps": 100},
        {"num_inference_steps": 2},
        {"seed": 0},
        {"negative_prompt": ""},
        {"prompt": "a lamp " * 40},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["sd15", "sdxl"])
def test_the_other_choices_equal_the_pipelines(
    model_folder: Folder, load: Load, model: str, changes: dict[str, int], task: str
) -> None:
    size = {"width": changes.get("width", 64), "height": changes.get("height", 64)}
    spec = make_spec(scheduler=Scheduler.EULER_A, edit=edit(task, **size), **changes)
    assert_equal(ours(load(model), spec), reference(model_folder(**MODELS[model]), spec))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "options",
    [
        {"prediction_type": "v_prediction"},
        {"distilled": True},
        {"scheduler": (("timestep_spacing", "trailing"),)},
        {"shape": "sdxl", "scheduler": (("timestep_spacing", "trailing"),)},
    ],
    ids=str,
)
def test_other_models_equal_the_pipelines(
    model_folder: Folder, options: dict[str, object], task: str
) -> None:
    folder = model_folder(**options)
    renderer = loaded(folder)
    for scheduler in Scheduler:
        spec = make_spec(scheduler=scheduler, edit=edit(task))
        assert_equal(ours(renderer, spec), reference(folder, spec))


def company(loras: dict[str, AdapterUse]) -> list[RenderSpec]:
    """A picture a scheduler, by turns of words alone, of a picture, and of parts of one."""
    brands = [(), *((adapter,) for adapter in loras.values())]
    edits = [None, edit("img2img"), edit("inpaint", 0.8), edit("inpaint", 1.0)]
    return [
        make_spec(
            scheduler=scheduler, seed=index, adapters=brands[index % 4],
            edit=edits[(index + index // 4) % 4], num_inference_steps=4 + index % 3,
            guidance_scale=(5.0, 1.0, 3.0)[index % 3], prompt=f"mug {index}",
        )
        for index, scheduler in enumerate(Scheduler)
    ]  # fmt: skip


@pytest.mark.parametrize(("dtype", "least"), [(WHOLE, 60), (HALF, 40)])
@pytest.mark.parametrize("model", MODELS)
def test_edits_in_company_equal_the_pipelines(
    model_folder: Folder, loras_for: Loras, load: Load, model: str, dtype: str, least: float
) -> None:
    """Both against fp32: between two fp16 pictures lies the rounding of either."""
    specs = company(loras_for(model))
    assert {spec.edit and spec.edit.mask and 1 for spec in specs} == {None, 1}
    folder = model_folder(**MODELS[model])
    for spec, drawn in zip(specs, draw(load(model, dtype), *specs), strict=True):
        assert decibels(drawn, reference(folder, spec).tobytes()) >= least, spec


@pytest.mark.parametrize("task", TASKS)
def test_the_same_edit_twice_is_the_same_bytes(load: Load, task: str) -> None:
    """Also where its picture was encoded before, and that of another was in between."""
    spec = make_spec(scheduler=Scheduler.EULER_A, exact=True, edit=edit(task))
    renderer = load("sd15")
    first = draw(renderer, spec)
    for side in range(64, 64 + 8 * 20, 8):
        renderer.begin(make_spec(width=side, edit=edit(task, width=side)))
    assert draw(renderer, spec) == first


def test_a_step_that_fails_leaves_an_edit_where_it_was(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer, spec = load("sd15"), make_spec(scheduler=Scheduler.DDPM, edit=edit("inpaint"))
    undisturbed = draw(renderer, spec)
    picture = renderer.begin(spec)
    monkeypatch.setattr(
        "imagegen.diffusion.beginnings.Kept.put_back",
        lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("full")),
    )
    with pytest.raises(MemoryError):
        renderer.step([picture])
    monkeypatch.undo()
    while picture.step_index < picture.step_count:
        renderer.step([picture])
    assert [renderer.finish([picture])[0].pixels] == undisturbed


def test_what_the_mask_protects_is_the_pictures_own(load: Load) -> None:
    spec = make_spec(edit=edit("inpaint", 1.0), num_inference_steps=6)
    renderer = load("sd15")
    picture = renderer.begin(spec)
    kept = picture.kept
    assert kept is not None
    while picture.step_index < picture.step_count:
        renderer.step([picture])
    left, right = (slice(None), slice(None), slice(None), slice(0, 4)), (..., slice(4, 8))
    assert torch.equal(picture.latents[left], kept.latents[left])
    assert (picture.latents[right] - kept.latents[right]).abs().mean() > 0.1


def test_white_between_the_latents_is_warned_of(load: Load) -> None:
    line = Image.new("L", (64, 64))
    line.paste(255, (3, 0, 6, 64))
    spec = make_spec(edit=edit_of(sent(scene()), sent(line), 0.5, 64, 64))
    [warning] = load("sd15").begin(spec).warnings
    assert "white lies between the 8 pixels" in warning
    line.paste(255, (3, 0, 9, 64))
    spec = make_spec(edit=edit_of(sent(scene()), sent(line), 0.5, 64, 64))
    assert load("sd15").begin(spec).warnings == ()


def test_a_preview_before_the_first_step_and_after_it(load: Load) -> None:
    renderer = load("sd15")
    picture = renderer.begin(make_spec(edit=edit("inpaint")))
    for _ in range(2):
        look = renderer.preview(picture)
        assert (look.width, look.height) == (8, 8)
        renderer.step([picture])


def test_a_requests_pictures_encode_theirs_once(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = load("sd15")
    encode, encoded = renderer._family.encode_picture, []
    monkeypatch.setattr(
        renderer._family, "encode_picture", lambda picture: encoded.append(1) or encode(picture)
    )
    fresh = edit_of(sent(scene(80, 72)), None, 0.6, 80, 72)
    specs = [make_spec(width=80, height=72, seed=seed, edit=fresh) for seed in range(3)]
    one, other, _ = (renderer.begin(spec) for spec in specs)
    assert len(encoded) == 1
    assert not torch.equal(one.latents, other.latents)


@pytest.mark.parametrize("task", TASKS)
def test_latents_that_are_shifted_and_stretched(
    tmp_path: Path, model_folder: Folder, task: str
) -> None:
    """diffusers' inpainting forgets them on the way in, not on the way out: ours do not."""
    folder = tmp_path / "model"
    shutil.copytree(model_folder(shape="sdxl"), folder)
    spec = make_spec(num_inference_steps=6, edit=edit(task))
    plain = loaded(folder)
    kept_plain = plain._family.decode(_encoded(plain, spec))
    edit_json(
        folder / "vae" / "config.json",
        latents_mean=[-0.5, 0.4, 0.1, 0.9], latents_std=[0.3, 0.2, 0.5, 0.4],
    )  # fmt: skip
    renderer = loaded(folder)
    assert torch.allclose(renderer._family.decode(_encoded(renderer, spec)), kept_plain, atol=1e-4)
    if task == "img2img":
        assert_equal(ours(renderer, spec), reference(folder, spec))


@torch.inference_mode()
def _encoded(renderer: DiffusersRenderer, spec: RenderSpec) -> torch.Tensor:
    """The denoiser's latents of the picture that is edited."""
    assert spec.edit is not None
    return renderer._family.scaled(renderer._beginnings._read(spec, spec.edit).mean)


@pytest.mark.parametrize("task", TASKS)
def test_the_edited_picture_can_be_seen(load: Load, task: str) -> None:
    """Of the references above none is made of noise alone."""
    one = ours(load("sd15"), make_spec(edit=edit(task, 0.3), num_inference_steps=10))
    upside_down = scene().filter(ImageFilter.GaussianBlur(5)).transpose(Image.Transpose.ROTATE_180)
    mask = sent(half_mask()) if task == "inpaint" else None
    other = make_spec(edit=edit_of(sent(upside_down), mask, 0.3, 64, 64), num_inference_steps=10)
    difference = np.abs(one.astype(int) - ours(load("sd15"), other).astype(int))
    assert difference[:, :28].mean() > 2
