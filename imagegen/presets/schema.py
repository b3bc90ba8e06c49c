"""The schema of a brand's preset.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    model_validator,
)

from imagegen.generation import Scheduler, Side
from imagegen.presets.banned_terms import find_banned, fold, has_adapter_tag
from imagegen.presets.entries import (
    COVER_ENDINGS,
    FORMAT_PATTERN,
    Colour,
    Entry,
    FormatName,
    inside,
)
from imagegen.presets.formats import BUILT_IN_NAMES
from imagegen.presets.kit import KitEntry
from imagegen.texts import Text


def _said(text: str) -> str:
    if not text:
        raise ValueError("must say something")
    return text


def _safetensors(name: str) -> str:
    if not name.endswith(".safetensors"):
        raise ValueError(f"{name!r} is not a .safetensors file; others can run code when opened")
    return name


def _picture(name: str) -> str:
    if not name.lower().endswith(COVER_ENDINGS):
        raise ValueError(f"{name!r} is not a picture; covers end with {', '.join(COVER_ENDINGS)}")
    return name


def _without_tags(text: str) -> str:
    if has_adapter_tag(text):
        raise ValueError("LoRA tags are not read; name the file under adapters")
    return text


def _one_place(template: str) -> str:
    places = re.findall(r"\{\w*\}", template)
    if places != ["{prompt}"]:
        raise ValueError(f"{template!r} must hold {{prompt}} exactly once, and no other {{…}}")
    return template


def _word(term: str) -> str:
    if not fold(term):
        raise ValueError(f"{term!r} holds no letter or digit")
    return term


class AdapterEntry(Entry):
    """One LoRA of the brand: a safetensors file in its folder."""

    file: Annotated[str, AfterValidator(inside), AfterValidator(_safetensors)]
    weight: float = Field(default=1.0, ge=-4, le=4, allow_inf_nan=False)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class PromptEntry(Entry):
    """The words around a caller's prompt."""

    template: Annotated[Text, AfterValidator(_one_place), AfterValidator(_without_tags)] = (
        "{prompt}"
    )
    negative: Annotated[Text, AfterValidator(_without_tags)] = ""


class Size(Entry):
    """A picture's sides in pixels."""

    width: Side
    height: Side


class BrandDefaults(Entry):
    """What the brand decides where a request says nothing; fields and bounds are the request's."""

    format: str | None = Field(default=None, pattern=FORMAT_PATTERN)
    width: Side | None = None
    height: Side | None = None
    num_inference_steps: int | None = Field(default=None, ge=1, le=100)
    guidance_scale: float | None = Field(default=None, ge=0, le=30, allow_inf_nan=False)
    scheduler: Annotated[Scheduler, Field(strict=False)] | None = None
    adapter_scale: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_way_to_say_the_size(self) -> Self:
        if self.format is not None and (self.width is not None or self.height is not None):
            raise ValueError("say either format or width and height, not both")
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height go together")
        return self


Term = Annotated[Text, StringConstraints(max_length=100), AfterValidator(_word)]
Example = Annotated[Text, AfterValidator(_said), AfterValidator(_without_tags)]


class PresetFile(Entry):
    """The content of preset.yaml."""

    name: Annotated[Text, StringConstraints(max_length=80), AfterValidator(_said)]
    description: Annotated[Text, StringConstraints(max_length=500)] = ""
    adapters: list[AdapterEntry] = Field(default=[], max_length=8)
    prompt: PromptEntry = PromptEntry()
    banned_terms: list[Term] = Field(default=[], max_length=1_000)
    defaults: BrandDefaults = BrandDefaults()
    formats: dict[FormatName, Size] = Field(default={}, max_length=32)
    palette: list[Colour] = Field(default=[], max_length=24)
    examples: list[Example] = Field(default=[], max_length=24)
    cover: Annotated[str, AfterValidator(inside), AfterValidator(_picture)] | None = None
    kit: KitEntry | None = None

    def contradictions(self) -> list[tuple[tuple[str | int, ...], str]]:
        """Places that are right by themselves but do not go together, and why."""
        found: list[tuple[tuple[str | int, ...], str]] = []
        known = sorted({*self.formats, *BUILT_IN_NAMES})
        if self.defaults.format is not None and self.defaults.format not in known:
            name = self.defaults.format
            found.append(
                (("defaults", "format"), f"no format {name!r}; there are {', '.join(known)}")
            )
        files = [adapter.file for adapter in self.adapters]
        for index, file in enumerate(files):
            if file in files[:index]:
                found.append((("adapters", index, "file"), f"{file!r} is named twice"))
        for index, example in enumerate(self.examples):
            if banned := find_banned(example, self.banned_terms):
                found.append((("examples", index), f"holds the banned term {banned[0]!r}"))
        if self.kit is not None:
            found += self.kit.contradictions(known)
        return found
