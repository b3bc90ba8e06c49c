"""Problems: an imagegen service's error answer becomes the error again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from imagegen import errors
from imagegen.errors import Busy, CallerError, FieldError, ImagegenError, InvalidRequest

ASK_AGAIN_S = 5.0  # where nobody says when


def failure_of(body: bytes, retry_after: str | None) -> ImagegenError | None:
    """The error that a problem+json tells; None where `body` is none of ours.

    retry_after: the header of that name, as it came.
    """
    return failure_told(_problem(body), retry_after)


def failure_told(problem: Mapping[str, Any], retry_after: str | None) -> ImagegenError | None:
    """The same for a problem that is read already: `code`, `detail`, for some `errors`."""
    kind = _KINDS.get(str(problem.get("code", "")))
    if kind is None:
        return None
    detail = str(problem.get("detail", ""))
    if issubclass(kind, Busy):
        return kind(detail, retry_after_s(retry_after))
    if issubclass(kind, InvalidRequest):
        return kind(*_field_errors(problem, detail))
    return kind(detail)


def detail_of(body: bytes) -> str:
    """`code: detail` of a problem that is no error class of ours; "" where it is no problem."""
    problem = _problem(body)
    return ": ".join(str(problem[name]) for name in ("code", "detail") if name in problem)


def retry_after_s(said: str | None) -> float:
    """Retry-After in seconds; a date is not worth a parser, asking again soon does no harm."""
    try:
        return max(0.0, float(said or ""))
    except ValueError:
        return ASK_AGAIN_S


def _problem(body: bytes) -> Mapping[str, Any]:
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _field_errors(problem: Mapping[str, Any], detail: str) -> list[FieldError]:
    found = [
        FieldError(str(one.get("field")), str(one.get("message")))
        for one in problem.get("errors") or ()
        if isinstance(one, dict)
    ]
    return found or [FieldError("request", detail)]


def _with_code(kind: type[ImagegenError]) -> Iterator[type[ImagegenError]]:
    if "code" in vars(kind):
        yield kind
    for child in kind.__subclasses__():
        yield from _with_code(child)


# An operator's mistake stops a start: no service answers with one.
_TOLD = (CallerError, Busy, errors.RenderFailed, errors.DeadlineExceeded, errors.Cancelled)
_KINDS = {kind.code: kind for base in _TOLD for kind in _with_code(base)}
