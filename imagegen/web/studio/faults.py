"""What goes wrong on the studio's pages is told on a page, with its status, in its language."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from flask import Blueprint, Response, render_template, request

from imagegen.errors import ImagegenError
from imagegen.web.collaborators import Collaborators
from imagegen.web.errors import Failure, failure_of, tell_failure, tell_problem
from imagegen.web.studio.shell import current_texts
from imagegen.web.studio.told import sentences_of


def tell_on_pages(blueprint: Blueprint, parts: Collaborators) -> None:
    """Expected failures of its routes, for people."""
    blueprint.register_error_handler(ImagegenError, partial(_tell, parts))


def with_status_of(error: ImagegenError, page: str) -> Response:
    """A page that tells of a failure."""
    answer = tell_failure(error)  # its status and its Retry-After
    answer.set_data(page)
    answer.mimetype = "text/html"
    return answer


def fault_page(failure: Failure, advice: str) -> str:
    """advice: a text's key."""
    sentences = sentences_of(failure, current_texts())
    return render_template("fault.html", sentences=sentences, advice=advice)


def tell_on_page(parts: Collaborators, failure: Failure) -> Response:
    """What nobody expected, and whatever else goes wrong at a page's address: programs that ask
    there get a problem, as elsewhere. Whoever has to say who he is first sees how.
    """
    if failure.status == HTTPStatus.UNAUTHORIZED or _wants_a_page():
        return _answer(parts, failure)
    return tell_problem(failure)


def tell_nowhere(parts: Collaborators, failure: Failure) -> Response:
    """An address that leads nowhere, told to whoever has typed it."""
    leads_nowhere = failure.status == HTTPStatus.NOT_FOUND and request.url_rule is None
    return tell_on_page(parts, failure) if leads_nowhere else tell_problem(failure)


def _wants_a_page() -> bool:
    return "text/html" in request.accept_mimetypes.values()


def _tell(parts: Collaborators, error: ImagegenError) -> Response:
    failure = failure_of(error)
    answer = _answer(parts, failure)
    answer.headers.extend(failure.headers)
    return answer


def _answer(parts: Collaborators, failure: Failure) -> Response:
    if failure.status == HTTPStatus.UNAUTHORIZED:
        if parts.identities is None:
            return tell_problem(failure)
        way = "keys" if parts.identities.takes_keys else "account"
        page = render_template("notice.html", notice=f"notice.{way}")
    else:
        page = fault_page(
            failure, "told.busy" if "Retry-After" in failure.headers else "told.fault"
        )
    return Response(page, failure.status, mimetype="text/html")
