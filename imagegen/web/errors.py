"""Errors on the wire: error class -> status, one table, told as problem+json (RFC 9457)."""

from __future__ import annotations

import json
import logging
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from imagegen import errors
from imagegen.errors import Busy, CallerError, FieldError, ImagegenError

CLIENT_CLOSED_REQUEST = 499  # nginx's number: nobody reads the answer, only the log does

STATUS: dict[type, int] = {
    errors.MalformedJson: 400,
    errors.InvalidRequest: 422,
    errors.BannedTerm: 422,
    errors.Quarantined: 422,
    errors.Unauthenticated: 401,
    errors.UnknownBrand: 404,
    errors.UnknownImage: 404,
    errors.UnknownGeneration: 404,
    errors.UnknownCampaign: 404,
    errors.NotCancellable: 409,
    errors.MarkedMeanwhile: 409,
    errors.IdempotencyConflict: 422,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.QueueFull: 429,
    errors.TooManyStreams: 429,
    errors.RateLimited: 429,
    errors.ModelLoading: 503,
    errors.ModelFailed: 503,
    errors.Draining: 503,
    errors.StorageUnavailable: 503,
    errors.RenderFailed: 500,
    errors.DeadlineExceeded: 504,
    errors.Cancelled: CLIENT_CLOSED_REQUEST,
    errors.ObjectExists: 500,
    errors.ServiceUnreachable: 503,
    errors.OperatorError: 500,  # all of its kind: they stop the start, no caller meets them
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """What went wrong, before it is told in one of the error shapes."""

    status: int
    code: str
    detail: str
    fields: tuple[FieldError, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


Tell = Callable[[Failure], Response]


def register_errors(app: Flask, dialects: Mapping[str, Tell]) -> None:
    """Every failure of every route becomes a problem, or what a dialect's clients understand.

    dialects: the beginning of a path, such as "/v1" -> how failures below it are told.
    """

    def tell(failure: Failure) -> Response:
        spoken = (
            dialects[start]
            for start in dialects
            if request.path == start or request.path.startswith(f"{start}/")
        )
        response = next(spoken, tell_problem)(failure)
        response.headers.extend(failure.headers)
        return response

    app.register_error_handler(ImagegenError, lambda error: tell(failure_of(error)))
    app.register_error_handler(HTTPException, lambda error: tell(_http_failure(error)))
    app.register_error_handler(Exception, lambda error: tell(surprise(error)))


def tell_failure(error: ImagegenError) -> Response:
    """The problem that tells an expected failure."""
    failure = failure_of(error)
    response = tell_problem(failure)
    response.headers.extend(failure.headers)
    return response


def failure_of(error: ImagegenError) -> Failure:
    """What an expected failure tells its caller; one that is ours also tells the log why."""
    status = status_of(type(error))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("%s: %s", error.code, error.detail)
    fields = error.fields if isinstance(error, CallerError) else ()
    headers = {}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(retry_after(error.retry_after_s))
    return Failure(status, error.code, error.detail, fields, headers)


def status_of(kind: type[ImagegenError]) -> int:
    """The row of the nearest class that has one."""
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def retry_after(seconds: float | None) -> int:
    """The Retry-After header: whole seconds, at least one; one where nothing is known."""
    return 1 if seconds is None else max(1, math.ceil(seconds))


def surprise(error: Exception) -> Failure:
    """What nobody expected: the log gets all of it, the caller a reference."""
    reference = secrets.token_hex(6)
    _log.error("internal error %s", reference, exc_info=error)
    detail = f"something unforeseen went wrong; the log names it {reference}"
    return Failure(500, "internal_error", detail)


def _http_failure(error: HTTPException) -> Failure:
    if isinstance(error, RequestEntityTooLarge):
        return failure_of(errors.BodyTooLarge("the body is larger than this route takes"))
    code = error.name.lower().replace(" ", "_")
    headers = {
        name: value  # such as Allow of a 405
        for name, value in error.get_headers()
        if name.lower() not in ("content-type", "content-length")
    }
    return Failure(error.code or 500, code, error.description or error.name, headers=headers)


def problem_of(error: Exception) -> dict[str, Any]:
    """What a failure's answer would say, where it is told in another way."""
    return _body(failure_of(error) if isinstance(error, ImagegenError) else surprise(error))


def tell_problem(failure: Failure) -> Response:
    text = json.dumps(_body(failure), ensure_ascii=False)
    return Response(text, failure.status, mimetype="application/problem+json")


def _body(failure: Failure) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"urn:imagegen:problem:{failure.code}",
        "title": _title(failure.status),
        "status": failure.status,
        "detail": failure.detail,
        "code": failure.code,
    }
    if failure.fields:
        body["errors"] = [{"field": one.field, "message": one.message} for one in failure.fields]
    return body


def _title(status: int) -> str:
    return "Client Closed Request" if status == CLIENT_CLOSED_REQUEST else HTTPStatus(status).phrase
