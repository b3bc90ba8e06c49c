"""The caller at the other end of the connection: who he is, and whether he is still there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Request
from werkzeug.datastructures import Headers

from imagegen.generation import CALLER_HEADER

_LONGEST_CALLER = 100  # characters; an address has 45
CallerOf = Callable[[Request], str]


def address_of(request: Request) -> str:
    """Whose turn it is among callers: the address that connected (as the proxy saw it)."""
    return request.remote_addr or ""


def forwarded_caller(request: Request) -> str:
    """The caller at the other end of a service with the role `web`, which says so.

    For the role `render` alone, whose callers Cloud Run has checked: whoever is no invoker of it
    does not get here. One that is and lies gets more turns; no right depends on who it is.
    """
    return request.headers.get(CALLER_HEADER, "")[:_LONGEST_CALLER] or address_of(request)


def is_ours(headers: Headers) -> bool:
    """Whether a page of ours sent this, or a program: programs hold no visitor's rights."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("Origin")  # all there is from older browsers, and over plain HTTP
    return origin is None or urlsplit(origin).netloc == headers.get("Host")


def still_there(request: Request) -> Callable[[], bool]:
    """A question to ask now and then while `request` is being answered.

    gunicorn hands out the connection's socket. Peeking sees the end of the stream as soon as the
    client closed it, and takes nothing away. Half a close counts as leaving.
    """
    connection: socket.socket | None = request.environ.get("gunicorn.socket")

    def wanted() -> bool:
        if connection is None:
            return True
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    return wanted
