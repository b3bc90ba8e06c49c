"""The image's own command, asked for a picture as the build asks it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

PRESET = "name: Plain\ndescription: No words of its own.\n"


@pytest.fixture(scope="module")
def image(repository: Path) -> str:
    return (repository / "Dockerfile").read_text().rpartition("\nFROM ")[2]


@pytest.fixture
def service(
    repository: Path, image: str, tmp_path: Path
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The Dockerfile's CMD under its settings, with pictures that need no torch, on a free port."""
    (tmp_path / "presets" / "plain").mkdir(parents=True)
    (tmp_path / "presets" / "plain" / "preset.yaml").write_text(PRESET)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = dict(re.findall(r"\b(IMAGEGEN_\w+)=(\S+)", image)) | {
        "IMAGEGEN_MODEL": "fake",
        "IMAGEGEN_HOST": "127.0.0.1",
        "IMAGEGEN_PRESETS": str(tmp_path / "presets"),
        "IMAGEGEN_STORAGE": f"file:{tmp_path / 'output'}",
        "PORT": str(port),
    }
    [command] = re.findall(r"^CMD (\[.*\])$", image, re.MULTILINE)
    python, *arguments = json.loads(command)
    assert python == "python"
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=repository, env=os.environ | settings, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}", process
    process.kill()
    process.communicate()


def test_the_command_of_the_image_gives_a_picture_and_ends_when_told(
    service: tuple[str, subprocess.Popen[str]], repository: Path
) -> None:
    url, process = service
    asked = subprocess.run(
        [sys.executable, repository / "deploy" / "smoke_test.py", url, "30"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("plain: ")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0, "Cloud Run kills after ten seconds"


class Guarded(BaseHTTPRequestHandler):
    """A service behind Cloud Run's own check, whose picture lies in somebody else's store."""

    store = ""
    asked: ClassVar[list[bytes]] = []
    tokens: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        token = self.headers["X-Serverless-Authorization"]
        self.tokens.append((self.path, token))
        allowed = self.path == "/picture.png" or token == "Bearer a.token"
        image = {"url": f"{self.store}/picture.png", "width": 8, "height": 8,
                 "sha256": hashlib.sha256(b"{}").hexdigest()}  # fmt: skip
        answers = {
            "/brands": {"brands": [{"id": "plain"}]},
            "/generate": {"images": [image], "timings": {"total_s": 1}},
        }
        self.send_response(200 if allowed else 403)
        self.end_headers()
        self.wfile.write(json.dumps(answers.get(self.path, {})).encode())

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    def log_message(self, *_: object) -> None: ...


def test_a_token_opens_the_service_and_is_shown_to_nobody_else(
    repository: Path, tmp_path: Path
) -> None:
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Guarded) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    service, Guarded.store = (f"http://127.0.0.1:{one.server_address[1]}" for one in servers)
    (tmp_path / "token").write_text("a.token\n")
    command = [sys.executable, "deploy/smoke_test.py", service, "30", str(tmp_path / "token")]
    asked = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    shown = dict(Guarded.tokens)
    Guarded.tokens.clear()
    command.append("brands")  # what stands in front of a renderer
    subprocess.run(command, cwd=repository, check=True)
    assert [path for path, _ in Guarded.tokens] == ["/readyz", "/brands"]
    for server in servers:
        server.shutdown()
        server.server_close()
    assert asked.returncode == 0, asked.stderr
    [request] = map(json.loads, Guarded.asked)
    assert request["num_inference_steps"] <= 4, "a large model takes minutes a step on a CPU"
    assert shown.pop("/picture.png") is None
    assert set(shown) == {"/readyz", "/brands", "/generate"}
    assert set(shown.values()) == {"Bearer a.token"}


class Asking(Guarded):
    """Says that it does not know who asks, or that somebody may not."""

    code: ClassVar[str] = "unauthenticated"

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"code": self.code}).encode())


def test_being_asked_who_one_is_counts_as_an_answer_of_what_stands_in_front(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Asking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "token").write_text("a.token")
    url = f"http://127.0.0.1:{server.server_address[1]}"
    command = [sys.executable, "deploy/smoke_test.py", url, "30", str(tmp_path / "token")]

    def code(*more: str) -> int:
        return subprocess.run(
            [*command, *more], cwd=repository, capture_output=True, check=False
        ).returncode

    assert (code("brands"), code()) == (0, 1)
    monkeypatch.setattr(Asking, "code", "other")
    assert code("brands") == 1
    server.shutdown()
    server.server_close()


def test_the_smoke_test_fails_where_nothing_answers(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "deploy/smoke_test.py", f"http://127.0.0.1:{port}", "0.1"]
    asked = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert "not ready after 0 s" in asked.stderr
