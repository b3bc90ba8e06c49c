"""POST /generate, and what became of it: /generations."""

from __future__ import annotations

import json

from flask import Blueprint, Response, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from imagegen.generation import Generation
from imagegen.generations.events import MAX_LISTENERS
from imagegen.generations.register import ListQuery
from imagegen.generations.running import Following
from imagegen.parsing import read_strings
from imagegen.web.answers import state_of
from imagegen.web.auth import current_caller
from imagegen.web.caller import is_retry, still_there
from imagegen.web.collaborators import Collaborators, GenerationDesk
from imagegen.web.event_stream import Streams, event_stream
from imagegen.web.links import root_of, with_absolute_links
from imagegen.web.negotiation import (
    idempotency_key,
    last_event_id,
    negotiate,
    read_request,
    wants_async,
)


def generations_blueprint(parts: Collaborators) -> Blueprint:
    """The routes on which pictures are asked for and found again."""
    blueprint = Blueprint("generations", __name__)
    desk = parts.generations
    _register_events(blueprint, parts)

    @blueprint.post("/generate")
    def generate() -> ResponseReturnValue:
        return _generate(desk)

    @blueprint.get("/generations")
    def generations() -> ResponseReturnValue:
        query = read_strings(ListQuery, request.args)
        listed = desk.list(current_caller(), query)
        records = [state_of(record, root_of(request)) for record in listed.records]
        return jsonify(generations=records, cursor=listed.cursor)

    @blueprint.get("/generations/<generation_id>")
    def generation(generation_id: str) -> ResponseReturnValue:
        return jsonify(_state(desk, generation_id))

    @blueprint.delete("/generations/<generation_id>")
    def cancel(generation_id: str) -> ResponseReturnValue:
        """202 where the instance that renders it has not heard of it yet."""
        record = desk.cancel(generation_id, current_caller())
        return jsonify(state_of(record, root_of(request))), 202 if record.is_open else 200

    return blueprint


def _register_events(blueprint: Blueprint, parts: Collaborators) -> None:
    streams = Streams(MAX_LISTENERS)

    @blueprint.get("/generations/<generation_id>/events")
    def events(generation_id: str) -> ResponseReturnValue:
        """204 tells a browser that nothing follows, so that it does not connect anew."""
        followed = parts.generations.find(generation_id, current_caller())
        root, after, is_there = root_of(request), last_event_id(request), still_there(request)
        if followed.is_over(after):
            nothing = Response(status=204)
            del nothing.headers["Content-Type"]
            return nothing
        streams.take()

        def left() -> None:
            streams.leave()
            followed.leave()

        return event_stream(
            followed,
            after=after,
            goes_on=lambda: is_there() and not parts.service.door.closed,
            left=left,
            root=root,
        )


def _generate(desk: GenerationDesk) -> Response:
    root = root_of(request)  # a Host that is none is refused before anything is rendered
    asked, kind = negotiate(request.accept_mimetypes, read_request(request))
    respond_async = wants_async(request)
    started = desk.start(
        asked,
        current_caller(),
        key=idempotency_key(request),
        lives_on=respond_async,
        previews=kind == "events",
        is_retry=is_retry(request),
    )
    is_there = still_there(request)
    if kind == "events":
        response = event_stream(started, after=0, goes_on=is_there, left=started.leave, root=root)
    elif respond_async:
        response = _accepted(desk, started)
    else:
        generation = with_absolute_links(started.result(is_there), root)
        return _picture(generation, started.files()) if kind == "picture" else _json(generation)
    if respond_async:
        response.headers["Preference-Applied"] = "respond-async"
    return response


def _accepted(desk: GenerationDesk, started: Following) -> Response:
    """It is in Storage. Under a key it may have ended long ago: then that is the answer."""
    state = _state(desk, started.id)
    response = jsonify(state)
    response.status_code = 202 if state["status"] in ("queued", "running") else 200
    response.headers["Location"] = url_for(".generation", generation_id=started.id)
    return response


def _state(desk: GenerationDesk, generation_id: str) -> dict[str, object]:
    record = desk.record(generation_id, current_caller())
    return state_of(record, root_of(request), desk.position(generation_id))


def _json(generation: Generation) -> Response:
    return Response(generation.model_dump_json(), mimetype="application/json")


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
