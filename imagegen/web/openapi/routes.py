"""GET /openapi.json, and /docs: the same as a page on which to try it."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, current_app, jsonify, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup, escape

from imagegen.web.auth import current_caller
from imagegen.web.collaborators import Collaborators
from imagegen.web.links import root_of
from imagegen.web.openapi.document import build_document
from imagegen.web.openapi.reading import sections

_CODE = re.compile(r"`([^`]*)`")


def openapi_blueprint(parts: Collaborators) -> Blueprint:
    """The document of the application that it is registered on."""
    openapi = Blueprint("openapi", __name__)
    openapi.add_app_template_filter(_with_code, "code")

    def document() -> dict[str, Any]:
        brands = [preset.id for preset in parts.catalog.seen_by(current_caller())]
        return build_document(
            current_app.url_map.iter_rules(),
            root=root_of(request),
            brand=next(iter(brands), "…"),
            ways=parts.settings.auth_ways,
        )

    @openapi.get("/openapi.json")
    def as_json() -> ResponseReturnValue:
        return jsonify(document())

    @openapi.get("/docs")
    def as_page() -> ResponseReturnValue:
        said = document()
        return render_template("docs.html", document=said, sections=sections(said))

    return openapi


def _with_code(text: str) -> Markup:
    """What stands between backticks is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped before
