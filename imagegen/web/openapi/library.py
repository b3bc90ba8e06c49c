"""What is said about the library's pages."""

from __future__ import annotations

from imagegen import errors
from imagegen.library.query import LibraryQuery
from imagegen.web.openapi.operation import (
    FILE,
    HTML,
    TEXT,
    Answer,
    Operation,
    Operations,
    Parameter,
    page,
)

_FORM = "application/x-www-form-urlencoded"
# An empty text, as forms send it, says nothing; no schema of a day or a number says so.
_QUERY = tuple(
    Parameter(name, "query", str(schema.get("description", f"Of this {name}.")), TEXT)
    for name, schema in LibraryQuery.model_json_schema()["properties"].items()
)
_PICTURE = (
    Parameter("generation_id", "path", "A generation's id."),
    Parameter("index", "path", "Which of its pictures.", {"type": "integer", "minimum": 0}),
)
_NONE = Answer(
    "A page; there is no such picture. A problem where the address is none",
    {HTML: TEXT, "application/problem+json": {"type": "object"}},
)
_LATER = page("A page; ask again later")

LIBRARY_OPERATIONS: Operations = {
    ("GET", "/library"): Operation(
        tag="Pages",
        summary="Everything that was made, newest first",
        parameters=_QUERY,
        answers={
            200: page("The page"),
            422: page("A page; the question is at fault"),
            503: _LATER,
        },
    ),
    ("GET", "/library/<generation_id>/<int:index>"): Operation(
        tag="Pages",
        summary="A picture's page",
        parameters=(
            *_PICTURE,
            Parameter("of", "query", "ID/INDEX: a picture that it shall be compared with."),
        ),
        answers={200: page("The page"), 404: _NONE, 503: _LATER},
    ),
    ("POST", "/library/<generation_id>/<int:index>/mark"): Operation(
        tag="Pages",
        summary="Mark a picture, from its page",
        description="Other sites' forms get 403.",
        parameters=_PICTURE,
        body={
            _FORM: {
                "type": "object",
                "required": ["mark"],
                "properties": {"mark": TEXT, "revision": TEXT},
            }
        },
        answers={
            303: Answer("To the picture's page"),
            404: _NONE,
            409: page("The page; somebody was quicker"),
            422: page("A page; that is no mark"),
            503: _LATER,
        },
    ),
    ("POST", "/library/<generation_id>/<int:index>/again"): Operation(
        tag="Pages",
        summary="Render a picture again, from its page",
        description="Other sites' forms get 403.",
        parameters=_PICTURE,
        answers={
            303: Answer("To the new picture's page"),
            404: _NONE,
            422: page("The page; its words are refused now"),
            429: page("The page; too many wait"),
            500: page("The page; the picture failed"),
            503: _LATER,
            504: page("The page; it took too long"),
        },
    ),
    ("GET", "/thumbnails/<path:path>"): Operation(
        tag="Pictures",
        summary="A stored picture, small",
        description="WebP, at most 384 pixels a side. It never changes, so it may be kept.",
        parameters=(Parameter("path", "path", "As in a generation's links, after `/images/`."),),
        answers={
            200: Answer("The picture", {"image/webp": FILE}),
            206: Answer("A part of it, as `Range` asked", {"image/webp": FILE}),
            304: Answer("You have it, as `If-None-Match` says"),
        },
        failures=(errors.UnknownImage, errors.StorageUnavailable),
    ),
}
