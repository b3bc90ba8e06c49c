"""The service as a gunicorn process of its own, for tests that need sockets and signals."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SERVE = (
    "import sys; from imagegen.settings import Settings; from imagegen.wsgi import serve; "
    "sys.exit(serve(Settings.from_environment()))"
)


class Server:
    """`imagegen serve` in a process of its own, on a free loopback port."""

    def __init__(self, environment: dict[str, str], first: str = "") -> None:
        """first: what is done in that process before, such as to make it quicker."""
        self.port = int(environment.setdefault("PORT", str(free_port())))
        # A file, as a pipe that nobody reads would stop it in the end.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{first}\n{SERVE}"],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
            stderr=self._log,
            start_new_session=True,
        )

    def wait_until(self, path: str, timeout_s: float = 20) -> float:
        """Seconds until `path` answers 200."""
        began = time.monotonic()
        while time.monotonic() - began < timeout_s:
            try:
                if self.ask("GET", path)[0] == 200:
                    return time.monotonic() - began
            except OSError:
                pass
            time.sleep(0.02)
        raise TimeoutError(f"{path} did not answer 200 within {timeout_s} s")

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            data = None if body is None else json.dumps(body)
            json_headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, data, json_headers | headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def submit(self, path: str, form: dict[str, str]) -> tuple[int, http.client.HTTPMessage, bytes]:
        """As a browser sends a form, without following where the answer leads."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            said = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", path, urllib.parse.urlencode(form), said)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def open_request(self, body: Any, path: str = "/generate") -> socket.socket:
        """A POST on a socket whose answer nobody has read yet."""
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(head.encode() + data)
        return connection

    def queued_and_running(self) -> tuple[int, int]:
        status = json.loads(self.ask("GET", "/readyz")[2])
        return status["queued"], status["running"]

    def kill(self) -> None:
        """-9, the worker and the render process too, in the middle of whatever they do."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """(exit code, everything it logged) after the signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        if not self._log.closed:
            self._log.seek(0)
            self._said = self._log.read().decode()
            self._log.close()
        return self.process.returncode, self._said


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
