"""GET /generations/{id}/images/{n}: a picture by its number, in the file format that is wanted."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field

from imagegen.encoding import recode
from imagegen.generation import OutputFormat
from imagegen.parsing import read_strings
from imagegen.web.auth import current_caller
from imagegen.web.collaborators import Collaborators
from imagegen.web.images import FOR_EVER, picture_response
from imagegen.web.picture_room import picture_room

_QUALITY = 92  # of files that are made of stored ones


class FileQuery(BaseModel):
    """Which file somebody wants."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output_format: OutputFormat | None = Field(
        default=None,
        validation_alias="as",
        description="`png`, `jpeg` or `webp`: another format than that of the stored file.",
    )
    clean: bool = Field(default=False, description="`1`: without what was laid on it.")
    download: bool = Field(default=False, description="`1`: to be saved, not shown.")


def picture_files_blueprint(parts: Collaborators) -> Blueprint:
    """Files keep the records that they carry. Reading wakes no renderer."""
    blueprint = Blueprint("picture_files", __name__)

    @blueprint.get("/generations/<generation_id>/images/<int:index>")
    def file(generation_id: str, index: int) -> ResponseReturnValue:
        query = read_strings(FileQuery, request.args)
        picture = parts.generations.picture(
            generation_id, index, current_caller(), clean=query.clean
        )
        data, stored = picture.data, picture.image.output_format
        wanted = query.output_format or stored
        if wanted is not stored:
            with picture_room().decoding:
                data = recode(data, wanted, _QUALITY)
        response = picture_response(data, wanted.content_type, FOR_EVER)
        if query.download:
            name = picture.name(wanted)
            response.headers.set("Content-Disposition", "attachment", filename=name)
        return response

    return blueprint
