"""A part's weights: modules without any memory take those of the mapped files as they are.

diffusers' and transformers' own `from_pretrained` do as much, and import accelerate for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from imagegen.diffusion.device import WeightsToDevice
from imagegen.diffusion.families.clip import ClipConfig, ClipTextEncoder
from imagegen.diffusion.loading import read_json, weights_of
from imagegen.errors import InvalidModel

M = TypeVar("M", bound=nn.Module)

# of attention in autoencoders saved before diffusers 0.13, which Stable Diffusion 1.x's are
_OLD_NAMES = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}


def load_model(cls: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A model of diffusers' class `cls` on its device, its convolutions in channels_last.

    Raises InvalidModel naming the folder.
    """
    config = {**read_json(folder / "config.json")}
    try:
        with torch.device("meta"):
            model = cls.from_config(config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _unusable(folder, error) from None
    tensors = _read(folder)
    for name in [name for name in tensors if any(old in name for old in _OLD_NAMES)]:
        tensors[_renamed(name)] = tensors.pop(name)
    return _filled(model, tensors, folder, device, dtype)


def load_text_encoder(
    folder: Path, device: torch.device, dtype: torch.dtype, *, projects: bool
) -> ClipTextEncoder:
    """CLIP's text encoder on its device. Raises InvalidModel naming the folder."""
    config = ClipConfig.from_json(read_json(folder / "config.json"))
    with torch.device("meta"):
        encoder = ClipTextEncoder(config, projects=projects)
    tensors = {name.removeprefix("text_model."): each for name, each in _read(folder).items()}
    return _filled(encoder, tensors, folder, device, dtype)


def _read(folder: Path) -> dict[str, Tensor]:
    files = weights_of(folder)
    if not files:
        raise InvalidModel(f"{folder} holds no safetensors weights")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= safetensors.torch.load_file(file)
        except (OSError, SafetensorError) as error:
            raise _unusable(folder, error) from None
    return tensors


def _renamed(name: str) -> str:
    for old, new in _OLD_NAMES.items():
        name = name.replace(old, new)
    return name


def _filled(
    model: M,
    tensors: Mapping[str, Tensor],
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
) -> M:
    """The model with the tensors as its weights; missing ones are not made up."""
    wanted = model.state_dict()
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise InvalidModel(f"{folder} lacks {len(missing)} weights, such as {missing[0]}")
    to_device = WeightsToDevice(device)
    given = {name: to_device.carry(_as_used(tensors[name], dtype)) for name in wanted}
    to_device.arrived()
    try:
        model.load_state_dict(given, assign=True)
    except RuntimeError as error:
        raise _unusable(folder, error) from None
    return model.requires_grad_(requires_grad=False).eval()


def _as_used(weights: Tensor, dtype: torch.dtype) -> Tensor:
    """In the precision and, a convolution's, in the order of memory that they are used in."""
    order = torch.channels_last if weights.dim() == 4 else torch.preserve_format
    return weights.to(dtype, memory_format=order)


def _unusable(folder: Path, error: Exception) -> InvalidModel:
    reason = " ".join(str(error).split())[:300]
    return InvalidModel(f"{folder} cannot be loaded: {reason}")
