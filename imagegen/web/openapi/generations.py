"""What is said about the routes on which generations are found again."""

from __future__ import annotations

from imagegen import errors
from imagegen.generation import Generation, OutputFormat
from imagegen.generations.register import ListQuery
from imagegen.web.answers import (
    GenerationList,
    GenerationState,
    ImageData,
    PreviewData,
    QueuedData,
    StepData,
)
from imagegen.web.openapi.operation import (
    EVENT_STREAM,
    FILE,
    JSON,
    Answer,
    Events,
    Operation,
    Operations,
    Parameter,
    answer,
)
from imagegen.web.openapi.shapes import Problem

_ID = Parameter("generation_id", "path", "A generation's id, as its answer said.")
_QUERY = tuple(
    Parameter(name, "query", str(schema.pop("description")), schema)
    for name, schema in ListQuery.model_json_schema()["properties"].items()
)
_FILE = (
    Parameter(
        "as",
        "query",
        "Another format than that of the stored file.",
        {"type": "string", "enum": list(OutputFormat)},
    ),
    Parameter(
        "clean", "query", "Without logo and words, if they were laid on.", {"type": "boolean"}
    ),
    Parameter("download", "query", "To be saved, not shown.", {"type": "boolean"}),
)

GENERATION_EVENTS = Events(
    {
        "queued": QueuedData,
        "step": StepData,
        "preview": PreviewData,
        "image": ImageData,
        "done": Generation,
        "error": Problem,
    }
)
GENERATION_OPERATIONS: Operations = {
    ("GET", "/generations"): Operation(
        tag="Pictures",
        summary="Your generations",
        description="Newest first. A page may be short although more follow: `cursor` tells.",
        parameters=_QUERY,
        answers=answer("A page of them", GenerationList),
        failures=(errors.InvalidRequest, errors.StorageUnavailable),
    ),
    ("GET", "/generations/<generation_id>"): Operation(
        tag="Pictures",
        summary="What became of a generation",
        parameters=(_ID,),
        answers=answer("As it is now", GenerationState),
        failures=(errors.UnknownGeneration, errors.StorageUnavailable),
    ),
    ("GET", "/generations/<generation_id>/images/<int:index>"): Operation(
        tag="Pictures",
        summary="A picture's file",
        description="With the records that the stored one carries, whatever its format.",
        parameters=(
            _ID,
            Parameter("index", "path", "Which picture, from 0.", {"type": "integer"}),
            *_FILE,
        ),
        answers={
            200: Answer("The file", {"image/*": FILE}),
            206: Answer("The range of it that was asked for", {"image/*": FILE}),
            304: Answer("You have it"),
        },
        failures=(
            errors.InvalidRequest,
            errors.UnknownGeneration,
            errors.UnknownImage,
            errors.StorageUnavailable,
        ),
    ),
    ("DELETE", "/generations/<generation_id>"): Operation(
        tag="Pictures",
        summary="Cancel a generation",
        description="Its pictures leave the batch within one step.",
        parameters=(_ID,),
        answers={
            200: Answer("It is cancelled", {JSON: GenerationState}),
            202: Answer("Whoever renders it has not heard of it yet", {JSON: GenerationState}),
        },
        failures=(
            errors.UnknownGeneration,
            errors.NotCancellable,
            errors.StorageUnavailable,
            errors.ServiceUnreachable,
        ),
    ),
    ("GET", "/generations/<generation_id>/events"): Operation(
        tag="Pictures",
        summary="What happens to a generation",
        description="Server-sent events: `queued`, `step`, `preview`, `image`, at last `done` or "
        "`error`. A browser that was cut off goes on where it was.",
        parameters=(
            _ID,
            Parameter("Last-Event-ID", "header", "What follows this event; all, by default."),
        ),
        answers={
            200: Answer("Events, up to the last one", {EVENT_STREAM: GENERATION_EVENTS}),
            204: Answer("Nothing follows"),
        },
        failures=(errors.UnknownGeneration, errors.TooManyStreams, errors.StorageUnavailable),
    ),
}
