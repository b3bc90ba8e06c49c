"""A generation as the studio shows it, from its place in the queue to its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from imagegen.generation import MAX_SEED, GeneratedImage, ModelInfo, OutputFormat
from imagegen.generations.records import GenerationRecord
from imagegen.library.marks import PictureMarks
from imagegen.presets import BrandPreset, PresetCatalog
from imagegen.presets.formats import built_in_formats
from imagegen.web.studio.texts import Texts
from imagegen.web.studio.told import failure_in_words
from imagegen.web.studio.views import GUESSED_PX, Shape, aspect

# How much of a picture another one that is made from it leaves behind.
_STRENGTHS = (("slight", "0.35"), ("medium", "0.55"), ("strong", "0.75"))


@dataclass(frozen=True)
class ResultView:
    """What the article of a generation draws."""

    record: GenerationRecord
    brands: PresetCatalog  # of whoever looks
    model: ModelInfo | None
    t: Texts
    position: int | None = None  # pictures before it, while it waits
    marks: tuple[PictureMarks, ...] = ()  # of each picture

    @property
    def is_open(self) -> bool:
        return self.record.is_open

    @property
    def has_pictures(self) -> bool:
        return self.record.status == "succeeded"

    @property
    def is_edit(self) -> bool:
        """Made of a picture that is not known any more: words alone do not repeat it."""
        return self.record.has_inputs

    @property
    def brand(self) -> str:
        """Its name."""
        preset = self._preset
        return self.record.request.brand if preset is None else preset.name

    @cached_property
    def size(self) -> tuple[int, int]:
        """What is expected of its pictures until they are there."""
        asked = self.record.request
        if asked.width and asked.height:
            return asked.width, asked.height
        if self._preset is None:
            return 1, 1
        view = self._preset.to_public(self.model)
        sizes = built_in_formats(GUESSED_PX if self.model is None else self.model.native_px)
        known = {**sizes, **{name: (one.width, one.height) for name, one in view.formats.items()}}
        own = (view.defaults.width or 1, view.defaults.height or 1)
        return known.get(asked.format or view.defaults.format or "", own)

    @property
    def aspect(self) -> str:
        return aspect(*self.size)

    @property
    def failure(self) -> str:
        """Why there are no pictures; "" where there is nothing to say."""
        if self.record.status == "cancelled":
            return self.t("result.cancelled")
        error = self.record.error
        if error is None:
            return ""
        return self.t("told.sentence", detail=failure_in_words(error.code, error.detail, self.t))

    @cached_property
    def settings(self) -> dict[str, str]:
        """The form that asks for it again, but for the seed and the number of pictures."""
        said = self.record.request.model_dump(mode="json", exclude_defaults=True)
        for name in ("seed", "num_images", "deadline_s", "overlay"):
            said.pop(name, None)
        overlay = self.record.request.overlay
        if overlay is not None:  # its fields are fields of the form
            said |= overlay.model_dump(exclude_none=True)
        return {name: _text(value) for name, value in said.items()}

    def without(self, *names: str) -> dict[str, str]:
        """The settings, but for those that a button says itself."""
        return {name: text for name, text in self.settings.items() if name not in names}

    def settings_of(self, image: GeneratedImage) -> dict[str, str]:
        """The form that asks for this picture again."""
        return {**self.settings, "seed": str(image.seed)}

    def start_from(self, index: int, image: GeneratedImage) -> dict[str, str]:
        """The form that makes others of this picture, to be changed before it is sent."""
        return {**self.settings_of(image), "from": f"{self.record.id}/{index}"}

    @property
    def next_seed(self) -> int:
        """Where the near ones begin: after those that are there."""
        asked = self.record.request
        return ((asked.seed or 0) + asked.num_images) % (MAX_SEED + 1)

    def others(self) -> list[BrandPreset]:
        """Brands with which the same may be asked for."""
        return [preset for preset in self.brands if preset.id != self.record.request.brand]

    def shapes(self) -> list[Shape]:
        """Formats in which the same may be asked for."""
        if self._preset is None:
            return []
        view = self._preset.to_public(self.model)
        sizes = built_in_formats(GUESSED_PX if self.model is None else self.model.native_px)
        sizes |= {name: (one.width, one.height) for name, one in view.formats.items()}
        own = self.record.request.format or view.defaults.format
        return [Shape(name, *size, True) for name, size in sizes.items() if name != own]

    def ranked(self) -> list[tuple[int, GeneratedImage]]:
        """Its pictures with their numbers, those first that are most the brand's."""
        numbered = list(enumerate(self.record.images))
        return sorted(numbered, key=lambda one: -one[1].score.total if one[1].score else 0.0)

    @property
    def strengths(self) -> tuple[tuple[str, str], ...]:
        """How far a picture like one of these may go from it: (its name, `strength`)."""
        return _STRENGTHS

    @property
    def file_types(self) -> list[tuple[str, str]]:
        """Files in which a picture can be had, the stored one first: (`as`, how it is called)."""
        own = self.record.request.output_format
        return [(one.value, one.value.upper()) for one in sorted(OutputFormat, key=own.__ne__)]

    @cached_property
    def _preset(self) -> BrandPreset | None:
        """None for a brand that is gone."""
        return next((one for one in self.brands if one.id == self.record.request.brand), None)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
