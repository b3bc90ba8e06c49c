"""Models, LoRAs and a loaded renderer, made once a session."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from reference import MODELS, WHOLE, loaded
from tiny_models import diffusers_lora, kohya_lora, make_model, use

from imagegen.diffusion.loading import quieten
from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.generation import AdapterUse


@pytest.fixture(scope="session", autouse=True)
def _bounded() -> None:
    quieten()
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    made: dict[object, Path] = {}

    def folder(**options: object) -> Path:
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("model")
            make_model(made[key], **options)
        return made[key]

    return folder


@pytest.fixture(scope="session")
def loras_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, AdapterUse]]:
    """Three brands' LoRAs: two in diffusers' format, one of kohya's with alpha half its rank."""

    @functools.cache
    def make(shape: str) -> dict[str, AdapterUse]:
        folder = tmp_path_factory.mktemp(f"loras_{shape}")
        diffusers_lora(folder / "aurora.safetensors", seed=1, rank=4, shape=shape)
        diffusers_lora(folder / "botanical.safetensors", seed=2, rank=8, shape=shape)
        kohya_lora(folder / "pop.safetensors", seed=3, rank=6, alpha=3.0, shape=shape)
        return {
            "aurora": use(folder / "aurora.safetensors", 1.0),
            "botanical": use(folder / "botanical.safetensors", 0.8),
            "pop": use(folder / "pop.safetensors", 1.3),
        }

    return make


@pytest.fixture(scope="session")
def loras(loras_for: Callable[[str], dict[str, AdapterUse]]) -> dict[str, AdapterUse]:
    return loras_for("sd15")


@pytest.fixture(scope="session")
def renderer(model_folder: Callable[..., Path], loras: dict[str, AdapterUse]) -> DiffusersRenderer:
    brands = [*loras.values(), tuple(loras.values()), (loras["botanical"], loras["pop"])]
    renderer = DiffusersRenderer(str(model_folder()), brands, "cpu", "float32")
    renderer.load(lambda _: None)
    return renderer


@pytest.fixture(scope="module")
def load(
    model_folder: Callable[..., Path], loras_for: Callable[[str], dict[str, AdapterUse]]
) -> Callable[..., DiffusersRenderer]:
    """A model's renderer, kept while the tests of a file run."""

    @functools.cache
    def renderer(model: str, dtype: str = WHOLE) -> DiffusersRenderer:
        return loaded(model_folder(**MODELS[model]), *loras_for(model).values(), dtype=dtype)

    return renderer
