"""ImageSource: where a command gets pictures from, this process or a service over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from imagegen.batch.rows import near
from imagegen.callers import Caller
from imagegen.engine.process import OnEvent
from imagegen.errors import UnknownBrand
from imagegen.generation import (
    GeneratedImage,
    Generation,
    GenerationRequest,
    ModelInfo,
    Scheduler,
)
from imagegen.presets import PresetCatalog
from imagegen.service import ImageService

# Until the model is loaded nobody knows its limits: what any model might make passes the check.
_ANY_MODEL = ModelInfo(
    name="any",
    sha256="",
    family="sd",
    native_px=512,
    min_px=8,
    max_px=8_192,
    schedulers=tuple(Scheduler),
    device="cpu",
    dtype="float32",
)


RequestCheck = Callable[[GenerationRequest], None]  # raises CallerError; renders nothing


def checks_of(catalog: PresetCatalog) -> RequestCheck:
    """Refuses what no model could make of these brands: unknown ones, banned terms, formats."""

    brands = {preset.id: preset for preset in catalog}

    def check(request: GenerationRequest) -> None:
        if request.brand not in brands:
            raise unknown_brand(request.brand, brands)
        brands[request.brand].resolve(request, _ANY_MODEL)

    return check


def steps_in(catalog: PresetCatalog) -> Callable[[str], int]:
    """The steps that a picture of a brand takes where nobody says how many."""

    brands = {preset.id: preset for preset in catalog}

    def steps(brand: str) -> int:
        if brand not in brands:
            raise unknown_brand(brand, brands)
        return brands[brand].to_public(None).defaults.num_inference_steps

    return steps


def unknown_brand(brand: str, known: Collection[str]) -> UnknownBrand:
    """Names the brands that resemble it, and all there are."""
    there = ", ".join(sorted(known)) or "none"
    return UnknownBrand(f"no brand {brand!r}{near(brand, known)}; there are {there}")


@dataclass(frozen=True)
class Delivery:
    """A generation and the bytes of its files, in the order of `generation.images`."""

    generation: Generation
    pictures: tuple[bytes, ...] = field(repr=False)


class ImageSource(Protocol):
    """Used from several threads at once."""

    def generate(
        self, request: GenerationRequest, key: str | None, wanted: Callable[[], bool]
    ) -> Delivery:
        """Pictures; once `wanted` says no they may be abandoned. Raises ImagegenError.

        key: asked again with the same one, whoever can remembers what he has made.
        """
        ...


class LocalImages:
    """Pictures rendered by this process's own engine."""

    def __init__(self, service: ImageService, on_event: OnEvent | None = None) -> None:
        """on_event: hears of every step, on the engine's thread."""
        self._service = service
        self._on_event = on_event

    def generate(
        self, request: GenerationRequest, key: str | None, wanted: Callable[[], bool]
    ) -> Delivery:
        """As ImageSource says; an engine in this process remembers nothing of an earlier one."""
        data: dict[GeneratedImage, bytes] = {}
        generation = self._service.generate(
            request,
            caller=Caller("command line"),
            wanted=wanted,
            on_image=data.__setitem__,
            on_event=self._on_event,
        )
        return Delivery(generation, tuple(data[image] for image in generation.images))
