"""A brand: what it adds to a request, so that everything a picture needs is decided at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from imagegen.branding.finish import Finish, Wanted
from imagegen.branding.kit import BrandKit
from imagegen.edits import DEFAULT_STRENGTH, Edit, edit_of, fitted_size, steps_done
from imagegen.errors import BannedTerm, FieldError, InvalidRequest
from imagegen.generation import (
    MAX_SEED,
    AdapterUse,
    GenerationRequest,
    ModelInfo,
    RenderSpec,
    Scheduler,
)
from imagegen.presets.banned_terms import find_banned, has_adapter_tag
from imagegen.presets.formats import BUILT_IN_NAMES, built_in_formats
from imagegen.presets.schema import BrandDefaults, Size
from imagegen.presets.view import BrandView, DefaultsView

DEFAULT_STEPS = 20
DEFAULT_GUIDANCE = 5.0
DEFAULT_SCHEDULER = Scheduler.DPMPP_2M_KARRAS
DEFAULT_FORMAT = "square"

T = TypeVar("T")


@dataclass(frozen=True)
class BrandPreset:
    """One brand: its words, adapters, sizes and defaults. Made by PresetCatalog, never changed."""

    id: str
    name: str
    description: str
    version: str  # "sha256:…"
    adapters: tuple[AdapterUse, ...]
    template: str  # holds {prompt} once
    negative_prompt: str
    banned_terms: tuple[str, ...]
    defaults: BrandDefaults
    formats: Mapping[str, tuple[int, int]]  # the brand's own: width, height in pixels
    palette: tuple[str, ...]  # "#rrggbb"
    examples: tuple[str, ...]  # prompts that show the brand well
    cover: Path | None
    kit: BrandKit

    def resolve(self, request: GenerationRequest, model: ModelInfo) -> list[RenderSpec]:
        """One spec per picture: the request's word, else the brand's, else the model's.

        Raises InvalidRequest with every field at fault, BannedTerm for words the brand refuses.
        """
        faults: list[FieldError] = []
        width, height = self._size(request, model, faults)
        said = self.defaults
        scheduler = _first(request.scheduler, said.scheduler, _scheduler_of(model))
        if scheduler not in model.schedulers:
            allowed = ", ".join(model.schedulers)
            faults.append(FieldError("scheduler", f"{scheduler} is not one of {allowed}"))
        steps = _first(request.num_inference_steps, said.num_inference_steps, DEFAULT_STEPS)
        if request.init_image is not None and not steps_done(steps, _strength(request)):
            faults.append(
                FieldError("strength", f"{_strength(request):g} of {steps} steps is not even one")
            )
        self._refuse(request, faults)
        seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
        first = RenderSpec(
            brand=self.id,
            prompt=self.template.replace("{prompt}", request.prompt),
            negative_prompt=_first(request.negative_prompt, self.negative_prompt),
            width=width,
            height=height,
            num_inference_steps=steps,
            guidance_scale=_first(request.guidance_scale, said.guidance_scale, DEFAULT_GUIDANCE),
            scheduler=scheduler,
            seed=seed,
            adapters=self._adapters(_first(request.adapter_scale, said.adapter_scale, 1.0)),
            exact=request.exact,
            edit=_edit(request, width, height),
        )
        return [
            replace(first, seed=(seed + index) % (MAX_SEED + 1))
            for index in range(request.num_images)
        ]

    def finish(self, request: GenerationRequest, spec: RenderSpec) -> Finish:
        """What becomes of the request's pictures once they are rendered; `spec` is one of them.

        Raises InvalidRequest for words that cannot be laid on a picture of that size.
        """
        own = request.width is None and request.init_image is None
        format_ = request.format or (self.defaults.format if own else None)
        wanted = Wanted(request.overlay, request.score, format_)
        return Finish(self.name, self.kit, self.palette, wanted, (spec.width, spec.height))

    def refuse_words(self, request: GenerationRequest) -> None:
        """What `resolve` refuses whatever the model. Raises InvalidRequest and BannedTerm."""
        known, faults = {*BUILT_IN_NAMES, *self.formats}, list[FieldError]()
        if request.width is None and request.format is not None and request.format not in known:
            faults.append(_no_format(request.format, known))
        self._refuse(request, faults)

    def formats_for(self, model: ModelInfo) -> dict[str, tuple[int, int]]:
        """What a request may name: the brand's formats over the built-in ones, within limits."""
        formats = self._all_formats(model)
        return {name: size for name, size in formats.items() if not _beyond(size, model)}

    def to_public(self, model: ModelInfo | None) -> BrandView:
        """The brand for `GET /brands`; before a model is loaded with its own formats only."""
        formats = dict(self.formats) if model is None else self.formats_for(model)
        return BrandView(
            id=self.id,
            name=self.name,
            description=self.description,
            has_cover=self.cover is not None,
            palette=self.palette,
            formats={name: Size(width=w, height=h) for name, (w, h) in formats.items()},
            defaults=self._public_defaults(
                formats, None if model is None else _scheduler_of(model)
            ),
            examples=self.examples,
            has_logo=self.kit.logo is not None,
            preset_version=self.version,
        )

    def _public_defaults(
        self, formats: Mapping[str, tuple[int, int]], scheduler: Scheduler | None
    ) -> DefaultsView:
        said = self.defaults
        format_ = None if said.width is not None else _first(said.format, DEFAULT_FORMAT)
        size = (said.width, said.height) if format_ is None else formats.get(format_)
        return DefaultsView(
            format=format_,
            width=None if size is None else size[0],
            height=None if size is None else size[1],
            num_inference_steps=_first(said.num_inference_steps, DEFAULT_STEPS),
            guidance_scale=_first(said.guidance_scale, DEFAULT_GUIDANCE),
            scheduler=said.scheduler or scheduler,
            adapter_scale=_first(said.adapter_scale, 1.0),
        )

    def _all_formats(self, model: ModelInfo) -> dict[str, tuple[int, int]]:
        return built_in_formats(model.native_px) | dict(self.formats)

    def _size(
        self, request: GenerationRequest, model: ModelInfo, faults: list[FieldError]
    ) -> tuple[int, int]:
        if request.width is not None and request.height is not None:
            sides = {"width": request.width, "height": request.height}
            faults.extend(
                FieldError(field, f"must be {model.min_px} to {model.max_px} for this model")
                for field, side in sides.items()
                if not model.min_px <= side <= model.max_px
            )
            return request.width, request.height
        if request.format is None and request.init_image is not None:
            try:
                return fitted_size(request.init_image, model.min_px, model.max_px)
            except ValueError as error:
                faults.append(FieldError("init_image", str(error)))
                return model.native_px, model.native_px
        return self._named_size(request, model, faults)

    def _named_size(
        self, request: GenerationRequest, model: ModelInfo, faults: list[FieldError]
    ) -> tuple[int, int]:
        """A format's size, or the brand's own."""
        said = self.defaults
        if request.format is None and said.width is not None and said.height is not None:
            name, size = "the brand's own size", (said.width, said.height)
        else:
            name = _first(request.format, said.format, DEFAULT_FORMAT)
            known = self._all_formats(model)
            if name not in known:
                faults.append(_no_format(name, known))
                return model.native_px, model.native_px
            size = known[name]
        if _beyond(size, model):
            limits = f"{model.min_px} to {model.max_px} pixels a side"
            message = f"{name} is {size[0]}×{size[1]}, and this model draws {limits}"
            faults.append(FieldError("format", message))
        return size

    def _refuse(self, request: GenerationRequest, faults: list[FieldError]) -> None:
        """Raises what is wrong with the words, together with the faults already found."""
        words = {"prompt": request.prompt, "negative_prompt": request.negative_prompt or ""}
        faults.extend(
            FieldError(field, "LoRA tags are not taken; the brand brings its own adapters")
            for field, text in words.items()
            if has_adapter_tag(text)
        )
        banned = [
            FieldError("prompt", f"{self.name} does not allow {term!r}")
            for term in find_banned(request.prompt, self.banned_terms)
        ]
        if faults:
            raise InvalidRequest(*faults, *banned)
        if banned:
            raise BannedTerm(*banned)

    def _adapters(self, adapter_scale: float) -> tuple[AdapterUse, ...]:
        scaled = (replace(use, weight=use.weight * adapter_scale) for use in self.adapters)
        return tuple(use for use in scaled if use.weight != 0)


def _beyond(size: tuple[int, int], model: ModelInfo) -> bool:
    return min(size) < model.min_px or max(size) > model.max_px


def _scheduler_of(model: ModelInfo) -> Scheduler:
    return DEFAULT_SCHEDULER if DEFAULT_SCHEDULER in model.schedulers else model.schedulers[0]


def _strength(request: GenerationRequest) -> float:
    return _first(request.strength, DEFAULT_STRENGTH)


def _edit(request: GenerationRequest, width: int, height: int) -> Edit | None:
    """Decodes the pictures, once all else is found to be right. Raises InvalidRequest."""
    if request.init_image is None:
        return None
    return edit_of(request.init_image, request.mask, _strength(request), width, height)


def _first(*choices: T | None) -> T:
    """The first choice somebody made: None means "not said", zero is a value."""
    return next(choice for choice in choices if choice is not None)


def _no_format(name: str, known: Iterable[str]) -> FieldError:
    return FieldError("format", f"no format {name!r}; there are {', '.join(sorted(known))}")
