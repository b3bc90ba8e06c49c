"""What people think of pictures: /generations/{id}/marks and each picture's own."""

from __future__ import annotations

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from imagegen.library.marks import Marking
from imagegen.parsing import read_json
from imagegen.web.auth import current_caller
from imagegen.web.collaborators import Collaborators
from imagegen.web.negotiation import json_body


def marks_blueprint(parts: Collaborators) -> Blueprint:
    """Looking and marking wake no renderer."""
    blueprint = Blueprint("marks", __name__)
    library = parts.library

    @blueprint.get("/generations/<generation_id>/marks")
    def marks(generation_id: str) -> ResponseReturnValue:
        found = library.marks(generation_id, current_caller())
        return Response(found.model_dump_json(), mimetype="application/json")

    @blueprint.post("/generations/<generation_id>/images/<int:index>/marks")
    def mark(generation_id: str, index: int) -> ResponseReturnValue:
        marking = read_json(Marking, json_body(request))
        marked = library.mark(generation_id, index, marking, current_caller())
        return Response(marked.model_dump_json(), mimetype="application/json")

    return blueprint
