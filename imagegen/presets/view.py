"""A brand as callers may see it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from imagegen.generation import Scheduler
from imagegen.presets.schema import Size


class DefaultsView(BaseModel):
    """What a request gets where it says nothing; None only while no model is loaded."""

    model_config = ConfigDict(frozen=True)

    format: str | None  # None too where the brand says width and height
    width: int | None
    height: int | None
    num_inference_steps: int
    guidance_scale: float
    scheduler: Scheduler | None
    adapter_scale: float


class BrandView(BaseModel):
    """An item of `GET /brands`, but for its cover's URL: no template, banned terms or files."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    description: str
    has_cover: bool
    palette: tuple[str, ...]
    formats: dict[str, Size]
    defaults: DefaultsView
    examples: tuple[str, ...]
    has_logo: bool
    preset_version: str
