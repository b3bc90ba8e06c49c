"""The other end of the connection: is it a page of ours, and is it still there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from flask import Request
from werkzeug.datastructures import Headers


def is_ours(headers: Headers) -> bool:
    """Whether a page of ours sent this, or a program: programs hold no visitor's rights."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("Origin")  # all there is from older browsers, and over plain HTTP
    return origin is None or urlsplit(origin).netloc == headers.get("Host")


def is_retry(request: Request) -> bool:
    """Whether the client says that it has asked the same before: OpenAI's own clients do."""
    return request.headers.get("X-Stainless-Retry-Count", "0") != "0"


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
