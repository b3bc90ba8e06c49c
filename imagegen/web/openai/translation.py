"""OpenAI's words <-> ours. Pure: no request, no service."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from imagegen.edits import SentPicture
from imagegen.generation import GeneratedImage, Generation, GenerationRequest, ModelInfo
from imagegen.parsing import parse_fields
from imagegen.presets import BrandPreset, PresetCatalog
from imagegen.web.openai.answers import (
    ImageItem,
    ImagesAnswer,
    InputTokens,
    ModelItem,
    ModelList,
    OutputTokens,
    TokenUsage,
)
from imagegen.web.openai.bodies import FAITHFUL_STRENGTH, EditsBody, ImagesBody, Quality

MAX_STEPS = 100
DrawnQuality = Literal["low", "medium", "high", "xhigh", "max"]
_PIXELS = re.compile(r"([0-9]+)x([0-9]+)")
_PIECE = re.compile(r"\w+|[^\w\s]")
_SAME_NAMES = ("prompt", "negative_prompt", "guidance_scale", "scheduler", "seed", "campaign")
_DRAWN_AS: Mapping[Quality, DrawnQuality] = {
    "low": "low",
    "medium": "medium",
    "standard": "medium",
    "auto": "medium",
    "high": "high",
    "hd": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_STEPS_FACTOR: Mapping[DrawnQuality, float] = {
    "low": 0.5,
    "medium": 1.0,
    "high": 2.0,
    "xhigh": 3.0,
    "max": 4.0,
}


def to_request(asked: ImagesBody, preset: BrandPreset) -> GenerationRequest:
    """The request that `asked` means for the brand it names.

    Raises InvalidRequest, in our fields' names.
    """
    return request_of(asked, _usual_steps(preset))


def request_of(asked: ImagesBody, usual_steps: int) -> GenerationRequest:
    """The same for who knows of the brand no more than how many steps it usually takes."""
    return parse_fields(_said(asked, usual_steps))


def to_edit(
    asked: EditsBody, preset: BrandPreset, image: SentPicture, mask: SentPicture | None
) -> GenerationRequest:
    """The same for an edit. mask: in our way, white where the picture is repainted."""
    said = {"init_image": image, "mask": mask, "strength": _strength(asked, mask)}
    return parse_fields(
        _said(asked, _usual_steps(preset)) | {k: v for k, v in said.items() if v is not None}
    )


def to_response(
    asked: ImagesBody, generation: Generation, files: Sequence[bytes] | None
) -> ImagesAnswer:
    """The answer about a finished generation.

    files: its pictures, in order; None where links were asked for.
    """
    images = generation.images
    sent = [None] * len(images) if files is None else files
    return ImagesAnswer(
        created=int(generation.created_at.timestamp()),
        id=generation.id,
        data=[_item(image, data) for image, data in zip(images, sent, strict=True)],
        output_format=asked.output_format or "png",
        quality=drawn_quality(asked),
        size=size_of(images),
        usage=usage_of(asked, generation.usage.steps),
        warnings=list(generation.warnings),
    )


def to_models(catalog: PresetCatalog) -> ModelList:
    """Every brand of the catalogue as a model."""
    return ModelList(data=[to_model(preset) for preset in catalog])


def to_model(preset: BrandPreset) -> ModelItem:
    """One brand as a model."""
    return ModelItem(id=preset.id)


def wants_links(asked: ImagesBody) -> bool:
    """Whether the answer has links in place of files."""
    return asked.response_format == "url"


def drawn_quality(asked: ImagesBody) -> DrawnQuality:
    """How `quality` was understood."""
    return _DRAWN_AS[asked.quality or "auto"]


def size_of(images: Sequence[GeneratedImage]) -> str:
    """WIDTHxHEIGHT; all pictures of a generation share it."""
    return f"{images[0].width}x{images[0].height}"


def usage_of(asked: ImagesBody, steps: int) -> TokenUsage:
    """What is counted in place of tokens. steps: of all pictures together."""
    words = len(_PIECE.findall(asked.prompt))
    return TokenUsage(
        input_tokens=words,
        output_tokens=steps,
        total_tokens=words + steps,
        input_tokens_details=InputTokens(text_tokens=words),
        output_tokens_details=OutputTokens(image_tokens=steps),
    )


def drawable_sizes(preset: BrandPreset, model: ModelInfo | None) -> str:
    """A sentence that says which sizes a brand has. model: None while it is not known."""
    view = preset.to_public(model)
    names = ", ".join(f"{name} ({size.width}x{size.height})" for name, size in view.formats.items())
    sides = "" if model is None else f" with sides of {model.min_px} to {model.max_px}"
    known = f", or one of {names}" if names else ""
    return f"Say auto, or WIDTHxHEIGHT in multiples of 8{sides}{known}"


def _said(asked: ImagesBody, usual_steps: int) -> dict[str, Any]:
    said = {name: getattr(asked, name) for name in _SAME_NAMES}
    said |= {
        "brand": asked.model,
        "num_images": asked.n,
        "num_inference_steps": _steps(asked, usual_steps),
        "output_format": asked.output_format,
        "output_quality": _quality(asked),
        **_size(asked.size),
    }
    return {name: value for name, value in said.items() if value is not None}


def _size(size: str | None) -> dict[str, Any]:
    if size is None or size == "auto":
        return {}
    pixels = _PIXELS.fullmatch(size)
    if pixels is None:
        return {"format": size}
    return {"width": int(pixels[1]), "height": int(pixels[2])}


def _usual_steps(preset: BrandPreset) -> int:
    return preset.to_public(None).defaults.num_inference_steps


def _steps(asked: ImagesBody, usual_steps: int) -> int | None:
    factor = _STEPS_FACTOR[drawn_quality(asked)]
    if asked.num_inference_steps is not None or factor == 1:
        return asked.num_inference_steps
    return min(MAX_STEPS, max(1, round(usual_steps * factor)))


def _strength(asked: EditsBody, mask: SentPicture | None) -> float | None:
    if asked.strength is not None:
        return asked.strength
    if mask is not None:
        return 1.0  # what is transparent is painted anew
    return FAITHFUL_STRENGTH if asked.input_fidelity == "high" else None


def _quality(asked: ImagesBody) -> int | None:
    """0 is the strongest compression there is, which the encoders call 1."""
    return None if asked.output_compression is None else max(1, asked.output_compression)


def _item(image: GeneratedImage, data: bytes | None) -> ImageItem:
    if data is None:
        return ImageItem(url=image.url, seed=image.seed)
    return ImageItem(b64_json=base64.b64encode(data).decode(), seed=image.seed)
