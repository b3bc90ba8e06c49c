"""Campaigns: paste rows, see their faults and their cost, start, watch, take the pictures home."""

from __future__ import annotations

import codecs
from http import HTTPStatus
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestEntityTooLarge

from imagegen.campaigns.plan import MOST_LETTERS, Pasted
from imagegen.errors import BodyTooLarge, FieldError, ImagegenError, InvalidRequest
from imagegen.web.auth import current_caller
from imagegen.web.collaborators import Collaborators
from imagegen.web.errors import failure_of
from imagegen.web.studio.campaign_archive import archive_name, files_of
from imagegen.web.studio.faults import tell_on_pages, with_status_of
from imagegen.web.studio.shell import current_texts
from imagegen.web.studio.told import fault_in_words, in_words, row_in_words
from imagegen.web.zip_stream import zip_response

_MOST_BYTES = 4 * MOST_LETTERS + 64 * 1024  # a letter has up to four


def campaigns_blueprint(parts: Collaborators) -> Blueprint:
    """Whichever instance looks, shows the same; it needs no script to start and to look."""
    blueprint = Blueprint("campaigns", __name__)
    tell_on_pages(blueprint, parts)
    blueprint.add_app_template_filter(fault_in_words, "fault_in_words")
    blueprint.add_app_template_filter(row_in_words, "row_in_words")
    campaigns = parts.campaigns
    _register_campaign(blueprint, parts)

    def form(said: dict[str, Any], **more: Any) -> str:
        caller = current_caller()
        return render_template(
            "campaigns.html",
            brands=list(parts.catalog.seen_by(caller)),
            campaigns=campaigns.list(caller),
            said=said,
            plan=more.get("plan"),
            faults=_faults(more.get("error")),
        )

    @blueprint.get("/campaigns")
    def page() -> ResponseReturnValue:
        return form({})

    @blueprint.post("/campaigns")
    def submit() -> ResponseReturnValue:
        """`do=start` starts what `do=check` would show."""
        said: dict[str, Any] = {}
        try:
            said = _said()
            pasted, caller = _pasted(said), current_caller()
            if said.get("do") != "start":
                return form(said, plan=campaigns.plan(pasted, caller))
            begun = campaigns.begin(pasted, caller)
        except ImagegenError as error:
            return with_status_of(error, form(said, error=error))
        return _to(begun.id)

    return blueprint


def _register_campaign(blueprint: Blueprint, parts: Collaborators) -> None:
    campaigns = parts.campaigns

    @blueprint.get("/campaigns/<campaign_id>")
    def campaign(campaign_id: str) -> ResponseReturnValue:
        caller = current_caller()
        found = campaigns.find(campaign_id, caller)
        return render_template(
            "campaign.html", campaign=found, progress=campaigns.progress(found, caller)
        )

    @blueprint.post("/campaigns/<campaign_id>/stop")
    def stop(campaign_id: str) -> ResponseReturnValue:
        campaigns.stop(campaign_id, current_caller())
        return _to(campaign_id)

    @blueprint.post("/campaigns/<campaign_id>/resume")
    def resume(campaign_id: str) -> ResponseReturnValue:
        campaigns.resume(campaign_id, current_caller())
        return _to(campaign_id)

    @blueprint.post("/campaigns/<campaign_id>/retry")
    def retry(campaign_id: str) -> ResponseReturnValue:
        campaigns.retry(campaign_id, current_caller())
        return _to(campaign_id)

    @blueprint.get("/campaigns/<campaign_id>/pictures.zip")
    def pictures(campaign_id: str) -> ResponseReturnValue:
        """What there is so far, with a contact sheet and a table of the rows."""
        caller = current_caller()
        found = campaigns.find(campaign_id, caller)
        files = files_of(found, campaigns.progress(found, caller), campaigns.file)
        return zip_response(archive_name(found), files)


def _said() -> dict[str, Any]:
    """The form's fields; a file that was dropped stands for the text. Raises CallerError."""
    request.max_content_length = request.max_form_memory_size = _MOST_BYTES
    try:
        said: dict[str, Any] = request.form.to_dict()
        file = request.files.get("file")
        data = b"" if file is None else file.read()
    except RequestEntityTooLarge:
        raise BodyTooLarge("that is too much text; make several campaigns of it") from None
    if data:
        said["text"] = _decoded(data)
    return said


def _decoded(data: bytes) -> str:
    """UTF-8, or as Excel writes on Windows if one does not choose: its rows are shown before they
    are started.
    """
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return data.decode("utf-16")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("cp1252")
    except UnicodeDecodeError:
        raise InvalidRequest(
            FieldError("text", "is not UTF-8; save the file as “CSV UTF-8”")
        ) from None


def _faults(error: ImagegenError | None) -> dict[str, str]:
    """Field -> what is wrong with it; under "" what belongs to none."""
    if error is None:
        return {}
    failure = in_words(failure_of(error), current_texts())
    return {one.field: one.message for one in failure.fields} or {"": failure.detail}


def _pasted(said: dict[str, Any]) -> Pasted:
    number = str(said.get("num_images") or 1)
    return Pasted(
        name=said.get("name", "").strip(),
        text=said.get("text", ""),
        brand=said.get("brand", ""),
        num_images=int(number) if number.isascii() and number.isdecimal() else 0,
    )


def _to(campaign_id: str) -> ResponseReturnValue:
    url = url_for("campaigns.campaign", campaign_id=campaign_id)
    return redirect(url, HTTPStatus.SEE_OTHER)
