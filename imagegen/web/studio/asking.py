"""The studio's form as a request: the fields of POST /generate, and pictures to start from."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from contextlib import nullcontext

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from imagegen.callers import Caller
from imagegen.errors import BodyTooLarge, FieldError, InvalidRequest
from imagegen.generation import GenerationRequest
from imagegen.parsing import parse_strings
from imagegen.web.collaborators import GenerationDesk
from imagegen.web.picture_room import MAX_BODY_BYTES, picture_room

KIT = ("logo", "headline", "legal")  # the fields of `overlay`
FROM = "from"  # "gen_…/0": one of the caller's pictures, in place of `init_image`
FILES = "multipart/form-data"
PICTURES = ("init_image", "mask")  # files; one that is sent counts more than `from`
SHAPE, OWN = "shape", "own"  # that of the picture to start from, in place of the format's
_PICTURE = re.compile(r"(gen_[0-9a-f]{20})/([0-9]{1,2})")


def form_fields() -> dict[str, str]:
    """What the form says in words; an empty field says nothing, but the prompt is then missed.

    Raises BodyTooLarge, and QueueFull where there is no room for pictures.
    """
    try:
        with picture_room().reading(request) if request.mimetype == FILES else nullcontext():
            request.max_form_memory_size = MAX_BODY_BYTES  # files do not count
            return {k: v for k, v in request.form.items() if v.strip() or k == "prompt"}
    except RequestEntityTooLarge:
        raise BodyTooLarge("that is too much text, or too large a picture") from None


def asked_of(said: Mapping[str, str], desk: GenerationDesk, caller: Caller) -> GenerationRequest:
    """`said`, and the files of the form that is being answered.

    Raises CallerError, StorageUnavailable, and QueueFull where there is no room for pictures.
    """
    fields = {name: text for name, text in said.items() if name not in (FROM, SHAPE, *KIT)}
    if (overlay := _overlay(said)) is not None:
        fields["overlay"] = overlay
    if FROM in said:
        fields["init_image"] = _picture(said[FROM], desk, caller)
    with picture_room().reading(request):
        fields |= {name: text for name in PICTURES if (text := _file(name))}
        if "init_image" not in fields:
            fields.pop("strength", None)  # the form always says one
        elif said.get(SHAPE) == OWN:
            fields.pop("format", None)
        asked = parse_strings(fields)
    picture_room().hold(asked.init_image, asked.mask)
    return asked


def start_of(said: Mapping[str, str]) -> tuple[str, int] | None:
    """The picture that the form names to start from, if it names one."""
    found = _PICTURE.fullmatch(said.get(FROM, ""))
    return None if found is None else (found[1], int(found[2]))


def named_picture(field: str, name: str) -> tuple[str, int]:
    """A generation's id and which of its pictures. Raises InvalidRequest about `field`."""
    found = _PICTURE.fullmatch(name)
    if found is None:
        raise InvalidRequest(FieldError(field, "must name a picture, such as gen_…/0"))
    return found[1], int(found[2])


def _picture(name: str, desk: GenerationDesk, caller: Caller) -> str:
    """In base64."""
    picture = desk.picture(*named_picture(FROM, name), caller, clean=True)
    return base64.b64encode(picture.data).decode()


def _file(name: str) -> str:
    """In base64; "" where nothing was sent, as browsers send a file without a name then."""
    file = request.files.get(name)
    return "" if file is None else base64.b64encode(file.read()).decode()


def _overlay(said: Mapping[str, str]) -> str | None:
    """As parse_strings reads it; None where the form wants nothing laid on."""
    words = {name: said[name] for name in ("headline", "legal") if name in said}
    wanted: dict[str, object] = {"logo": said.get("logo") == "true", **words}
    return json.dumps(wanted) if wanted["logo"] or words else None
