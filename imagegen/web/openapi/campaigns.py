"""What is said about the campaigns' pages."""

from __future__ import annotations

from collections.abc import Mapping

from imagegen.web.openapi.operation import (
    FILE,
    HTML,
    TEXT,
    Answer,
    Operation,
    Operations,
    Parameter,
)

_FORM = "multipart/form-data"
_ID = (Parameter("campaign_id", "path", "As the page's address says it."),)
_LATER = Answer("A page; ask again later", {HTML: TEXT})
_NONE = Answer("A page; there is no such campaign", {HTML: TEXT})
_ACTED: Mapping[int, Answer] = {
    303: Answer("To the campaign's page"), 404: _NONE, 503: _LATER,
}  # fmt: skip
_OTHERS = "Other sites' forms get 403."

CAMPAIGN_OPERATIONS: Operations = {
    ("GET", "/campaigns"): Operation(
        tag="Pages",
        summary="Campaigns, and a form for a new one",
        answers={200: Answer("The page", {HTML: TEXT}), 503: _LATER},
    ),
    ("POST", "/campaigns"): Operation(
        tag="Pages",
        summary="The form: rows are checked, or started",
        description=_OTHERS,
        body={
            _FORM: {
                "type": "object",
                "required": ["name", "text"],
                "properties": {
                    "name": TEXT,
                    "text": {**TEXT, "description": "Prompts, a table or JSON lines."},
                    "file": {**FILE, "description": "In place of the text."},
                    "brand": {**TEXT, "description": "Of a list of prompts."},
                    "num_images": {**TEXT, "description": "Of each of a list of prompts."},
                    "do": {"enum": ["check", "start"]},
                },
            }
        },
        answers={
            200: Answer("The page with what would be made, and the rows at fault", {HTML: TEXT}),
            303: Answer("To the campaign's page"),
            413: Answer("The page; it was too much text", {HTML: TEXT}),
            422: Answer("The page; the text is at fault as a whole", {HTML: TEXT}),
            503: _LATER,
        },
    ),
    ("GET", "/campaigns/<campaign_id>"): Operation(
        tag="Pages",
        summary="A campaign's rows as they are now",
        parameters=_ID,
        answers={200: Answer("The page", {HTML: TEXT}), 404: _NONE, 503: _LATER},
    ),
    ("POST", "/campaigns/<campaign_id>/stop"): Operation(
        tag="Pages",
        summary="Begin no more rows",
        description=_OTHERS,
        parameters=_ID,
        answers=_ACTED,
    ),
    ("POST", "/campaigns/<campaign_id>/resume"): Operation(
        tag="Pages",
        summary="Go on with it",
        description=_OTHERS,
        parameters=_ID,
        answers=_ACTED,
    ),
    ("POST", "/campaigns/<campaign_id>/retry"): Operation(
        tag="Pages",
        summary="Ask anew for rows that have failed",
        description=_OTHERS,
        parameters=_ID,
        answers=_ACTED,
    ),
    ("GET", "/campaigns/<campaign_id>/pictures.zip"): Operation(
        tag="Pages",
        summary="Its pictures so far, with a contact sheet",
        parameters=_ID,
        answers={200: Answer("The archive", {"application/zip": FILE}), 404: _NONE, 503: _LATER},
    ),
}
