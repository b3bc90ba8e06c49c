"""DiffusersRenderer beyond parity: what it says of the model, and how single pictures fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sent_pictures import edit
from tiny_models import TEXT_TARGETS, draw, edit_json, make_spec, use

from imagegen.diffusion.device import fitting
from imagegen.diffusion.pixels import look
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.engine.renderer import PHASES
from imagegen.errors import InvalidModel, InvalidSettings, RenderFailed
from imagegen.generation import AdapterUse, ModelInfo, Scheduler

pytestmark = pytest.mark.torch


def load(
    folder: Path, *adapters: AdapterUse, **options: str
) -> tuple[DiffusersRenderer, ModelInfo]:
    renderer = DiffusersRenderer(str(folder), adapters, **({"device": "cpu"} | options))
    return renderer, renderer.load(lambda _: None)


def test_load_says_what_the_model_is(model_folder: Callable[..., Path]) -> None:
    phases: list[str] = []
    renderer = DiffusersRenderer(str(model_folder()), [], "cpu", "auto", name="tiny")
    info = renderer.load(phases.append)
    assert tuple(phases) == PHASES
    assert (info.name, info.family, info.device, info.dtype) == ("tiny", "sd", "cpu", "float32")
    assert (info.native_px, info.min_px, info.max_px) == (64, 32, 128)
    assert info.schedulers == tuple(Scheduler)
    assert len(info.sha256) == 64


def test_the_digest_changes_with_a_weight(
    tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model_folder(), copy)
    before = load(copy)[1].sha256
    assert load(model_folder())[1].sha256 == before
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert load(copy)[1].sha256 != before


def test_a_weights_file_that_is_not_there_is_the_operators_mistake(
    tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model_folder(), copy)
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.symlink_to(tmp_path / "gone")
    with pytest.raises(InvalidModel, match="vae cannot be loaded"):
        load(copy)


def test_device_cuda_without_one_is_the_operators_mistake(
    model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidSettings, match="no CUDA device"):
        load(model_folder(), device="cuda")


def test_half_precision_renders(model_folder: Callable[..., Path]) -> None:
    renderer, info = load(model_folder(), dtype="float16")
    assert info.dtype == "float16"
    half = np.frombuffer(draw(renderer, make_spec())[0], np.uint8).astype(int)
    whole = np.frombuffer(draw(load(model_folder())[0], make_spec())[0], np.uint8).astype(int)
    assert np.abs(half - whole).mean() < 2


def test_the_autoencoder_is_not_upcast_as_the_pipeline_does_not(
    tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    """StableDiffusionPipeline ignores `force_upcast`, which diffusers writes into every file."""
    copy = tmp_path / "model"
    shutil.copytree(model_folder(), copy)
    edit_json(copy / "vae" / "config.json", force_upcast=True)
    renderer, _ = load(copy, dtype="float16")
    assert renderer._family.vae.dtype is torch.float16
    draw(renderer, make_spec(num_inference_steps=1))


def test_a_picture_that_is_not_finite_fails_alone(renderer: DiffusersRenderer) -> None:
    sick, well = (renderer.begin(make_spec(num_inference_steps=1, seed=seed)) for seed in (1, 2))
    sick.latents = sick.latents * float("nan")
    renderer.step([sick, well])
    with pytest.raises(RenderFailed, match=r"seed 1 of aurora .* not finite"):
        renderer.finish([sick, well])
    [picture] = renderer.finish([well])
    [alone] = draw(renderer, make_spec(num_inference_steps=1, seed=2))
    mine, its = (np.frombuffer(pixels, np.uint8).astype(int) for pixels in (picture.pixels, alone))
    assert np.abs(mine - its).max() <= 1


def test_nan_weights_never_become_a_picture(model_folder: Callable[..., Path]) -> None:
    renderer, _ = load(model_folder())
    with torch.inference_mode():
        renderer._family.unet.conv_out.weight.fill_(float("nan"))
    with pytest.raises(RenderFailed, match="not finite"):
        draw(renderer, make_spec())


def test_out_of_memory_leaves_the_picture_as_it_was(model_folder: Callable[..., Path]) -> None:
    renderer, _ = load(model_folder())
    picture = renderer.begin(make_spec(scheduler=Scheduler.EULER_A))
    renderer.step([picture])

    def overflow(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    handle = renderer._family.unet.conv_out.register_forward_pre_hook(overflow)
    with pytest.raises(MemoryError, match="CUDA out of memory") as caught:
        renderer.step([picture])
    assert caught.value.__context__ is None, "its traceback would keep the tensors alive"
    handle.remove()
    while picture.step_index < picture.step_count:
        renderer.step([picture])
    undisturbed = draw(renderer, make_spec(scheduler=Scheduler.EULER_A))
    assert renderer.finish([picture])[0].pixels == undisturbed[0]


@pytest.mark.parametrize("scheduler", Scheduler)
def test_out_of_memory_in_the_last_pictures_step_moves_nobody(
    renderer: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch, scheduler: Scheduler
) -> None:
    """Multistep schedulers and generators have moved on by then: in copies that are dropped."""
    specs = [make_spec(scheduler=scheduler, num_inference_steps=4, seed=seed) for seed in (1, 2)]
    pictures = [renderer.begin(spec) for spec in specs]
    for _ in range(2):
        renderer.step(pictures)
    move, moves = type(pictures[0].rule).next_latents, []

    def move_and_overflow(*values: Any) -> torch.Tensor:
        moves.append(move(*values))
        if len(moves) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return moves[-1]

    monkeypatch.setattr(type(pictures[0].rule), "next_latents", move_and_overflow)
    with pytest.raises(MemoryError):
        renderer.step(pictures)
    monkeypatch.undo()
    assert len(moves) == 2
    assert [picture.step_index for picture in pictures] == [2, 2]
    for _ in range(2):
        renderer.step(pictures)
    drawn = [picture.pixels for picture in renderer.finish(pictures)]
    assert drawn == draw(renderer, *specs)


@pytest.mark.parametrize(
    ("part", "call"),
    [
        ("decoder", lambda renderer, picture: renderer.finish([picture])),
        ("encoder", lambda renderer, _: renderer.begin(make_spec(edit=edit("img2img")))),
        ("text_encoder", lambda renderer, _: renderer.begin(make_spec())),
    ],
)
def test_memory_that_runs_out_elsewhere_is_told_as_such(
    model_folder: Callable[..., Path], part: str, call: Callable[..., object]
) -> None:
    renderer, _ = load(model_folder())
    picture = renderer.begin(make_spec(prompt="another"))
    family = renderer._family
    parts = {
        "decoder": family.vae.decoder, "encoder": family.vae.encoder,
        "text_encoder": family.components["text_encoder"],
    }  # fmt: skip
    parts[part].register_forward_pre_hook(lambda *_: torch.empty(1 << 50))  # no CPU has as much
    with pytest.raises(MemoryError, match="can't allocate memory"):
        call(renderer, picture)


def test_a_look_and_the_first_noise_may_run_out_of_memory_too(
    renderer: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    picture = renderer.begin(make_spec())
    monkeypatch.setattr("imagegen.diffusion.renderer.look", overflow)
    monkeypatch.setattr("imagegen.diffusion.renderer.send", overflow)
    monkeypatch.setattr("imagegen.diffusion.beginnings.send", overflow)
    monkeypatch.setattr("imagegen.diffusion.renderer.unseal", overflow)
    for call in (
        lambda: renderer.preview(picture),
        lambda: renderer.begin(make_spec()),
        lambda: renderer.step([picture]),
        lambda: renderer.finish([picture]),
    ):
        with pytest.raises(MemoryError, match="CUDA out of memory"):
            call()


def test_other_errors_of_torch_are_not_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"):
        fitting(lambda: torch.zeros(2).view(3))


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_what_cuda_says_of_full_memory_is_out_of_memory(said: str) -> None:
    def call() -> None:
        raise RuntimeError(said)

    with pytest.raises(MemoryError):
        fitting(call)


def test_begin_and_step_wait_for_the_device(
    renderer: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the time and the errors of a step would be those of whoever comes next."""
    waits: list[torch.device] = []
    monkeypatch.setattr("imagegen.diffusion.renderer.wait_for", waits.append)
    picture = renderer.begin(make_spec())
    assert len(waits) == 1
    renderer.step([picture])
    assert len(waits) == 2


def test_an_adapter_unknown_at_the_start_is_refused_by_name(
    model_folder: Callable[..., Path], loras: dict[str, AdapterUse]
) -> None:
    renderer, _ = load(model_folder(), loras["aurora"])
    with pytest.raises(RenderFailed, match=r"pop\.safetensors"):
        renderer.begin(make_spec(adapters=(loras["pop"],)))


def test_all_brands_that_can_meet_in_a_step_have_a_slot(
    model_folder: Callable[..., Path], loras: dict[str, AdapterUse]
) -> None:
    """Or they would be taken for too many rows, at every step again."""
    mixes = [
        (loras["aurora"], replace(loras["pop"], weight=strength / 50)) for strength in range(1, 31)
    ]
    renderer = DiffusersRenderer(str(model_folder()), mixes, "cpu")
    renderer.load(lambda _: None)
    specs = [make_spec(adapters=mix, num_inference_steps=1, width=32, height=32) for mix in mixes]
    renderer.step([renderer.begin(spec) for spec in specs])


def test_a_size_between_latents_is_refused(renderer: DiffusersRenderer) -> None:
    with pytest.raises(RenderFailed, match="60 x 64"):
        renderer.begin(make_spec(width=60))


def test_words_past_the_text_encoder_are_named(renderer: DiffusersRenderer) -> None:
    # the tiny tokenizer has a token a letter: 75 of them are read
    fits = "x" * 70 + " mug a"
    assert len(fits.replace(" ", "")) == 74
    assert renderer.begin(make_spec(prompt=fits + "b")).warnings == ()
    [warning] = renderer.begin(make_spec(prompt=fits + "bcd on  Grün sand")).warnings
    assert warning == ("prompt is longer than the text encoder reads; left out: abcd on  Grün sand")
    long_negative = make_spec(negative_prompt="y " * 80)
    assert "negative_prompt" in renderer.begin(long_negative).warnings[0]
    unguided = make_spec(negative_prompt="y " * 80, guidance_scale=1.0)
    assert renderer.begin(unguided).warnings == (), "it is not read at all"


def test_a_preview_foresees_the_picture(model_folder: Callable[..., Path]) -> None:
    renderer, _ = load(model_folder())
    picture = renderer.begin(make_spec(scheduler=Scheduler.EULER, width=96))
    before = renderer.preview(picture)
    assert (before.width, before.height, len(before.pixels)) == (12, 8, 12 * 8 * 3)
    renderer.step([picture])
    assert renderer.preview(picture) != before


@pytest.mark.parametrize("scheduler", Scheduler)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_last_preview_looks_at_the_finished_latents(
    model_folder: Callable[..., Path], prediction_type: str, scheduler: Scheduler
) -> None:
    renderer, _ = load(model_folder(prediction_type=prediction_type))
    picture = renderer.begin(make_spec(scheduler=scheduler, num_inference_steps=12))
    while picture.step_index < picture.step_count:
        renderer.step([picture])
    foreseen = np.frombuffer(renderer.preview(picture).pixels, np.uint8).astype(int)
    final = np.frombuffer(
        look(picture.latents[0], renderer._family.preview_map).pixels, np.uint8
    ).astype(int)
    assert np.abs(foreseen - final).mean() < 12


def test_lora_in_the_text_encoder_alone_is_applied(
    tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    from safetensors.torch import save_file
    from tiny_models import lora_tensors

    tensors = {}
    for name, (down, up) in lora_tensors(seed=6, rank=4).items():
        if name.startswith("text_encoder.") and name.partition(".")[2] in TEXT_TARGETS:
            tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = down, up
    save_file(tensors, tmp_path / "words.safetensors")
    adapter = use(tmp_path / "words.safetensors")
    renderer, _ = load(model_folder(), adapter)
    assert draw(renderer, make_spec(adapters=(adapter,))) != draw(renderer, make_spec())


def test_nothing_but_us_speaks(model_folder: Callable[..., Path]) -> None:
    """From import to picture in a fresh process: no warning, no progress bar, no advice."""
    program = """
import sys
from tiny_models import draw, make_spec
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.engine.renderer import PHASES
renderer = DiffusersRenderer(sys.argv[1], [], "cpu", "auto")
renderer.load(lambda phase: None)
draw(renderer, make_spec(prompt="mug " * 200, num_inference_steps=1))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(model_folder())],
        capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[1], check=False,
        env=_environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _environment() -> dict[str, str]:
    import os

    root = Path(__file__).parents[2]
    return os.environ | {"PYTHONPATH": f"{root}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"}
