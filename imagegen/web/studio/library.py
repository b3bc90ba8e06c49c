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
from imagegen.web.studio.selection import MOST_PICTURES


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
        found = parts.library.page(query, caller)
        brands = {preset.id: preset.name for preset in parts.catalog.seen_by(caller)}
        drifts = {brand: one for brand, one in found.drifts.items() if brand in brands}
        return render_template(
            "library.html",
            page=found,
            said=said,
            brands=brands,
            drift=drifts.get(query.brand or ""),
            falling=[brand for brand, one in drifts.items() if one.drifts and not query.brand],
            most_chosen=MOST_PICTURES,
            knows_persons=parts.identities is not None,
        )

    return blueprint
