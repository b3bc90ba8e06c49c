"""Failures as OpenAI tells them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from flask import Response

from imagegen.errors import BannedTerm, DeadlineExceeded, FieldError, InvalidRequest
from imagegen.parsing import IS_REQUIRED, IS_UNKNOWN, WHOLE_REQUEST
from imagegen.web.errors import Failure
from imagegen.web.openai.answers import ErrorAnswer, ErrorItem

# Codes that programs compare; all others are ours.
_CODES = {
    "unknown_brand": "model_not_found",
    "unauthenticated": "invalid_api_key",
    "queue_full": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "banned_term": "moderation_blocked",
}
_PARAMS = {"unknown_brand": "model"}
# Fields of a request in OpenAI's words; all others have the same name in both.
_FIELDS = {
    "brand": "model",
    "num_images": "n",
    "width": "size",
    "height": "size",
    "format": "size",
    "output_quality": "output_compression",
    "init_image": "image",
}


def error_answer(failure: Failure) -> ErrorAnswer:
    """The body that tells `failure`."""
    first = failure.fields[0] if failure.fields else None
    return ErrorAnswer(
        error=ErrorItem(
            message=failure.detail,
            type=_type(_status(failure), failure.code),
            param=_param(failure.code, first),
            code=_code(failure, first),
        )
    )


def tell_openai(failure: Failure) -> Response:
    """The answer that tells `failure`; the openai client asks again after 429 and 5xx."""
    body = error_answer(failure).model_dump_json()
    response = Response(body, _status(failure), mimetype="application/json")
    if failure.code == DeadlineExceeded.code:  # it would take as long again, and cost as much
        response.headers["X-Should-Retry"] = "false"
    return response


def in_their_words(error: InvalidRequest, drawable: str) -> InvalidRequest:
    """The same fault in OpenAI's names. drawable: which sizes there are, for one about sizes."""
    told: list[FieldError] = []
    for one in error.fields:
        name, message = _FIELDS.get(one.field, one.field), one.message
        if one.field in ("width", "height"):
            message = f"{one.field} {message}"
        if name == "size":
            message = f"{message}. {drawable}"
        told.append(FieldError(name, message))
    return type(error)(*told)


def _status(failure: Failure) -> int:
    return 400 if failure.status == 422 else failure.status


def _type(status: int, code: str) -> str:
    if code == BannedTerm.code:
        return "image_generation_user_error"
    if status == 429:
        return "requests"
    return "server_error" if status >= 500 else "invalid_request_error"


def _param(code: str, first: FieldError | None) -> str | None:
    if first is None:
        return _PARAMS.get(code)
    return None if first.field == WHOLE_REQUEST else first.field


def _code(failure: Failure, first: FieldError | None) -> str:
    if failure.code != InvalidRequest.code or first is None:
        return _CODES.get(failure.code, failure.code)
    if first.message == IS_UNKNOWN:
        return "unknown_parameter"
    return "missing_required_parameter" if first.message == IS_REQUIRED else "invalid_value"
