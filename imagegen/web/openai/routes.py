"""The routes that OpenAI's clients call."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from imagegen.errors import InvalidRequest
from imagegen.generation import GeneratedImage, Generation
from imagegen.parsing import read_json
from imagegen.web.auth import current_caller
from imagegen.web.caller import still_there
from imagegen.web.collaborators import Collaborators
from imagegen.web.links import root_of, with_absolute_links
from imagegen.web.negotiation import json_body
from imagegen.web.openai.bodies import GenerationsBody, ImagesBody
from imagegen.web.openai.failures import in_their_words
from imagegen.web.openai.translation import (
    drawable_sizes,
    to_model,
    to_models,
    to_request,
    to_response,
    wants_links,
)


def openai_blueprint(parts: Collaborators) -> Blueprint:
    """Pictures and brands as OpenAI's clients ask for them."""
    openai = Blueprint("openai", __name__, url_prefix="/v1")

    @openai.post("/images/generations")
    def generations() -> ResponseReturnValue:
        root = root_of(request)
        asked = read_json(GenerationsBody, json_body(request))
        files: dict[str, bytes] = {}
        generation = _generate(parts, asked, files)
        return _json(to_response(asked, with_absolute_links(generation, root), files))

    @openai.get("/models")
    def models() -> ResponseReturnValue:
        return _json(to_models(parts.catalog.seen_by(current_caller())))

    @openai.get("/models/<model>")
    def model(model: str) -> ResponseReturnValue:
        return _json(to_model(parts.catalog.seen_by(current_caller()).get(model)))

    return openai


def _generate(parts: Collaborators, asked: ImagesBody, files: dict[str, bytes]) -> Generation:
    """Fills `files` (storage URI -> bytes) unless links are wanted: then nobody reads them."""

    def keep(image: GeneratedImage, data: bytes) -> None:
        files[image.storage_uri] = data

    preset = parts.catalog.seen_by(current_caller()).get(asked.model)
    unread: dict[str, Any] = {} if wants_links(asked) else {"on_image": keep}
    try:
        return parts.service.generate(
            to_request(asked, preset),
            caller=current_caller(),
            wanted=still_there(request),
            **unread,
        )
    except InvalidRequest as error:
        drawable = drawable_sizes(preset, parts.engine.status().model)
        raise in_their_words(error, drawable) from None


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(exclude_none=True), mimetype="application/json")
