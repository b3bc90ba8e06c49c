"""The caller at the other end of the connection: who he is, and whether he is still there."""

from __future__ import annotations

import socket
from collections.abc import Callable

from flask import Request


def caller_of(request: Request) -> str:
    """Whose turn it is among callers: the address that connected (as the proxy saw it)."""
    return request.remote_addr or ""


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
