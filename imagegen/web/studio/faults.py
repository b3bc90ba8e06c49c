"""What goes wrong on the studio's pages is told on a page, with its status."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, render_template

from imagegen.errors import Busy, ImagegenError, Unauthenticated
from imagegen.web.collaborators import Collaborators
from imagegen.web.errors import failure_of, tell_failure
from imagegen.web.studio.shell import tell_on_page


def tell_on_pages(blueprint: Blueprint, parts: Collaborators) -> None:
    """Expected failures of its routes, for people."""
    blueprint.register_error_handler(ImagegenError, partial(_tell, parts))


def with_status_of(error: ImagegenError, page: str) -> Response:
    """A page that tells of a failure."""
    answer = tell_failure(error)  # its status and its Retry-After
    answer.set_data(page)
    answer.mimetype = "text/html"
    return answer


def _tell(parts: Collaborators, error: ImagegenError) -> Response:
    if isinstance(error, Unauthenticated):
        return tell_on_page(parts, failure_of(error))
    wait = "told.busy" if isinstance(error, Busy) else "told.fault"
    return with_status_of(error, render_template("fault.html", error=error, wait=wait))
