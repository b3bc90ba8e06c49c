"""serve: the port is bound at once, then gunicorn runs the application until it is told to stop."""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from imagegen import __version__
from imagegen.application import Application, Front
from imagegen.bootstrap import build_for_role
from imagegen.errors import InvalidSettings, OperatorError
from imagegen.gunicorn_conf import gunicorn_options
from imagegen.logs import LogStyle, configure_logs
from imagegen.settings import Settings, has_span_collector
from imagegen.spans import export_spans

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from gunicorn.workers.base import Worker

_BACKLOG = 2_048
STALLED_S = 20  # a client that neither sends nor takes a byte for so long has left
_log = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or Ctrl-C. Returns the exit code: 2 for an operator's mistake."""
    born = time.monotonic() - process_age_s()
    style = LogStyle(settings.log_format, settings.known_project)
    configure_logs(style)
    try:
        refuse_openness(settings)
        listener = listen(settings.host, settings.port)
        application = build_for_role(settings, style)
    except OperatorError as error:
        _log.critical("cannot start: %s", error)
        return 2
    try:
        Arbiter(_Server(application, listener, born)).run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def refuse_openness(settings: Settings) -> None:
    """Raises InvalidSettings where strangers could ask and nobody has said that they may."""
    if settings.auth_ways:
        if settings.allow_anyone == "yes":
            raise InvalidSettings(
                f"IMAGEGEN_AUTH={settings.auth} and IMAGEGEN_ALLOW_ANYONE=yes exclude each other"
            )
    elif settings.allow_anyone == "no" and not is_loopback(settings.host):
        raise InvalidSettings(
            f"other machines reach {settings.host}, and with IMAGEGEN_AUTH=none whoever does may "
            "use everything: say IMAGEGEN_AUTH=keys (docs/deploy.md has the other ways), or, where "
            "somebody else checks who comes, as Cloud Run does, IMAGEGEN_ALLOW_ANYONE=yes"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`. A name but `localhost` may mean anything."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def process_age_s() -> float:
    """How long this process has lived: Python's own start is part of the wait."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        up_s = float(Path("/proc/uptime").read_text().split()[0])
        return max(0.0, up_s - int(fields[19]) / os.sysconf("SC_CLK_TCK"))  # field 22, starttime
    except (OSError, ValueError, IndexError):
        return 0.0


def listen(host: str, port: int, stalled_s: int = STALLED_S) -> socket.socket:
    """A listening socket; connections wait in the kernel until there is a worker.

    Its connections inherit the bounds on a silent peer: gunicorn sets none, and each client that
    stops in the middle of a request would keep a thread for ever. Raises InvalidSettings, in one
    sentence, where that cannot be.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} of {host} is in use by another program; set PORT to another one"
        else:
            reason = f"cannot listen on port {port} of {host}: {error.strerror or error}"
        raise InvalidSettings(reason) from None
    for direction in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        listener.setsockopt(socket.SOL_SOCKET, direction, struct.pack("ll", stalled_s, 0))
    return listener


def url_of(listener: socket.socket) -> str:
    """What to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104  # it listens everywhere, so also here
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with our options. Until the fork all is plain data; threads start in the worker."""

    def __init__(
        self, application: Application | Front, listener: socket.socket, born: float
    ) -> None:
        """born: when the first process began, monotonic."""
        self.application, self._born = application, born
        self._max_queue = application.settings.max_queue
        self._url = url_of(listener)
        self._listener_fd = listener.detach()
        super().__init__()

    def load_config(self) -> None:
        for name, value in gunicorn_options(self._max_queue, self._listener_fd).items():
            self.cfg.set(name, value)
        self.cfg.set("post_worker_init", self._announce)

    def load(self) -> WSGIApplication:
        # before flask is imported: a model's load is the longer way
        self.application.start(time.monotonic() - self._born)
        if has_span_collector():
            export_spans(__version__)  # here, not before the fork: it has a thread
        from imagegen.web.app import create_app

        return create_app(self.application)

    def _announce(self, worker: Worker) -> None:
        _log.info("imagegen is at %s", self._url)
