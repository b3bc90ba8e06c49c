"""Answers that no other class describes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from imagegen.generation import OutputFormat, Scheduler
from imagegen.presets.schema import Size
from imagegen.presets.view import DefaultsView


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FieldFault(_Shape):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(_Shape):
    """RFC 9457: `code` is for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldFault] = Field(default=[], description="For 422: one a field.")


class Brand(_Shape):
    """A brand, without what is its own affair: its template, banned terms and files."""

    id: str
    name: str
    description: str
    cover_url: str | None
    palette: list[str]
    formats: dict[str, Size]
    defaults: DefaultsView
    examples: list[str]
    has_logo: bool = Field(description="Whether `overlay` has a logo to lay on.")
    preset_version: str


class RefusedBrand(_Shape):
    """Why something newer is not used; `brand` is null for all of a version."""

    brand: str | None
    reason: str


class Brands(_Shape):
    """Those that the caller may use."""

    brands: list[Brand]
    refused: list[RefusedBrand]


class Model(_Shape):
    """The model that draws."""

    name: str
    sha256: str
    family: str
    native_px: int
    min_px: int
    max_px: int
    schedulers: list[Scheduler]
    device: str
    dtype: str


class Capabilities(_Shape):
    """What may be asked; null where it depends on a model that is not loaded."""

    model: Model | None
    brands: list[str]
    formats: dict[str, Size] | None
    schedulers: list[Scheduler] | None
    output_formats: list[OutputFormat]
    request: dict[str, Any] = Field(description="The JSON Schema of a request.")


class State(_Shape):
    """How far this instance is."""

    phase: str
    eta_s: float | None
    queued: int
    running: int
    start_s: dict[str, float] = Field(description="Seconds of each phase of the start.")
    error: str = Field(default="", description="There only if the model cannot be used.")


class Alive(_Shape):
    """That it lives."""

    status: Literal["alive"]
