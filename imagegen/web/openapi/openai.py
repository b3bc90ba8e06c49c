"""What is said about OpenAI's routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

from imagegen import errors
from imagegen.web.openai.answers import (
    CompletedEvent,
    ErrorAnswer,
    ImagesAnswer,
    ModelItem,
    ModelList,
    PartialImageEvent,
)
from imagegen.web.openai.bodies import EditsBody, EditsJson, GenerationsBody
from imagegen.web.openapi.native import GENERATING, IDEMPOTENCY_KEY
from imagegen.web.openapi.operation import (
    A_BRAND,
    EVENT_STREAM,
    FILE,
    JSON,
    Answer,
    Events,
    Operation,
    Operations,
    Parameter,
    Schema,
    answer,
)

_File = Annotated[Any, WithJsonSchema(dict(FILE))]
_GREY_PICTURE = (  # 64 x 64 pixels
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAK0lEQVR42u3MMREAAAgEoNf8hjaEmwcBqMlNRyAQCAQCgUAgEAgEAsHzYAEDdwEM/fyoogAAAABJRU5ErkJggg=="
)


class EditsForm(EditsBody):
    """The form of POST /v1/images/edits."""

    image: _File = Field(description="The picture to edit: one PNG, JPEG or WebP file.")
    mask: _File | None = Field(
        default=None,
        description="A picture of the same size: where it is transparent the other is repainted.",
    )


def _answers(kind: str) -> Mapping[int, Answer]:
    """In JSON, or with `stream` in events."""
    events: Mapping[str, type[BaseModel]] = {
        f"{kind}.partial_image": PartialImageEvent,
        f"{kind}.completed": CompletedEvent,
        "error": ErrorAnswer,
    }
    content: Mapping[str, Schema] = {JSON: ImagesAnswer, EVENT_STREAM: Events(events)}
    return {200: Answer("The pictures, or links to them", content)}


OPENAI_OPERATIONS: Operations = {
    ("POST", "/v1/images/generations"): Operation(
        tag="OpenAI",
        summary="Make pictures",
        parameters=(IDEMPOTENCY_KEY,),
        body={JSON: GenerationsBody},
        example={"model": A_BRAND, "prompt": "a red mug", "size": "auto", "quality": "low"},
        answers=_answers("image_generation"),
        failures=(*GENERATING, errors.IdempotencyConflict),
    ),
    ("POST", "/v1/images/edits"): Operation(
        tag="OpenAI",
        summary="Make pictures of a picture",
        description="The picture and a mask come as files of a form, or in JSON as Base64 or data "
        "URLs; nothing is ever fetched.",
        parameters=(IDEMPOTENCY_KEY,),
        body={JSON: EditsJson, "multipart/form-data": EditsForm},
        example={
            "model": A_BRAND,
            "prompt": "a red mug",
            "image": _GREY_PICTURE,
            "strength": 0.8,
        },
        answers=_answers("image_edit"),
        failures=(*GENERATING, errors.IdempotencyConflict),
    ),
    ("GET", "/v1/models"): Operation(
        tag="OpenAI",
        summary="The brands, as models",
        answers=answer("All you may use", ModelList),
    ),
    ("GET", "/v1/models/<model>"): Operation(
        tag="OpenAI",
        summary="A brand, as a model",
        parameters=(Parameter("model", "path", "A brand's id."),),
        answers=answer("The brand", ModelItem),
        failures=(errors.UnknownBrand,),
    ),
}
