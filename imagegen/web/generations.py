"""POST /generate, and what became of it: /generations."""

from __future__ import annotations

import json

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from imagegen.generation import Generation
from imagegen.generations.register import ListQuery
from imagegen.parsing import read_strings
from imagegen.web.answers import state_of
from imagegen.web.auth import current_caller
from imagegen.web.caller import is_retry, still_there
from imagegen.web.collaborators import Collaborators
from imagegen.web.links import root_of, with_absolute_links
from imagegen.web.negotiation import negotiate, read_request


def generations_blueprint(parts: Collaborators) -> Blueprint:
    """The routes on which pictures are asked for and found again."""
    blueprint = Blueprint("generations", __name__)
    desk = parts.generations

    @blueprint.post("/generate")
    def generate() -> ResponseReturnValue:
        root = root_of(request)  # a Host that is none is refused before anything is rendered
        asked, as_picture = negotiate(request.accept_mimetypes, read_request(request))
        started = desk.start(asked, current_caller(), is_retry=is_retry(request))
        generation = with_absolute_links(started.result(still_there(request)), root)
        if as_picture:
            return _picture(generation, started.files())
        return Response(generation.model_dump_json(), mimetype="application/json")

    @blueprint.get("/generations")
    def generations() -> ResponseReturnValue:
        query = read_strings(ListQuery, request.args)
        listed = desk.list(current_caller(), query)
        records = [state_of(record, root_of(request)) for record in listed.records]
        return jsonify(generations=records, cursor=listed.cursor)

    @blueprint.get("/generations/<generation_id>")
    def generation(generation_id: str) -> ResponseReturnValue:
        record = desk.record(generation_id, current_caller())
        return jsonify(state_of(record, root_of(request), desk.position(generation_id)))

    return blueprint


def _picture(generation: Generation, files: list[bytes]) -> Response:
    """The file itself; what the JSON answer would have said is in the headers."""
    [image], [data] = generation.images, files
    response = Response(data, content_type=image.content_type)
    response.set_etag(image.sha256)
    response.headers["Content-Location"] = image.url
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Generation-Id"] = generation.id
    response.headers["X-Seed"] = str(image.seed)
    if generation.warnings:
        response.headers["X-Warnings"] = json.dumps(generation.warnings)
    return response
