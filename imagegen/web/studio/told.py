"""What goes wrong, in the words of a page's language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flask import Response

from imagegen.errors import Busy, CallerError, FieldError, ImagegenError
from imagegen.generations.records import Failure as RowFailure
from imagegen.web.errors import Failure, failure_of, retry_after, tell_problem
from imagegen.web.studio.shell import current_texts
from imagegen.web.studio.texts import FALLBACK, Texts, texts_in
from imagegen.web.studio.views import ADVANCED, BESIDE


@dataclass(frozen=True)
class Told:
    """An error as the page tells it."""

    beside: Mapping[str, str]  # field -> message
    alert: str  # what belongs to no field; "" for nothing

    @classmethod
    def of(cls, error: ImagegenError | None, t: Texts) -> Told:
        if error is None:
            return cls({}, "")
        failure = in_words(failure_of(error), t)
        fields = failure.fields
        beside = {one.field: one.message for one in reversed(fields) if one.field in BESIDE}
        others = [
            t("told.elsewhere", field=one.field, message=one.message)
            for one in fields
            if one.field not in BESIDE
        ]
        if not fields:
            others = [t("told.sentence", detail=failure.detail)]
        if isinstance(error, Busy):
            others.append(t("told.wait", seconds=retry_after(error.retry_after_s)))
        elif not isinstance(error, CallerError):
            others.append(t("told.kept"))
        return cls(beside, " ".join(others))

    @property
    def is_advanced(self) -> bool:
        return not self.beside.keys().isdisjoint(ADVANCED)


def tell_in_words(failure: Failure) -> Response:
    """A problem for a page's script: what it shows of it is in the page's language."""
    return tell_problem(in_words(failure, current_texts()))


def in_words(failure: Failure, t: Texts) -> Failure:
    """The same in that language, about the form's own fields: those of `overlay` are three.

    The API's own is English, which says more of some failures.
    """
    detail = failure_in_words(failure.code, failure.detail, t)
    fields = tuple(
        FieldError(one.field.removeprefix("overlay."), translated(one.message, t))
        for one in failure.fields
    )
    return replace(failure, detail=detail, fields=fields)


def sentences_of(failure: Failure, t: Texts) -> str:
    """All of it, for a page without a field that it could stand beside."""
    said = in_words(failure, t)
    if not said.fields:
        return t("told.sentence", detail=said.detail.removesuffix("."))
    return " ".join(
        t("told.elsewhere", field=one.field, message=one.message) for one in said.fields
    )


def failure_in_words(code: str, detail: str, t: Texts) -> str:
    """`detail`, or what the catalogue says of its code."""
    known = f"failure.{code}"
    return t(known, detail=detail) if known in t.words else detail


def fault_in_words(detail: str) -> str:
    """What is wrong with a row, `field: message` or a sentence, in the page's language."""
    t = current_texts()
    field, colon, message = detail.partition(": ")
    if colon and field.isidentifier():
        return f"{field}: {translated(message, t)}"
    return translated(detail, t)


def row_in_words(failure: RowFailure) -> str:
    """Why a row came to nothing, in the page's language."""
    t = current_texts()
    said = failure_in_words(failure.code, failure.detail, t)
    return said if said != failure.detail else fault_in_words(said)


def warning_in_words(message: str) -> str:
    """What a generation's record notes, in the page's language."""
    return translated(message, current_texts(), "warning.")


def translated(message: str, t: Texts, section: str = "fault.") -> str:
    """A sentence, about a field or a picture, which the catalogue has with open places in its
    `section`; else as it is.
    """
    for key, pattern in texts_in(FALLBACK).words.items():
        if key.startswith(section) and (found := _matched(pattern, message)) is not None:
            return t(key, **found)
    return message


def _matched(pattern: str, message: str) -> dict[str, str] | None:
    """What stands in the pattern's places."""
    parts = re.split(r"\{(\w+)\}", pattern)
    expression = "".join(
        f"(?P<{part}>.+?)" if odd else re.escape(part)
        for part, odd in zip(parts, [False, True] * len(parts), strict=False)
    )
    found = re.fullmatch(expression, message)
    return None if found is None else found.groupdict()
