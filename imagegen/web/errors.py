"""Errors on the wire: error class -> status, one table, told as problem+json (RFC 9457)."""

from __future__ import annotations

import json
import logging
import math
import secrets
from http import HTTPStatus
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from imagegen import errors
from imagegen.errors import Busy, CallerError, ImagegenError

CLIENT_CLOSED_REQUEST = 499  # nginx's number: nobody reads the answer, only the log does

STATUS: dict[type, int] = {
    errors.MalformedJson: 400,
    errors.InvalidRequest: 422,
    errors.BannedTerm: 422,
    errors.Quarantined: 422,
    errors.UnknownBrand: 404,
    errors.UnknownImage: 404,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.QueueFull: 429,
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


def register_errors(app: Flask) -> None:
    """Every failure of every route becomes a problem; a blueprint may tell its own differently."""
    app.register_error_handler(ImagegenError, tell_failure)
    app.register_error_handler(HTTPException, _tell_http_exception)
    app.register_error_handler(Exception, _tell_surprise)


def tell_failure(error: ImagegenError) -> Response:
    """The answer to an expected failure; one that is ours also tells the log why."""
    status = status_of(type(error))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.warning("%s: %s", error.code, error.detail)
    response = _problem(status, error.code, error.detail, **_field_errors(error))
    if isinstance(error, Busy):
        response.headers["Retry-After"] = str(retry_after(error.retry_after_s))
    return response


def status_of(kind: type[ImagegenError]) -> int:
    """The row of the nearest class that has one."""
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def retry_after(seconds: float | None) -> int:
    """The Retry-After header: whole seconds, at least one; one where nothing is known."""
    return 1 if seconds is None else max(1, math.ceil(seconds))


def _field_errors(error: ImagegenError) -> dict[str, Any]:
    if not isinstance(error, CallerError) or not error.fields:
        return {}
    return {"errors": [{"field": one.field, "message": one.message} for one in error.fields]}


def _tell_http_exception(error: HTTPException) -> Response:
    if isinstance(error, RequestEntityTooLarge):
        return tell_failure(errors.BodyTooLarge("the body is larger than this route takes"))
    status = error.code or 500
    code = error.name.lower().replace(" ", "_")
    response = _problem(status, code, error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value  # such as Allow of a 405
    return response


def _tell_surprise(error: Exception) -> Response:
    reference = secrets.token_hex(6)
    _log.error("internal error %s", reference, exc_info=error)
    detail = f"something unforeseen went wrong; the log names it {reference}"
    return _problem(500, "internal_error", detail)


def _problem(status: int, code: str, detail: str, **more: Any) -> Response:
    body = {
        "type": f"urn:imagegen:problem:{code}",
        "title": _title(status),
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    text = json.dumps(body, ensure_ascii=False)
    return Response(text, status, mimetype="application/problem+json")


def _title(status: int) -> str:
    return "Client Closed Request" if status == CLIENT_CLOSED_REQUEST else HTTPStatus(status).phrase
