"""The routes that OpenAI's clients call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel

from imagegen.errors import InvalidRequest
from imagegen.generation import GenerationRequest
from imagegen.parsing import read_json
from imagegen.presets import BrandPreset
from imagegen.web.auth import current_caller
from imagegen.web.caller import is_retry, still_there
from imagegen.web.collaborators import Collaborators
from imagegen.web.links import root_of, with_absolute_links
from imagegen.web.negotiation import idempotency_key, json_body
from imagegen.web.openai.bodies import EditsBody, GenerationsBody, ImagesBody
from imagegen.web.openai.failures import in_their_words
from imagegen.web.openai.pictures import mask_of, read_edit
from imagegen.web.openai.stream import EventBody, Kind, Storyteller
from imagegen.web.openai.translation import (
    drawable_sizes,
    to_edit,
    to_model,
    to_models,
    to_request,
    to_response,
    wants_links,
)
from imagegen.web.picture_room import picture_room

_LONGEST_NAME = 80  # of a brand that is none, in the error
Asked = TypeVar("Asked", bound=ImagesBody)


def openai_blueprint(parts: Collaborators) -> Blueprint:
    """Pictures and brands as OpenAI's clients ask for them."""
    openai = Blueprint("openai", __name__, url_prefix="/v1")

    @openai.post("/images/generations")
    def generations() -> ResponseReturnValue:
        root = root_of(request)
        asked = read_json(GenerationsBody, json_body(request))
        return _answer(parts, "image_generation", asked, root, to_request)

    @openai.post("/images/edits")
    def edits() -> ResponseReturnValue:
        root, room = root_of(request), picture_room()
        with room.reading(request):
            asked, sent = read_edit(request)
        room.hold(sent.image, sent.mask)

        def wanted(asked: EditsBody, preset: BrandPreset) -> GenerationRequest:
            with room.decoding:
                mask = None if sent.mask is None else mask_of(sent.mask)
            return to_edit(asked, preset, sent.image, mask)

        return _answer(parts, "image_edit", asked, root, wanted)

    @openai.get("/models")
    def models() -> ResponseReturnValue:
        return _json(to_models(parts.catalog.seen_by(current_caller())))

    @openai.get("/models/<model>")
    def model(model: str) -> ResponseReturnValue:
        return _json(to_model(parts.catalog.seen_by(current_caller()).get(model)))

    return openai


def _answer(
    parts: Collaborators,
    kind: Kind,
    asked: Asked,
    root: str,
    translate: Callable[[Asked, BrandPreset], GenerationRequest],
) -> Response:
    caller, wanted = current_caller(), still_there(request)
    preset = parts.catalog.seen_by(caller).get(asked.model[:_LONGEST_NAME])
    try:
        running = parts.generations.start(
            translate(asked, preset),
            caller,
            key=idempotency_key(request),
            previews=bool(asked.partial_images),
            is_retry=is_retry(request),
        )
        if asked.stream:
            return _stream(EventBody(running, wanted, Storyteller(kind, asked)))
        generation = running.result(wanted)
    except InvalidRequest as error:
        drawable = drawable_sizes(preset, parts.engine.status().model)
        raise in_their_words(error, drawable) from None
    files = None if wants_links(asked) else running.files()  # what nobody reads is not fetched
    return _json(to_response(asked, with_absolute_links(generation, root), files))


def _stream(body: EventBody) -> Response:
    response = Response(body, mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep events until there are many
    return response


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(exclude_none=True), mimetype="application/json")
