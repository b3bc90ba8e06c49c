"""Line: the way to the renderer; Call: one request on it, which can be given up at any moment."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from imagegen.errors import ImagegenError, InvalidSettings, ServiceUnreachable
from imagegen.front.identity import IdTokens
from imagegen.problems import ASK_AGAIN_S
from imagegen.tracing import onward_headers

_CONNECT_S = 10.0


@dataclass(frozen=True)
class Answer:
    """What the renderer, or something in front of it, said."""

    status: int
    body: bytes
    retry_after: str | None


class Line:
    """A connection for each call, so that closing one means that nobody wants its answer."""

    def __init__(self, url: str, tokens: IdTokens | None = None) -> None:
        """url: the renderer's, without a path. Tokens are needed by https alone, and made for it.

        Raises InvalidSettings.
        """
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            raise _no_address(url) from None
        if parts.scheme not in ("http", "https") or not self._host or parts.path.strip("/"):
            raise _no_address(url)
        self._is_safe = parts.scheme == "https"
        self.name = parts.netloc
        self._tokens = tokens or IdTokens(f"https://{parts.netloc}")

    def connect(self, answer_s: float) -> http.client.HTTPConnection:
        """An open connection, on which `answer_s` seconds of silence are an error."""
        make = http.client.HTTPSConnection if self._is_safe else http.client.HTTPConnection
        connection = make(self._host, self._port, timeout=_CONNECT_S)
        connection.connect()
        connection.sock.settimeout(answer_s)
        return connection

    def identity(self) -> dict[str, str]:
        """The header that Cloud Run's own check reads; over plain HTTP a token tells too many.

        Not `Authorization`: that one stays the application's.
        """
        if not self._is_safe:
            return {}
        return {"X-Serverless-Authorization": f"Bearer {self._tokens.token()}"}


class Call:
    """One request. `start` runs it on a thread of its own, so that who waits can leave."""

    def __init__(
        self,
        line: Line,
        path: str,
        *,
        answer_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> None:
        """method: by default GET, or with a body, which is JSON, POST.

        It belongs to the request that this thread serves, whichever thread runs it.
        """
        self._line = line
        self._path = path
        self._answer_s = answer_s
        self._body = body
        self._headers = {**onward_headers(), **(headers or {})}
        self._method = method or ("GET" if body is None else "POST")
        self._lock = threading.Lock()  # guards the next two
        self._socket: socket.socket | None = None
        self._given_up = False
        self.sent = threading.Event()  # the renderer has it all, or never will

    def start(self) -> Future[Answer]:
        """Returns at once. The future ends with the answer or with ServiceUnreachable."""
        future: Future[Answer] = Future()

        def run() -> None:
            try:
                future.set_result(self.run())
            except BaseException as error:  # whoever waits is always told
                future.set_exception(error)

        threading.Thread(target=run, name="call", daemon=True).start()
        return future

    def run(self) -> Answer:
        """Waits for the answer on this thread. Raises ServiceUnreachable."""
        with self.opened() as response:
            return read_answer(response)

    @contextmanager
    def opened(self) -> Iterator[http.client.HTTPResponse]:
        """The answer, to be read while it comes. Raises ServiceUnreachable, within too."""
        try:
            with self._connected() as response:
                yield response
        except ImagegenError:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ServiceUnreachable(
                f"the renderer at {self._line.name} does not answer: {reason}", ASK_AGAIN_S
            ) from None
        finally:
            self.sent.set()

    def expect_within(self, silence_s: float) -> None:
        """From now on so long a silence is an error."""
        with self._lock:
            if self._socket is not None:
                self._socket.settimeout(silence_s)

    def give_up(self) -> None:
        """Closes the connection: the renderer sees that nobody waits any more."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPResponse]:
        identity = self._line.identity()
        with contextlib.closing(self._line.connect(self._answer_s)) as connection:
            with self._lock:
                if self._given_up:
                    raise ConnectionAbortedError("given up")
                self._socket = connection.sock
            try:
                with self._ask(connection, identity) as response:
                    yield response
            finally:
                with self._lock:
                    self._socket = None

    def _ask(
        self, connection: http.client.HTTPConnection, identity: dict[str, str]
    ) -> http.client.HTTPResponse:
        headers = {"User-Agent": "imagegen", "Connection": "close", **self._headers, **identity}
        if self._body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(self._method, self._path, self._body, headers)
        self.sent.set()
        return connection.getresponse()


def read_answer(response: http.client.HTTPResponse) -> Answer:
    """All of it."""
    return Answer(response.status, response.read(), response.getheader("Retry-After"))


def _no_address(url: str) -> InvalidSettings:
    return InvalidSettings(
        f"IMAGEGEN_RENDER_URL is {url!r}; say the renderer's address, such as "
        "https://imagegen-….run.app, without a path"
    )
