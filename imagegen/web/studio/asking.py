"""The studio's form as a request: the fields of POST /generate, and a picture to start from."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from imagegen.callers import Caller
from imagegen.errors import BodyTooLarge, FieldError, InvalidRequest
from imagegen.generation import GenerationRequest
from imagegen.parsing import parse_strings
from imagegen.web.collaborators import GenerationDesk
from imagegen.web.picture_room import picture_room

KIT = ("logo", "headline", "legal")  # the fields of `overlay`
FROM = "from"  # "gen_…/0": one of the caller's pictures, in place of `init_image`
_PICTURE = re.compile(r"(gen_[0-9a-f]{20})/([0-9]{1,2})")


def form_fields() -> dict[str, str]:
    """What the form says; an empty field says nothing, but the prompt is then missed.

    Raises BodyTooLarge.
    """
    try:
        return {k: v for k, v in request.form.items() if v.strip() or k == "prompt"}
    except RequestEntityTooLarge:
        raise BodyTooLarge("that is too much text; shorten what you wrote") from None


def asked_of(said: Mapping[str, str], desk: GenerationDesk, caller: Caller) -> GenerationRequest:
    """Raises CallerError, StorageUnavailable, and QueueFull where there is no room for pictures."""
    fields = {name: text for name, text in said.items() if name not in (FROM, *KIT)}
    if (overlay := _overlay(said)) is not None:
        fields["overlay"] = overlay
    if FROM in said:
        fields["init_image"] = _picture(said[FROM], desk, caller)
    asked = parse_strings(fields)
    picture_room().hold(asked.init_image, asked.mask)
    return asked


def named_picture(field: str, name: str) -> tuple[str, int]:
    """A generation's id and which of its pictures. Raises InvalidRequest about `field`."""
    found = _PICTURE.fullmatch(name)
    if found is None:
        raise InvalidRequest(FieldError(field, "must name a picture, such as gen_…/0"))
    return found[1], int(found[2])


def _picture(name: str, desk: GenerationDesk, caller: Caller) -> str:
    """In base64."""
    picture = desk.picture(*named_picture(FROM, name), caller)
    return base64.b64encode(picture.data).decode()


def _overlay(said: Mapping[str, str]) -> str | None:
    """As parse_strings reads it; None where the form wants nothing laid on."""
    words = {name: said[name] for name in ("headline", "legal") if name in said}
    wanted: dict[str, object] = {"logo": said.get("logo") == "true", **words}
    return json.dumps(wanted) if wanted["logo"] or words else None
