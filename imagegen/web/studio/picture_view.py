"""PictureView: a picture's whole recipe, as its page shows it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops, ImageStat

from imagegen.errors import UnknownBrand
from imagegen.generation import GeneratedImage, GenerationRequest, ModelInfo, OutputFormat
from imagegen.generations.records import GenerationRecord
from imagegen.presets import BrandPreset, PresetCatalog
from imagegen.provenance import read_record

_FORMATS = ("PNG", "JPEG", "WEBP")
_SHORT = 19  # of `sha256:…`: as much as tells versions apart
_LINK = ("brand", "prompt", "negative_prompt", "format", "num_inference_steps", "guidance_scale",
         "scheduler", "adapter_scale", "output_format", "output_quality", "campaign")  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """A row of the recipe: `label` is a text's key."""

    label: str
    value: str
    is_code: bool = False


@dataclass(frozen=True)
class PictureView:
    """A picture and how it was made; what its file says of itself counts first."""

    record: GenerationRecord
    index: int
    image: GeneratedImage
    brand: str  # its name, or its id where it is gone
    facts: tuple[Fact, ...]
    costs: tuple[Fact, ...]
    changes: tuple[str, ...]  # texts' keys: why rendering it again may give another picture
    can_repeat: bool
    create: dict[str, str]  # fields that Create opens with, for the same prompt

    @classmethod
    def of(
        cls,
        record: GenerationRecord,
        index: int,
        data: bytes,
        catalog: PresetCatalog,
        model: ModelInfo | None,
    ) -> PictureView:
        said = read_record(data) or {}
        preset = _preset(record, catalog)
        is_edit = record.has_inputs or "init_image" in said
        return cls(
            record=record,
            index=index,
            image=record.images[index],
            brand=record.request.brand if preset is None else preset.name,
            facts=tuple(_facts(record, index, said)),
            costs=tuple(_costs(record)),
            changes=tuple(_changes(record, said, preset, model, is_edit=is_edit)),
            can_repeat=preset is not None and not is_edit,
            create=_create(record.request, record.images[index].seed),
        )

    @property
    def file_types(self) -> list[tuple[str, str]]:
        """Files in which it can be had, the stored one first: (`as`, how it is called)."""
        own = self.image.output_format
        return [(one.value, one.value.upper()) for one in sorted(OutputFormat, key=own.__ne__)]


def again(record: GenerationRecord, index: int) -> GenerationRequest:
    """The request that gives picture `index` once more, alone."""
    seed = record.images[index].seed
    same = {"seed": seed, "num_images": 1, "exact": True, "deadline_s": None}
    return record.request.model_copy(update=same)


def largest_difference(one: bytes, other: bytes) -> int:
    """Between what two picture files show: of one colour of one pixel, 0 (none) to 255.

    255 too where their sizes differ.
    """
    with (
        Image.open(io.BytesIO(one), formats=_FORMATS) as first,
        Image.open(io.BytesIO(other), formats=_FORMATS) as second,
    ):
        if first.size != second.size:
            return 255
        apart = ImageChops.difference(first.convert("RGB"), second.convert("RGB"))
        return max(most for _, most in ImageStat.Stat(apart).extrema)


def _preset(record: GenerationRecord, catalog: PresetCatalog) -> BrandPreset | None:
    try:
        return catalog.get(record.request.brand)
    except UnknownBrand:
        return None


def _facts(record: GenerationRecord, index: int, said: dict[str, Any]) -> list[Fact]:
    image, model = record.images[index], said.get("model", {})
    adapters = ", ".join(f"{one['file']} × {one['weight']:g}" for one in said.get("adapters", []))
    versions = ", ".join(f"{name} {value}" for name, value in said.get("versions", {}).items())
    model_name = " · ".join(
        str(model[name]) for name in ("name", "device", "dtype") if model.get(name)
    )
    rows = [
        Fact("picture.full_prompt", said.get("prompt", record.request.prompt)),
        Fact("picture.negative_prompt", said.get("negative_prompt", "")),
        Fact("picture.format", record.request.format or ""),
        Fact("picture.size", f"{image.width} × {image.height}"),
        Fact("picture.seed", str(image.seed)),
        Fact("picture.steps", _text(said.get("num_inference_steps"))),
        Fact("picture.guidance", _text(said.get("guidance_scale"))),
        Fact("picture.scheduler", _text(said.get("scheduler"))),
        Fact("picture.adapters", adapters),
        Fact("picture.strength", _text(said.get("strength"))),
        *_overlay(record.request),
        Fact("picture.model", model_name or record.model),
        Fact("picture.model_version", model.get("sha256", "")[:_SHORT], is_code=True),
        Fact("picture.preset_version", record.preset_version[:_SHORT], is_code=True),
        Fact("picture.programs", versions),
        Fact("picture.file", f"{image.content_type} · {image.size_bytes:,} bytes"),
        Fact("picture.digest", image.sha256[:_SHORT], is_code=True),
        Fact("picture.generation", record.id, is_code=True),
    ]
    return [row for row in rows if row.value]


def _overlay(request: GenerationRequest) -> list[Fact]:
    """What was laid on it."""
    overlay = request.overlay
    if overlay is None:
        return []
    return [
        Fact("picture.logo", "✓" if overlay.logo else ""),
        Fact("picture.headline", overlay.headline or ""),
        Fact("picture.legal", overlay.legal or ""),
    ]


def _costs(record: GenerationRecord) -> list[Fact]:
    timings, usage = record.timings, record.usage
    return [
        Fact("picture.queue_s", f"{timings.queue_s:.2f} s"),
        Fact("picture.render_s", f"{timings.render_s:.2f} s"),
        Fact("picture.total_s", f"{timings.total_s:.2f} s"),
        Fact("picture.gpu_s", f"{usage.gpu_s:.2f} s"),
        Fact("picture.cost", f"${usage.estimated_cost_usd:.4f}"),
    ]


def _changes(
    record: GenerationRecord,
    said: dict[str, Any],
    preset: BrandPreset | None,
    model: ModelInfo | None,
    *,
    is_edit: bool,
) -> list[str]:
    """The model is compared by its weights, where both are known."""
    if is_edit:
        return ["picture.was_edit"]
    if preset is None:
        return ["picture.brand_gone"]
    changes = []
    if preset.version != record.preset_version:
        changes.append("picture.preset_changed")
    weights = said.get("model", {}).get("sha256")
    if model is not None and weights is not None and model.sha256 != weights:
        changes.append("picture.model_changed")
    if not said.get("exact", record.request.exact):
        changes.append("picture.not_exact")
    return changes


def _create(request: GenerationRequest, seed: int) -> dict[str, str]:
    fields = request.model_dump(mode="json", include=set(_LINK), exclude_defaults=True)
    return {name: str(value) for name, value in fields.items()} | {"seed": str(seed)}


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
