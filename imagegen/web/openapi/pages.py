"""What is said about pages and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagegen import errors
from imagegen.web.openapi.native import GENERATING
from imagegen.web.openapi.operation import (
    FILE,
    JSON,
    TEXT,
    Answer,
    Operation,
    Operations,
    Parameter,
    page,
)
from imagegen.web.studio.asking import FILES, PICTURES
from imagegen.web.studio.shell import THEMES
from imagegen.web.studio.texts import LANGUAGES
from imagegen.web.studio.views import FORM_FIELDS

_FORM = "application/x-www-form-urlencoded"
_FIELDS: Mapping[str, Any] = {
    "type": "object",
    "description": "Fields of POST /generate, as text.",
    "properties": dict.fromkeys(sorted({*FORM_FIELDS} - {*PICTURES}), TEXT),
}
_WITH_FILES: Mapping[str, Any] = {
    **_FIELDS,
    "description": "The same, with pictures as files.",
    "properties": {**_FIELDS["properties"], **dict.fromkeys(PICTURES, FILE)},
}
_FORMS = {_FORM: _FIELDS, FILES: _WITH_FILES}
_PREFERENCES: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "language": {"type": "string", "description": f"One of {', '.join(LANGUAGES)}."},
        "theme": {"type": "string", "description": f"One of {', '.join(THEMES)}."},
        "back": {"type": "string", "description": "A path of this service."},
    },
}
_READING: Mapping[str, Any] = {
    "type": "object",
    "required": ["tokens", "limit", "is_exact", "unread", "sentence"],
}
_STATE: Mapping[str, Any] = {
    "type": "object",
    "required": ["ready", "sentence", "queued", "phases", "left"],
}

PAGE_OPERATIONS: Operations = {
    ("GET", "/"): Operation(
        tag="Pages",
        summary="The studio",
        description="Fields of a request in the address are filled in. 404 from a service that "
        "renders alone.",
        answers={200: page("The page")},
    ),
    ("POST", "/"): Operation(
        tag="Pages",
        summary="The studio's form, without scripts",
        description="Other sites' forms get 403.",
        body=_FORMS,
        answers={
            status: page(text)
            for status, text in {
                200: "The page with its pictures",
                404: "The page; there is no such brand",
                413: "The page; it was too much text",
                422: "The page with what is at fault",
                429: "The page; too many wait",
                500: "The page; a picture failed",
                503: "The page; ask again later",
                504: "The page; it took too long",
            }.items()
        },
    ),
    ("POST", "/studio/generations"): Operation(
        tag="Pages",
        summary="The studio's form, for its script",
        description="Answered as soon as there is a place for the pictures. `from` names a picture "
        "of yours, such as `gen_…/0`, in place of `init_image`; `shape=own` keeps its shape, "
        "whatever the format. Other sites' forms get 403.",
        parameters=(Parameter("Idempotency-Key", "header", "As for POST /generate."),),
        body=_FORMS,
        answers={202: page("What is known of it then")},
        failures=(
            *GENERATING,
            errors.UnknownGeneration,
            errors.UnknownImage,
            errors.IdempotencyConflict,
        ),
    ),
    ("GET", "/studio/generations"): Operation(
        tag="Pages",
        summary="Generations of the studio as they are now",
        description="What is not there is passed over.",
        parameters=(Parameter("id", "query", "Of a generation; may be said several times."),),
        answers={200: page("Those that there are")},
        failures=(errors.StorageUnavailable,),
    ),
    ("GET", "/studio/pictures.zip"): Operation(
        tag="Pages",
        summary="Chosen pictures, with a contact sheet",
        parameters=(Parameter("picture", "query", "`gen_…/0`; said 1 to 100 times."),),
        answers={
            200: Answer("The archive", {"application/zip": FILE}),
            404: page("A page; one of them is not there"),
            422: page("A page; none or too many are said"),
            503: page("A page; ask again later"),
        },
    ),
    ("POST", "/studio/reading"): Operation(
        tag="Pages",
        summary="What the text encoder will read of a prompt",
        description="With the words that the brand adds. Where the model's tokenizer is not at "
        "hand (`is_exact` false), the tokens are estimated.",
        body={_FORM: {"type": "object", "properties": {"brand": TEXT, "prompt": TEXT}}},
        answers={200: Answer("How many tokens, and of how many", {JSON: _READING})},
        failures=(errors.InvalidRequest, errors.UnknownBrand),
    ),
    ("GET", "/studio/state"): Operation(
        tag="Pages",
        summary="What /readyz says, in a sentence",
        answers={200: Answer("The state", {JSON: _STATE})},
    ),
    ("POST", "/studio/preferences"): Operation(
        tag="Pages",
        summary="The language or the theme of the pages",
        description="Kept in a cookie. Other sites' forms get 403.",
        body={_FORM: _PREFERENCES},
        needs_body=False,
        answers={303: Answer("Back to the page on which it was chosen")},
    ),
    ("GET", "/static/<version>/<path:filename>"): Operation(
        tag="Pages",
        summary="What pages are made of",
        parameters=(
            Parameter("version", "path", "As the pages name it."),
            Parameter("filename", "path", "As the pages name it."),
        ),
        answers={200: Answer("The file", {"*/*": FILE}), 304: Answer("You have it")},
        open_to_all=True,
    ),
    ("GET", "/openapi.json"): Operation(
        tag="Pages",
        summary="This document",
        answers={200: Answer("OpenAPI 3.1", {JSON: {"type": "object"}})},
    ),
    ("GET", "/docs"): Operation(
        tag="Pages",
        summary="This document as a page on which to try it",
        answers={200: page("The page")},
    ),
}
