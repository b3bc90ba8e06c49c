"""What is said about what people think of pictures."""

from __future__ import annotations

from imagegen import errors
from imagegen.library.marks import GenerationMarks, Marking, PictureMarks
from imagegen.web.openapi.operation import JSON, Operation, Operations, Parameter, answer

_ID = Parameter("generation_id", "path", "A generation's id, as its answer said.")
_INDEX = {"type": "integer", "minimum": 0}

MARK_OPERATIONS: Operations = {
    ("GET", "/generations/<generation_id>/marks"): Operation(
        tag="Pictures",
        summary="What people think of a generation's pictures",
        parameters=(_ID,),
        answers=answer("The marks of each, and their history", GenerationMarks),
        failures=(errors.UnknownGeneration, errors.StorageUnavailable),
    ),
    ("POST", "/generations/<generation_id>/images/<int:index>/marks"): Operation(
        tag="Pictures",
        summary="Mark a picture: favourite, approved, rejected",
        description="A picture has one mark; what it was before stays in its history. To say what "
        "it is already changes nothing.",
        parameters=(
            _ID,
            Parameter("index", "path", "Which of its pictures; the first is 0.", _INDEX),
        ),
        body={JSON: Marking},
        answers=answer("What the picture is now", PictureMarks),
        failures=(
            errors.MalformedJson,
            errors.InvalidRequest,
            errors.BodyTooLarge,
            errors.UnsupportedMediaType,
            errors.UnknownGeneration,
            errors.UnknownImage,
            errors.MarkedMeanwhile,
            errors.StorageUnavailable,
        ),
    ),
}
