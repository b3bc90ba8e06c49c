"""GET /images/{path}: stored pictures, when links lead through this service."""

from __future__ import annotations

import hashlib

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from imagegen.errors import UnknownImage
from imagegen.generation import OutputFormat
from imagegen.keeping import exists_for
from imagegen.storage import Storage, StoredObject
from imagegen.web.auth import current_caller

_PICTURE_TYPES = {output_format.content_type for output_format in OutputFormat}
FOR_EVER = "public, max-age=31536000, immutable"  # a path is written once


def images_blueprint(storage: Storage) -> Blueprint:
    """Reads pictures, and nothing else, from `storage`."""
    images = Blueprint("images", __name__)

    @images.get("/images/<path:path>")
    def image(path: str) -> ResponseReturnValue:
        stored = _picture(storage, path)
        response = picture_response(stored.data, stored.content_type, FOR_EVER)
        if request.args.get("download") == "1":
            name = path.rpartition("/")[2]
            response.headers.set("Content-Disposition", "attachment", filename=name)
        return response

    return images


def picture_response(data: bytes, content_type: str, cache_control: str) -> Response:
    """A file that need not be sent to whoever has it, whole or the range that was asked for."""
    response = Response(data, content_type=content_type)
    response.set_etag(hashlib.sha256(data).hexdigest())
    response.headers["Cache-Control"] = cache_control
    response.make_conditional(request, accept_ranges=True, complete_length=len(data))
    return response


def _picture(storage: Storage, path: str) -> StoredObject:
    try:
        stored = storage.read(path) if exists_for(current_caller(), path) else None
    except ValueError:  # a path that tries to leave the store tells nothing about what is there
        stored = None
    if stored is None or stored.content_type not in _PICTURE_TYPES:
        raise UnknownImage("there is no such picture")
    return stored
