"""What is said about AUTOMATIC1111's routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagegen import errors
from imagegen.web.a1111.bodies import Img2ImgBody, OptionsBody, PngInfoBody, Txt2ImgBody
from imagegen.web.a1111.lists import FIXED
from imagegen.web.openapi.native import GENERATING
from imagegen.web.openapi.operation import A_BRAND, JSON, Answer, Operation, Operations, Parameter

_PLACES: Mapping[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "loc", "msg"],
        "properties": {
            "type": {"type": "string"},
            "loc": {"type": "array", "items": {"type": "string"}},
            "msg": {"type": "string"},
        },
    },
}
A1111_FAILURE: Mapping[str, Any] = {
    "type": "object",
    "required": ["error", "detail", "body", "errors"],
    "properties": {
        "error": {"type": "string", "description": "A code for programs."},
        "detail": {"anyOf": [{"type": "string"}, _PLACES]},
        "body": {"type": "string"},
        "errors": {"type": "string"},
    },
}
_PICTURES: Mapping[str, Any] = {
    "type": "object",
    "required": ["images", "parameters", "info"],
    "properties": {
        "images": {"type": "array", "items": {"type": "string"}, "description": "In Base64."},
        "parameters": {"type": "object", "description": "What was asked."},
        "info": {"type": "string", "description": "JSON: `all_seeds`, `infotexts` and others."},
    },
}
_PNG_INFO: Mapping[str, Any] = {
    "type": "object",
    "required": ["info", "items", "parameters"],
    "properties": {
        "info": {"type": "string", "description": "AUTOMATIC1111's text."},
        "items": {"type": "object", "description": "Other texts in the file."},
        "parameters": {"type": "object", "description": "`info`, taken apart."},
    },
}
_PROGRESS: Mapping[str, Any] = {
    "type": "object",
    "required": ["progress", "eta_relative", "state", "current_image", "textinfo"],
    "properties": {
        "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "eta_relative": {"type": "number", "description": "Seconds; 0 where nobody knows."},
        "state": {"type": "object"},
        "current_image": {"type": ["string", "null"], "description": "A small PNG in Base64."},
        "textinfo": {"type": "null"},
    },
}
_READ_FAILURES = (
    errors.MalformedJson,
    errors.InvalidRequest,
    errors.BodyTooLarge,
    errors.UnsupportedMediaType,
)


def _items(*names: str) -> Mapping[str, Any]:
    """A list of objects with at least these keys."""
    return {"type": "array", "items": {"type": "object", "required": list(names)}}


def _list(summary: str, schema: Mapping[str, Any]) -> Operation:
    return Operation(
        tag="AUTOMATIC1111", summary=summary, answers={200: Answer("The list", {JSON: schema})}
    )


def _empty(value: object) -> Operation:
    return _list("Empty: nothing to choose", {"const": value})


A1111_OPERATIONS: Operations = {
    ("POST", "/sdapi/v1/txt2img"): Operation(
        tag="AUTOMATIC1111",
        summary="Make pictures",
        description="Fields that nobody knows are ignored; what would be another picture than "
        "the one asked for is refused.",
        body={JSON: Txt2ImgBody},
        example={"prompt": "a red mug", "styles": [A_BRAND], "seed": 7},
        answers={200: Answer("The pictures", {JSON: _PICTURES})},
        failures=GENERATING,
    ),
    ("POST", "/sdapi/v1/img2img"): Operation(
        tag="AUTOMATIC1111",
        summary="Make pictures of a picture",
        description="As txt2img. With a mask only a part is repainted.",
        body={JSON: Img2ImgBody},
        answers={200: Answer("The pictures", {JSON: _PICTURES})},
        failures=GENERATING,
    ),
    ("POST", "/sdapi/v1/png-info"): Operation(
        tag="AUTOMATIC1111",
        summary="What a picture's file says of itself",
        body={JSON: PngInfoBody},
        answers={200: Answer("Empty where it says nothing", {JSON: _PNG_INFO})},
        failures=(*_READ_FAILURES, errors.QueueFull),
    ),
    ("GET", "/sdapi/v1/progress"): Operation(
        tag="AUTOMATIC1111",
        summary="How far your own work is",
        parameters=(
            Parameter(
                "skip_current_image", "query", "true: no look at the picture", {"type": "boolean"}
            ),
        ),
        answers={200: Answer("It may be nothing", {JSON: _PROGRESS})},
        failures=(errors.InvalidRequest,),
    ),
    ("POST", "/sdapi/v1/interrupt"): Operation(
        tag="AUTOMATIC1111",
        summary="Stop your own work, within one step",
        answers={200: Answer("Also where there is none", {JSON: {"type": "object"}})},
    ),
    ("GET", "/sdapi/v1/samplers"): _list("Samplers", _items("name", "aliases", "options")),
    ("GET", "/sdapi/v1/schedulers"): _list("Schedule types", _items("name", "label")),
    ("GET", "/sdapi/v1/prompt-styles"): _list("The brands, as styles", _items("name", "prompt")),
    ("GET", "/sdapi/v1/sd-models"): _list("The brands, as models", _items("title", "model_name")),
    ("GET", "/sdapi/v1/options"): _list(
        "What holds where a request says nothing", {"type": "object"}
    ),
    ("POST", "/sdapi/v1/options"): Operation(
        tag="AUTOMATIC1111",
        summary="Settings are not kept: say what holds already, or get 422",
        body={JSON: OptionsBody},
        example={"samples_format": "png"},
        answers={200: Answer("It holds", {JSON: {"type": "null"}})},
        failures=_READ_FAILURES,
    ),
    **{
        ("POST", f"/sdapi/v1/{name}"): Operation(
            tag="AUTOMATIC1111",
            summary="Nothing to do: what is listed is what there is",
            answers={200: Answer("Done", {JSON: {"type": "null"}})},
        )
        for name in ("refresh-checkpoints", "refresh-loras")
    },
    **{("GET", f"/sdapi/v1/{name}"): _empty(value) for name, value in FIXED.items()},
}
