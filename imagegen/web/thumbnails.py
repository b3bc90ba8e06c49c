"""GET /thumbnails/{path}: stored pictures, small."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from imagegen.errors import UnknownImage
from imagegen.keeping import exists_for
from imagegen.library.thumbnails import CONTENT_TYPE, Thumbnails
from imagegen.web.auth import current_caller
from imagegen.web.images import FOR_EVER, picture_response


def thumbnails_blueprint(thumbnails: Thumbnails) -> Blueprint:
    """By the paths of the pictures, for those who may see these."""
    blueprint = Blueprint("thumbnails", __name__)

    @blueprint.get("/thumbnails/<path:path>")
    def thumbnail(path: str) -> ResponseReturnValue:
        try:
            data = thumbnails.read(path) if exists_for(current_caller(), path) else None
        except ValueError:  # a path that tries to leave the store
            data = None
        if data is None:
            raise UnknownImage("there is no such picture")
        return picture_response(data, CONTENT_TYPE, FOR_EVER)

    return blueprint
