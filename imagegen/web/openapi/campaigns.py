"""What is said about the campaigns' pages."""

from __future__ import annotations

from imagegen.web.openapi.operation import (
    FILE,
    TEXT,
    Answer,
    Operation,
    Operations,
    Parameter,
    page,
)

_FORM = "multipart/form-data"
_ID = (Parameter("campaign_id", "path", "As the page's address says it."),)
_LATER = page("A page; ask again later")
_NONE = page("A page; there is no such campaign")
_OTHERS = "Other sites' forms get 403."

CAMPAIGN_OPERATIONS: Operations = {
    ("GET", "/campaigns"): Operation(
        tag="Pages",
        summary="Campaigns, and a form for a new one",
        answers={200: page("The page"), 503: _LATER},
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
            200: page("The page with what would be made, and the rows at fault"),
            303: Answer("To the campaign's page"),
            413: page("The page; it was too much text"),
            422: page("The page; the text is at fault as a whole"),
            503: _LATER,
        },
    ),
    ("GET", "/campaigns/<campaign_id>"): Operation(
        tag="Pages",
        summary="A campaign's rows as they are now",
        parameters=_ID,
        answers={200: page("The page"), 404: _NONE, 503: _LATER},
    ),
    **{
        ("POST", f"/campaigns/<campaign_id>/{act}"): Operation(
            tag="Pages",
            summary=summary,
            description=_OTHERS,
            parameters=_ID,
            answers={303: Answer("To the campaign's page"), 404: _NONE, 503: _LATER},
        )
        for act, summary in (
            ("stop", "Begin no more rows"),
            ("resume", "Go on with it"),
            ("retry", "Ask anew for rows that have failed"),
        )
    },
    ("GET", "/campaigns/<campaign_id>/pictures.zip"): Operation(
        tag="Pages",
        summary="Its pictures so far, with a contact sheet",
        parameters=_ID,
        answers={200: Answer("The archive", {"application/zip": FILE}), 404: _NONE, 503: _LATER},
    ),
}
