"""Who asks: the one place where a request gets its caller."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Request, g, request

from imagegen.callers import Caller, forwarded_caller

Identify = Callable[[Request], Caller]


def register_auth(app: Flask, identify: Identify) -> None:
    """Before any route is called, the request has its caller."""

    def admit() -> None:
        g.caller = identify(request)

    app.before_request(admit)


def current_caller() -> Caller:
    """Whoever asked what is being answered on this thread."""
    caller: Caller = g.caller
    return caller


def by_address(request: Request) -> Caller:
    """Nobody in particular: the address that connected (as the proxy saw it) has its turns."""
    return Caller(request.remote_addr or "")


def as_forwarded(request: Request) -> Caller:
    """The caller at the other end of a service with the role `web`, which says so.

    For the role `render` alone, whose callers Cloud Run has checked: whoever is no invoker of it
    does not get here. One that is and lies gets another's turns and puts pictures among his.
    """
    return forwarded_caller(dict(request.headers)) or by_address(request)
