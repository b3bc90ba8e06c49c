"""The pictures of an edit, from a form or from JSON, and OpenAI's mask as ours."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Request
from PIL import Image
from werkzeug.datastructures import FileStorage

from imagegen.edits import SentPicture, upright
from imagegen.errors import FieldError, InvalidRequest
from imagegen.parsing import IS_REQUIRED, read_json, read_strings
from imagegen.web.negotiation import picture_body
from imagegen.web.openai.bodies import EditsBody, EditsJson

FORM = "multipart/form-data"
_PICTURES = ("image", "image[]", "mask")  # the openai client says image[] for a list
_HALF = 128  # of alpha: less is transparent


@dataclass(frozen=True)
class EditedPictures:
    """What an edit starts from. The mask is OpenAI's: what is transparent is repainted."""

    image: SentPicture
    mask: SentPicture | None


def read_edit(request: Request) -> tuple[EditsBody, EditedPictures]:
    """What a form or a JSON body asks for; to be read within PictureRoom.reading.

    Only the pictures' heads are looked at. Raises CallerError.
    """
    if request.mimetype == FORM:
        return _read_form(request)
    asked = read_json(EditsJson, picture_body(request))
    return asked, EditedPictures(_only(asked.all_images), asked.mask)


def mask_of(mask: SentPicture) -> SentPicture:
    """The mask in our way: white where this one is transparent, black elsewhere.

    Decodes it: not for many at a time. Raises InvalidRequest.
    """
    picture = upright("mask", mask)
    if picture.mode != "RGBA":
        raise InvalidRequest(
            FieldError("mask", "has no alpha channel; what shall be repainted must be transparent")
        )
    alpha = picture.getchannel("A")
    repainted = alpha.point([255 if level < _HALF else 0 for level in range(256)])
    if repainted.getbbox() is None:
        raise InvalidRequest(
            FieldError("mask", "is nowhere transparent; what is transparent is repainted")
        )
    return _as_file(repainted)


def _read_form(request: Request) -> tuple[EditsBody, EditedPictures]:
    said = request.form.to_dict()
    if texts := [FieldError(name, "must be a file") for name in _PICTURES if name in said]:
        raise InvalidRequest(*texts)
    for name in request.files:
        if name not in _PICTURES:
            said.setdefault(name, "")  # told as what nobody knows
    asked = read_strings(EditsBody, said)
    images = [*request.files.getlist("image"), *request.files.getlist("image[]")]
    masks = request.files.getlist("mask")
    return asked, EditedPictures(
        _only([_sent("image", file) for file in images[:2]]),
        _only([_sent("mask", file) for file in masks[:2]], "mask") if masks else None,
    )


def _only(pictures: Sequence[SentPicture], name: str = "image") -> SentPicture:
    if not pictures:
        raise InvalidRequest(FieldError(name, IS_REQUIRED))
    if len(pictures) > 1:
        raise InvalidRequest(FieldError(name, "must be one picture; several are not combined here"))
    return pictures[0]


def _sent(name: str, file: FileStorage) -> SentPicture:
    try:
        return SentPicture.of_file(file.read())
    except ValueError as error:
        raise InvalidRequest(FieldError(name, str(error))) from None


def _as_file(picture: Image.Image) -> SentPicture:
    file = io.BytesIO()
    picture.save(file, format="PNG", compress_level=1)
    return SentPicture.of_file(file.getvalue())
