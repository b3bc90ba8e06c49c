"""How gunicorn is run: one worker with many threads that wait, and an orderly end."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from imagegen.engine.scheduling import FULL
from imagegen.generation import RowLimits

# Every picture that waits or is in flight may have a request of its own, which keeps a thread
MOST_IN_FLIGHT = FULL * RowLimits.MOST
SPARE_THREADS = 32  # for probes, pages and pictures while every place is taken
KEPT_ALIVE_CONNECTIONS = 1_000
RECEIVE_S = 30.0  # for a request to arrive, its body included

# From SIGTERM on: those in flight get GRACE_S, then the render process stops and they are told;
# kept-alive connections linger for gthread's 2 s. After KILL_S the master kills what is left; Cloud
# Run would at 10 s.
GRACE_S = 6.0
KILL_S = 9


def gunicorn_options(max_queue: int, listener_fd: int) -> dict[str, Any]:
    """Options for gunicorn's Config. gunicorn takes over `listener_fd`, a listening socket."""
    threads = max_queue + MOST_IN_FLIGHT + SPARE_THREADS
    return {
        "bind": f"fd://{listener_fd}",
        "workers": 1,  # one render process owns the accelerator
        "worker_class": f"{__name__}.DrainingWorker",
        "threads": threads,
        "worker_connections": threads + KEPT_ALIVE_CONNECTIONS,
        "preload_app": False,
        "graceful_timeout": KILL_S,
        "timeout": 60,  # of the worker's main loop; a request may take longer
        "keepalive": 75,  # longer than load balancers keep theirs, so that they close first
        "control_socket_disable": True,
        "logger_class": f"{__name__}.QuietLogger",
        "proc_name": "imagegen",
    }


class QuietLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn speaks only of trouble, in our format; `web/headers.py` logs the answers."""

    def setup(self, cfg: Config) -> None:
        self._access_log_enabled = False
        self.error_log.setLevel(logging.WARNING)
        self.error_log.handlers = []
        self.error_log.propagate = True

    def access(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing: see above."""

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """A client that fell silent midway (`wsgi.STALLED_S`) is no trouble worth a traceback."""
        if not isinstance(sys.exc_info()[1], BlockingIOError):
            super().exception(msg, *args, **kwargs)


class BoundedConnection:
    """A client's socket, on which a request may trickle in for RECEIVE_S, byte by byte.

    `wsgi.STALLED_S` bounds each silence; a hundred clients that send a byte a second would still
    keep all threads. What is sent starts the time anew, for the next request.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._since: float | None = None  # the request's first byte
        self._over = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises BlockingIOError, as a silent client's socket does, when the time is over.

        From then on nothing more comes: gunicorn reads on before it closes, on its only main loop.
        """
        if flags:  # somebody only looks whether the client is still there
            return self._connection.recv(size, flags)
        if self._over:
            return b""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now > self._since + RECEIVE_S:
            self._over = True
            raise BlockingIOError("the request has not arrived in time")
        return self._connection.recv(size)

    def sendall(self, data: bytes) -> None:
        self._since = None
        self._connection.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gthread that goes on answering while it drains, so that probes and callers hear of it.

    gunicorn's own stops accepting at once; the kernel then takes connections that nobody answers.
    """

    _leaving = False

    def enqueue_req(self, conn: TConn) -> None:
        """A connection has something to read: by a thread, but not for ever."""
        if not isinstance(conn.sock, BoundedConnection):
            conn.sock = BoundedConnection(conn.sock)
        super().enqueue_req(conn)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: finish what is in flight."""
        self._leave(GRACE_S)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT (Ctrl-C) or SIGQUIT: tell those in flight, and go."""
        self._leave(0.0)

    def _leave(self, grace_s: float) -> None:
        if self._leaving and grace_s:
            return
        self._leaving = True
        self.max_keepalived = 0  # answers now say `Connection: close`
        # A signal handler must not wait for locks: a thread does.
        threading.Thread(target=self._drain, args=(grace_s,), daemon=True).start()

    def _drain(self, grace_s: float) -> None:
        try:
            self.app.application.drain(grace_s)
        finally:
            if not grace_s:
                self.method_queue.defer(self.murder_keepalived, True)
            super().handle_exit(0, None)
