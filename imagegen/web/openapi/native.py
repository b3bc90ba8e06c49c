"""What is said about imagegen's own routes."""

from __future__ import annotations

from imagegen import errors
from imagegen.branding.drift import Drift
from imagegen.generation import Generation, GenerationRequest, OutputFormat
from imagegen.web.answers import GenerationState
from imagegen.web.openapi.generations import GENERATION_EVENTS
from imagegen.web.openapi.operation import (
    A_BRAND,
    EVENT_STREAM,
    FILE,
    JSON,
    TEXT,
    Answer,
    Operation,
    Operations,
    Parameter,
    answer,
)
from imagegen.web.openapi.shapes import Alive, Brand, Brands, Capabilities, State

BUSY = (
    errors.QueueFull,
    errors.RateLimited,
    errors.ModelLoading,
    errors.ModelFailed,
    errors.Draining,
    errors.StorageUnavailable,
    errors.ServiceUnreachable,
)
GENERATING = (
    errors.MalformedJson,
    errors.UnknownBrand,
    errors.BodyTooLarge,
    errors.UnsupportedMediaType,
    errors.InvalidRequest,
    errors.BannedTerm,
    errors.Quarantined,
    *BUSY,
    errors.RenderFailed,
    errors.DeadlineExceeded,
)
_PICTURES = {output_format.content_type: FILE for output_format in OutputFormat}
_PICTURE_HEADERS = {
    "X-Generation-Id": "Of the generation that made the picture; with Accept: image/…",
    "X-Seed": "The picture's seed; with Accept: image/…",
}
_BRAND = Parameter("brand", "path", "A brand's id, as in `GET /brands`.")

IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "Asked again under the same key, the same request gives the same generation.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)

NATIVE_OPERATIONS: Operations = {
    ("POST", "/generate"): Operation(
        tag="Pictures",
        summary="Make pictures",
        description="What is not said, the brand decides. With `Accept: image/png` (`image/jpeg`, "
        "`image/webp`) the answer to a request for one picture is the picture itself, with "
        "`Accept: text/event-stream` it is what happens to the pictures, as it happens.",
        parameters=(
            Parameter("Prefer", "header", "`respond-async`: do not wait for the pictures."),
            IDEMPOTENCY_KEY,
        ),
        body={JSON: GenerationRequest},
        example={"brand": A_BRAND, "prompt": "a red mug", "seed": 7},
        answers={
            200: Answer(
                "The pictures",
                {JSON: Generation, **_PICTURES, EVENT_STREAM: GENERATION_EVENTS},
                _PICTURE_HEADERS,
            ),
            202: Answer(
                "It is in the queue, and lives on",
                {JSON: GenerationState},
                {"Location": "Where it is found.", "Preference-Applied": "respond-async"},
            ),
        },
        failures=(*GENERATING, errors.IdempotencyConflict),
    ),
    ("GET", "/images/<path:path>"): Operation(
        tag="Pictures",
        summary="A stored picture",
        description="It never changes, so it may be kept.",
        parameters=(
            Parameter("path", "path", "As in a generation's links."),
            Parameter("download", "query", "1: the browser saves it.", {"enum": ["1"]}),
        ),
        answers={
            200: Answer("The picture", _PICTURES),
            206: Answer("A part of it, as `Range` asked", _PICTURES),
            304: Answer("You have it, as `If-None-Match` says"),
        },
        failures=(errors.UnknownImage, errors.StorageUnavailable),
    ),
    ("GET", "/brands"): Operation(
        tag="Brands", summary="The brands", answers=answer("All you may use", Brands)
    ),
    ("GET", "/brands/<brand>"): Operation(
        tag="Brands",
        summary="A brand",
        parameters=(_BRAND,),
        answers=answer("The brand", Brand),
        failures=(errors.UnknownBrand,),
    ),
    ("GET", "/brands/<brand>/cover"): Operation(
        tag="Brands",
        summary="A brand's cover",
        parameters=(_BRAND,),
        answers={
            200: Answer("The picture", _PICTURES),
            206: Answer("A part of it, as `Range` asked", _PICTURES),
            304: Answer("You have it, as `If-None-Match` says"),
        },
        failures=(errors.UnknownBrand, errors.UnknownImage),
    ),
    ("GET", "/brands/<brand>/drift"): Operation(
        tag="Brands",
        summary="Have its pictures become less the brand's own?",
        description="The scores of your last 100 generations of the brand.",
        parameters=(_BRAND,),
        answers=answer("Newer pictures beside older ones", Drift),
        failures=(errors.UnknownBrand, errors.StorageUnavailable),
    ),
    ("GET", "/capabilities"): Operation(
        tag="Brands",
        summary="What may be asked",
        answers=answer("Brands, formats, schedulers, the model", Capabilities),
    ),
    ("GET", "/livez"): Operation(
        tag="Operation",
        summary="Does the process answer?",
        answers=answer("It does", Alive),
        failures=(errors.ModelFailed,),
        open_to_all=True,
    ),
    ("GET", "/readyz"): Operation(
        tag="Operation",
        summary="Could a picture be rendered now?",
        answers={
            200: Answer("Yes", {JSON: State}),
            503: Answer("Not yet", {JSON: State}, {"Retry-After": "Seconds until it may be."}),
        },
        open_to_all=True,
    ),
    ("POST", "/warm"): Operation(
        tag="Operation",
        summary="Say that somebody will want a picture soon",
        description="Pages of other sites get 403.",
        answers={202: Answer("What /readyz would say", {JSON: State})},
    ),
    ("GET", "/metrics"): Operation(
        tag="Operation",
        summary="For Prometheus",
        description="For callers who may use every brand: it names them all.",
        answers={200: Answer("In Prometheus' text format", {"text/plain": TEXT})},
    ),
}
