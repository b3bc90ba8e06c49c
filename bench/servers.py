"""Both servers as processes of their own on a free loopback port, asked as any client would."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import numpy as np
from PIL import Image

from bench.alike import Pixels
from bench.machine import REPOSITORY
from bench.stage import Asked, Stage, shares

START_S = 600.0  # a large model on a slow disk
END_S = 60.0  # gunicorn waits half of it for requests in flight
ANSWER_S = 600.0


class Server:
    """A server that answers POST /generate with a PNG."""

    def __init__(self, port: int) -> None:
        self._port = port

    def png(self, asked: Asked) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            headers = {"Content-Type": "application/json", "Accept": "image/png"}
            connection.request("POST", "/generate", json.dumps(asked.to_json()), headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body[:500].decode(errors='replace')}")
        return body

    def first_png(self, asked: Asked) -> bytes:
        """Asks again for as long as nobody listens yet."""
        until = time.monotonic() + START_S
        while True:
            try:
                return self.png(asked)
            except ConnectionError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def start_s(self) -> dict[str, float]:
        """What the phases of its start took; the naive server does not tell."""
        status, body = self._get("/readyz")
        spent: dict[str, float] = json.loads(body)["start_s"] if status == 200 else {}
        return spent

    def pngs(self, asked: Sequence[Asked], callers: int) -> dict[Asked, bytes]:
        """All of them, each caller asking for one after another."""
        with ThreadPoolExecutor(callers) as pool:
            parts = pool.map(
                lambda share: [(one, self.png(one)) for one in share], shares(asked, callers)
            )
            return {one: png for part in parts for one, png in part}

    def ready(self, path: str) -> bool:
        """Whether `path` answers 200. Raises RuntimeError once the model can never be used."""
        try:
            status, body = self._get(path)
        except (OSError, http.client.HTTPException):
            return False
        if status != 200 and b'"failed"' in body:
            raise RuntimeError(body.decode())
        return status == 200

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def pixels(png: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@dataclass(frozen=True)
class Start:
    """How a server is started, and where it answers."""

    command: Sequence[str]
    environment: Mapping[str, str]
    port: int
    ready: str  # the path that answers 200 once a picture can be made

    def process(self, log: IO[str]) -> subprocess.Popen[bytes]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("IMAGEGEN_")}
        environment = inherited | dict(self.environment)
        return subprocess.Popen(
            self.command, cwd=REPOSITORY, stdout=log, stderr=log, env=environment
        )


def naive_start(stage: Stage) -> Start:
    """bench/naive.py under gunicorn."""
    port = _free_port()
    command = [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class",
        "gthread", "--threads", "32", "--timeout", "600", "--log-level", "warning",
        "bench.naive:app",
    ]  # fmt: skip
    loras = {brand: str(path) for brand, path in stage.loras.items()}
    environment = {
        "NAIVE_MODEL": str(stage.model),
        "NAIVE_LORAS": json.dumps(loras),
        "NAIVE_DTYPE": stage.dtype,
    }
    return Start(command, environment, port, "/livez")


def imagegen_start(stage: Stage, output: str) -> Start:
    """`imagegen serve`, as an operator starts it; it also stores every picture."""
    port = _free_port()
    environment = {
        "IMAGEGEN_MODEL": str(stage.model),
        "IMAGEGEN_PRESETS": str(stage.presets),
        "IMAGEGEN_STORAGE": f"file:{output}",
        "IMAGEGEN_DEVICE": stage.device,
        "IMAGEGEN_DTYPE": stage.dtype,
        "IMAGEGEN_DEADLINE_S": str(ANSWER_S),
        "PORT": str(port),
    }
    return Start([sys.executable, "-m", "imagegen", "serve"], environment, port, "/readyz")


@contextmanager
def naive_server(stage: Stage) -> Iterator[Server]:
    """The naive server, ready."""
    with _running(naive_start(stage)) as server:
        yield server


@contextmanager
def imagegen_server(stage: Stage) -> Iterator[Server]:
    """Ours, ready."""
    with TemporaryDirectory() as output, _running(imagegen_start(stage, output)) as server:
        yield server


@contextmanager
def _running(start: Start) -> Iterator[Server]:
    with launched(start) as process:
        server = Server(start.port)
        _wait(server, process, start.ready)
        yield server


@contextmanager
def launched(start: Start) -> Iterator[subprocess.Popen[bytes]]:
    """The process, ended afterwards; whatever goes wrong meanwhile, its log is shown."""
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        process = start.process(log)
        try:
            yield process
        except BaseException:
            log.seek(0)
            print(log.read()[-3_000:], file=sys.stderr)
            raise
        finally:
            _end(process)


def _wait(server: Server, process: subprocess.Popen[bytes], path: str) -> None:
    until = time.monotonic() + START_S
    while not server.ready(path):
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} before it was ready")
        if time.monotonic() > until:
            raise TimeoutError(f"{path} did not answer within {START_S:g} s")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
