"""Who asks: the one place where a request gets its caller, or is refused for want of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import Forbidden

from imagegen.callers import NOBODY, Caller, Identities, Shown, forwarded_caller
from imagegen.callers.rate import TokenBuckets
from imagegen.errors import RateLimited
from imagegen.web.caller import is_ours
from imagegen.web.collaborators import Collaborators

FREE = frozenset({"ops.livez", "ops.readyz", "static"})  # probes have no keys; files tell nothing
_UNCOUNTED = FREE | {"ops.warm", "studio.reading", "a1111.interrupt", "marks.mark", "library.mark"}
_QUEUE = {"tasks.deliver", "tasks.call"}  # whose own check knows who may; there is no caller
_READING = ("GET", "HEAD", "OPTIONS")

Identify = Callable[[Request], Caller]


def register_auth(app: Flask, parts: Collaborators) -> None:
    """Before any route is called, known or not, the request has its caller."""
    identify = _way_of(parts)
    limit = _limit(parts.settings.requests_per_minute)

    def admit() -> None:
        is_known = request.endpoint in FREE or request.endpoint in _QUEUE
        g.caller = NOBODY if is_known else identify(request)
        if request.method in _READING or request.endpoint in _QUEUE:
            return
        # Browsers add what they know by themselves, whichever page asks: a typed key, a cookie.
        if not is_ours(request.headers):
            raise Forbidden("this was sent by another site")
        if request.endpoint not in _UNCOUNTED:
            limit(g.caller)

    app.before_request(admit)
    if parts.identities is not None:
        app.after_request(partial(_finish, parts.identities))


def current_caller() -> Caller:
    """Whoever asked what is being answered on this thread."""
    caller: Caller = g.caller
    return caller


def _finish(identities: Identities, response: Response) -> Response:
    """How to say who one is; and what one caller may see is not for a cache that others share."""
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        is_page = request.method == "GET" and "text/html" in request.accept_mimetypes.values()
        scheme = "Basic" if is_page and identities.takes_keys else "Bearer"
        response.headers["WWW-Authenticate"] = f'{scheme} realm="imagegen"'
    kept = response.headers.get("Cache-Control", "")
    if kept.startswith("public") and request.endpoint not in FREE:
        response.headers["Cache-Control"] = kept.replace("public", "private", 1)
    return response


def _way_of(parts: Collaborators) -> Identify:
    identities = parts.identities
    if identities is not None:
        return lambda request: identities.caller(_shown(request))
    return _as_forwarded if parts.settings.role == "render" else _by_address


def _by_address(request: Request) -> Caller:
    """Nobody in particular: the address that connected (as the proxy saw it) has its turns."""
    return Caller(request.remote_addr or "")


def _as_forwarded(request: Request) -> Caller:
    """The caller at the other end of a service with the role `web`, which says so.

    For the role `render` alone, whose callers Cloud Run has checked: whoever is no invoker of it
    does not get here. One that is and lies gets another's turns and puts pictures among his.
    """
    return forwarded_caller(dict(request.headers)) or _by_address(request)


def _shown(request: Request) -> Shown:
    """A key may be a header of its own, a bearer token, or the password of any user."""
    said = request.authorization
    kind = "" if said is None else said.type
    password = said.password if said is not None and kind == "basic" else None
    token = said.token if said is not None and kind == "bearer" else None
    return Shown(
        key=request.headers.get("X-API-Key", "") or password or "",
        bearer=token or "",
        assertion=request.headers.get("X-Goog-IAP-JWT-Assertion", ""),
    )


def _limit(per_minute: int | str) -> Callable[[Caller], None]:
    """Raises RateLimited for a caller who asks too often."""
    if isinstance(per_minute, str):
        return lambda _caller: None
    buckets, lock = TokenBuckets(per_minute), threading.Lock()

    def limit(caller: Caller) -> None:
        with lock:
            wait_s = buckets.take(caller.name, time.monotonic())
        if wait_s:
            raise RateLimited(f"{per_minute} requests a minute are allowed", wait_s)

    return limit
