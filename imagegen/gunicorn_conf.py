"""How gunicorn is run: one worker with many threads that wait, and an orderly end."""

from __future__ import annotations

import logging
import sys
import threading
from types import FrameType
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

SPARE_THREADS = 32  # for probes, pages and pictures while every place in the queue is waited for
KEPT_ALIVE_CONNECTIONS = 1_000

# From SIGTERM on: those in flight get GRACE_S, then the render process stops and they are told;
# kept-alive connections linger for gthread's 2 s. After KILL_S the master kills what is left; Cloud
# Run would at 10 s.
GRACE_S = 6.0
KILL_S = 9


def gunicorn_options(max_queue: int, listener_fd: int) -> dict[str, Any]:
    """Options for gunicorn's Config. gunicorn takes over `listener_fd`, a listening socket."""
    threads = max_queue + SPARE_THREADS
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


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gthread that goes on answering while it drains, so that probes and callers hear of it.

    gunicorn's own stops accepting at once; the kernel then takes connections that nobody answers.
    """

    _leaving = False

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
