"""How gunicorn is run: one worker with many threads that wait, and an orderly end."""

from __future__ import annotations

import logging
import select
import socket
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from imagegen.engine.scheduling import FULL
from imagegen.generation import RowLimits
from imagegen.generations.events import MAX_LISTENERS
from imagegen.last_call import last_call

# Every picture that waits or is in flight may have a request of its own, which keeps a thread
MOST_IN_FLIGHT = FULL * RowLimits.MOST
SPARE_THREADS = 32  # for probes, pages and pictures while every place is taken
KEPT_ALIVE_CONNECTIONS = 1_000
RECEIVE_S = 30.0  # for a request to arrive, its body included; more where much arrives:
SLOWEST_BYTES_PER_S = 128 * 1024  # a picture of 20 MiB over a slow line

# Seconds from SIGTERM on. Until PICTURES_S pictures may be rendered, less where the store is slow;
# until ANSWERS_S what was rendered is stored and everybody is told; until LEFT_S connections are
# let go. At KILL_S, a whole number to gunicorn, the master kills what is left. Cloud Run would at
# 10 s.
PICTURES_S = 8.0
ANSWERS_S = 8.4
LEFT_S = 8.6
KILL_S = 9
_LOOK_S = 0.1  # how often a worker that leaves looks whether somebody has overstayed
_ARRIVING_S = 0.05  # for the last ones to get through, who had begun to
_PIECES_DISCARDED = 16  # of 4 KiB, of what a client says after his request
LINGER_S = 2.0  # for a client to close his end, so that he has surely read what was sent


def gunicorn_options(max_queue: int, listener_fd: int) -> dict[str, Any]:
    """Options for gunicorn's Config. gunicorn takes over `listener_fd`, a listening socket."""
    threads = max_queue + MOST_IN_FLIGHT + MAX_LISTENERS + SPARE_THREADS
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

    What comes at SLOWEST_BYTES_PER_S or faster does not trickle.

    `wsgi.STALLED_S` bounds each silence; a hundred clients that send a byte a second would still
    keep all threads. What is sent starts the time anew, for the next request.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._since: float | None = None  # the request's first byte
        self._received_bytes = 0  # of the request
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
        if now > self._since + RECEIVE_S + self._received_bytes / SLOWEST_BYTES_PER_S:
            self._over = True
            raise BlockingIOError("the request has not arrived in time")
        data = self._connection.recv(size)
        self._received_bytes += len(data)
        return data

    def part(self, linger_s: float) -> None:
        """Everything is said: waits for the client to close, as long as that takes him.

        gunicorn would do that on its only main loop, where nobody else is served meanwhile.
        """
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
            until = time.monotonic() + linger_s
            for _ in range(_PIECES_DISCARDED):
                self._connection.settimeout(max(0.001, until - time.monotonic()))
                if not self._connection.recv(4_096):
                    break
        self._over = True

    def sendall(self, data: bytes) -> None:
        self._since, self._received_bytes = None, 0
        self._connection.sendall(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gthread that goes on answering while it drains, so that probes and callers hear of it.

    gunicorn's own stops accepting at once; the kernel then takes connections that nobody answers,
    and resets them when the port closes at last.
    """

    _leaves_at: float | None = None  # monotonic; None while nobody has said so
    _port_closed = False

    def enqueue_req(self, conn: TConn) -> None:
        """A connection has something to read: by a thread, but not for ever."""
        if not isinstance(conn.sock, BoundedConnection):
            conn.sock = BoundedConnection(conn.sock)
        super().enqueue_req(conn)

    def accept(self, listener: Any) -> None:
        """gunicorn's, for a port that is open: it may have been closed since the loop last looked.

        Its event then waits behind the closing one, and to accept would end the worker.
        """
        if not self._port_closed:
            super().accept(listener)

    def handle(self, conn: TConn) -> Any:
        """On the request's thread. False: the connection is done with."""
        kept = super().handle(conn)
        if kept is False:
            left_s = LINGER_S if self._leaves_at is None else self._leaves_at - time.monotonic()
            conn.sock.part(min(LINGER_S, left_s))
        return kept

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: finish what is in flight."""
        if self._leaves_at is None:
            self._leave(LEFT_S, PICTURES_S, ANSWERS_S)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT (Ctrl-C) or SIGQUIT: tell those in flight, and go."""
        self._leave(0.0, 0.0, 0.0)

    def _leave(self, left_s: float, pictures_s: float, answers_s: float) -> None:
        self._leaves_at = time.monotonic() + left_s
        self.max_keepalived = 0  # answers now say `Connection: close`
        # A signal handler must not wait for locks: a thread does.
        threading.Thread(target=self._drain, args=(pictures_s, answers_s), daemon=True).start()

    def _drain(self, pictures_s: float, answers_s: float) -> None:
        try:
            self.app.application.drain(pictures_s, answers_s)
        finally:
            for listener in self.sockets:
                last_call(listener)
            time.sleep(_ARRIVING_S)
            self.method_queue.defer(self._close_port)

    def _close_port(self) -> None:
        """On the main loop. Whoever got through before has a connection, and will be answered."""
        if not self.alive:
            return
        for listener in self.sockets:
            while _somebody_waits(listener):
                self.accept(listener)
        self.set_accept_enabled(False)
        self._port_closed = True
        for listener in self.sockets:
            listener.close()
        super().handle_exit(0, None)

    def _cap_keepalive(self, deadline: float) -> None:
        """gunicorn's: idle connections may stay until `deadline`, as long as there is time."""
        until = deadline if self._leaves_at is None else min(deadline, self._leaves_at)
        super()._cap_keepalive(until)
        for conn in self.pending_conns:  # opened ahead by a browser, and never used
            conn.timeout = min(conn.timeout, until)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(timeout if self.alive else min(timeout, _LOOK_S))


def _somebody_waits(listener: Any) -> bool:
    """Whether there is a connection to accept."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
