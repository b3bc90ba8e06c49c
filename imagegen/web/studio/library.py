"""Library: everything that was made, found again. It works without scripts."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from imagegen.library.query import LibraryQuery
from imagegen.parsing import read_strings
from imagegen.web.auth import current_caller
from imagegen.web.collaborators import Collaborators
from imagegen.web.studio.faults import tell_on_pages
from imagegen.web.studio.picture import register_picture


def library_blueprint(parts: Collaborators) -> Blueprint:
    """Looking and marking wake no renderer; rendering again does."""
    blueprint = Blueprint("library", __name__)
    tell_on_pages(blueprint, parts)
    blueprint.add_app_template_filter(lambda texts: [(one, one) for one in texts], "zip_self")
    blueprint.add_app_template_filter(
        lambda said, cursor: {**said, "cursor": cursor}, "with_cursor"
    )
    register_picture(blueprint, parts)

    @blueprint.get("/library")
    def page() -> ResponseReturnValue:
        said = {name: text for name, text in request.args.items() if text.strip()}
        query = read_strings(LibraryQuery, said)
        caller = current_caller()
        return render_template(
            "library.html",
            page=parts.library.page(query, caller),
            said=said,
            brands={preset.id: preset.name for preset in parts.catalog.seen_by(caller)},
            knows_persons=parts.identities is not None,
        )

    return blueprint
