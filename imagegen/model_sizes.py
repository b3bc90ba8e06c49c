"""Which sizes a model draws at all, from what its folder says of it: without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

_Count = Annotated[int, Field(ge=1, le=1 << 16)]


@dataclass(frozen=True)
class SideLimits:
    """Of a picture's sides, in pixels: half to twice the native one.

    A device that has room for less says so once the model is loaded (`ModelInfo.max_px`).
    """

    min_px: int
    max_px: int

    @classmethod
    def of(cls, native_px: int) -> SideLimits:
        return cls(-(-native_px // 16) * 8, 2 * native_px)


class _UNetConfig(BaseModel):
    sample_size: _Count | Annotated[list[_Count], Field(min_length=1)]


class _VaeConfig(BaseModel):
    block_out_channels: Annotated[list[int], Field(min_length=1, max_length=16)]


def side_limits(model_folder: Path) -> SideLimits | None:
    """None where the folder does not say: what is wrong with it, loading it will."""
    try:
        unet = _UNetConfig.model_validate_json((model_folder / "unet/config.json").read_bytes())
        vae = _VaeConfig.model_validate_json((model_folder / "vae/config.json").read_bytes())
    except (OSError, ValidationError):
        return None
    sides = unet.sample_size if isinstance(unet.sample_size, list) else [unet.sample_size]
    return SideLimits.of(min(sides) << (len(vae.block_out_channels) - 1))
