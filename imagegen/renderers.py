"""Which renderer the settings name, and how the render process makes it. Imports no torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from imagegen.engine.renderer import Renderer
from imagegen.errors import InvalidModel
from imagegen.generation import AdapterUse
from imagegen.settings import Settings

STARTER, FAKE = "starter", "fake"
STARTER_FOLDER = Path(__file__).parent / "starter" / "model"


def local_model_folder(model: str) -> Path | None:
    """The model's folder if it lies on this machine; None for `fake`, a Hub id and `gs://…`.

    Raises InvalidModel where a folder was meant and is not a model's.
    """
    if model == FAKE or model.startswith("gs://"):
        return None
    folder = STARTER_FOLDER if model == STARTER else Path(model)
    if (folder / "model_index.json").is_file():
        return folder
    if model == STARTER:
        raise InvalidModel(f"the starter model is not in {folder}; this installation is incomplete")
    hub_like = model.count("/") == 1 and not model.startswith(".")
    if folder.exists() or folder.is_absolute() or not hub_like or folder.parent.is_dir():
        raise InvalidModel(
            f"IMAGEGEN_MODEL: {model} is not a folder with a model_index.json (diffusers' layout), "
            "a Hub id (owner/name) or gs://…"
        )
    return None


def renderer_maker(
    settings: Settings, brands: Sequence[tuple[AdapterUse, ...]]
) -> Callable[[], Renderer[Any]]:
    """What the render process calls; it can be pickled. Raises InvalidModel.

    brands: the LoRAs of each brand, which the renderer makes room for at start.
    """
    if settings.model == FAKE:
        return _fake
    folder = local_model_folder(settings.model)
    return partial(
        _diffusers,
        model=settings.model if folder is None else str(folder),
        brands=tuple(brands),
        device=settings.device,
        dtype=settings.dtype,
        name=_name(settings.model, folder),
    )


def _name(model: str, folder: Path | None) -> str:
    """The starter keeps its name where it is said as a folder, as the image's settings do."""
    is_starter = folder is not None and folder.resolve() == STARTER_FOLDER.resolve()
    return STARTER if is_starter else model


def _fake() -> Renderer[Any]:
    from imagegen.engine.fake import FakeRenderer

    return FakeRenderer()


def _diffusers(
    model: str, brands: Sequence[tuple[AdapterUse, ...]], device: str, dtype: str, name: str
) -> Renderer[Any]:
    from imagegen.diffusion.loading import ModelFiles

    files = ModelFiles(model, half=_in_half(device, dtype))
    from imagegen.diffusion.renderer import DiffusersRenderer  # and with it torch: seconds

    return DiffusersRenderer(model, brands, device, dtype, name=name, files=files)


def _in_half(device: str, dtype: str) -> bool:
    """Whether it will be fp16: what `choose_device` and `choose_dtype` will say, without torch."""
    if dtype != "auto" or device == "cpu":
        return dtype == "float16"
    from imagegen.diffusion.driver import cuda_of_the_driver, cuda_of_torch

    return cuda_of_torch() is not None and cuda_of_the_driver() is not None
