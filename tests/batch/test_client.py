"""Pictures from a service over HTTP: the real one, and servers that misbehave."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from imagegen import errors
from imagegen.batch.remote import RemoteImages
from imagegen.generation import GenerationRequest

BRANDS = {"brands": [{"id": "plain", "formats": {"story": {"width": 8, "height": 16}}}]}
REQUEST = GenerationRequest(brand="plain", prompt="a mug", seed=7)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@dataclass
class Answer:
    status: int = 200
    body: object = b""
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """Answers as told, path by path; a list is answered one after another."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | list[Answer]] = {"/brands": Answer(body=BRANDS)}
        self.bodies: list[bytes] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = server.answers.get(self.path, Answer(404))
                answer = answer.pop(0) if isinstance(answer, list) else answer
                body = answer.body
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.do_GET()

            def log_message(self, *_: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def generation(url: str, data: bytes) -> dict[str, object]:
    return {
        "id": "gen_1", "status": "succeeded", "brand": "plain", "preset_version": "sha256:0",
        "model": "m", "created_at": "2026-11-23T10:00:00Z", "future_field": 1,
        "images": [{"url": url, "storage_uri": "gs://b/x.png", "seed": 7, "width": 8, "height": 8,
                    "content_type": "image/png", "size_bytes": len(data),
                    "sha256": hashlib.sha256(b"picture").hexdigest()}],
    }  # fmt: skip


def problem(status: int, code: str, retry_after: str | None = None, **more: object) -> Answer:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Answer(status, {"code": code, "detail": "a sentence", **more}, headers)


def test_a_picture_comes_back_whole(server):
    server.answers["/generate"] = Answer(body=generation("/images/x.png", b"picture"))
    server.answers["/images/x.png"] = Answer(body=b"picture")
    delivery = RemoteImages.connect(server.url + "/").generate(REQUEST, lambda: True)
    assert delivery.pictures == (b"picture",)
    assert json.loads(server.bodies[0]) == {"brand": "plain", "prompt": "a mug", "seed": 7}


def test_requests_are_checked_before_they_are_sent(server):
    remote = RemoteImages.connect(server.url)
    remote.check(REQUEST)
    for known in ("story", "square", "banner"):
        remote.check(REQUEST.model_copy(update={"format": known}))
    with pytest.raises(errors.UnknownBrand, match=r"did you mean plain\?"):
        remote.check(REQUEST.model_copy(update={"brand": "plian"}))
    with pytest.raises(errors.InvalidRequest, match="format: no format 'stroy'"):
        remote.check(REQUEST.model_copy(update={"format": "stroy"}))


@pytest.mark.parametrize(
    ("answer", "error", "retry_after_s"),
    [
        (problem(429, "queue_full", "7"), errors.QueueFull, 7),
        (problem(503, "model_loading", "12"), errors.ModelLoading, 12),
        (problem(503, "draining"), errors.Draining, 5),
        (problem(503, "draining", "Wed, 21 Oct 2026 07:28:00 GMT"), errors.Draining, 5),
        (Answer(429, b"<html>no instance</html>"), errors.ServiceUnreachable, 5),
        (Answer(502, b"\xff", {"Retry-After": "1"}), errors.ServiceUnreachable, 1),
        (Answer(200, b"<html>hotel wifi"), errors.ServiceUnreachable, 5),
        (Answer(200, b"cut", {"Content-Length": "99"}), errors.ServiceUnreachable, 5),
    ],
)
def test_not_now_says_when_to_ask_again(server, answer, error, retry_after_s):
    server.answers["/generate"] = answer
    with pytest.raises(error) as caught:
        RemoteImages.connect(server.url).generate(REQUEST, lambda: True)
    assert caught.value.retry_after_s == retry_after_s


@pytest.mark.parametrize(
    ("answer", "error", "detail"),
    [
        (problem(404, "unknown_brand"), errors.UnknownBrand, "a sentence"),
        (problem(504, "deadline_exceeded"), errors.DeadlineExceeded, "a sentence"),
        (problem(500, "render_failed"), errors.RenderFailed, "a sentence"),
        (problem(422, "banned_term", errors=[{"field": "prompt", "message": "no"}]),
         errors.BannedTerm, "prompt: no"),
        (problem(422, "invalid_request", errors="?"), errors.InvalidRequest, "a sentence"),
        (problem(401, "unauthenticated"), errors.RenderFailed, "HTTP 401 unauthenticated"),
        (Answer(403, b"["), errors.RenderFailed, "HTTP 403"),
        (Answer(500, b"[" * 50_000), errors.RenderFailed, "HTTP 500"),
    ],
)  # fmt: skip
def test_refusals_keep_their_kind(server, answer, error, detail):
    server.answers["/generate"] = answer
    with pytest.raises(error, match=detail) as caught:
        RemoteImages.connect(server.url).generate(REQUEST, lambda: True)
    assert not isinstance(caught.value, errors.Busy)


def test_a_damaged_picture_and_a_link_to_a_file_are_refused(server, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"picture")
    server.answers["/generate"] = [
        Answer(body=generation("/images/x.png", b"picture")),
        Answer(body=generation(secret.as_uri(), b"picture")),
    ]
    server.answers["/images/x.png"] = Answer(body=b"pictur3")
    remote = RemoteImages.connect(server.url)
    with pytest.raises(errors.ServiceUnreachable, match="damaged"):
        remote.generate(REQUEST, lambda: True)
    with pytest.raises(errors.RenderFailed, match=r"no http\(s\) address"):
        remote.generate(REQUEST, lambda: True)


@pytest.mark.parametrize(
    "url", ["localhost:8080", "file:///etc", "ftp://x", "", "http://", "http://[::1"]
)
def test_only_http_addresses_are_asked(url):
    with pytest.raises(errors.ServiceUnreachable, match=r"no http\(s\) address"):
        RemoteImages.connect(url)


@pytest.mark.parametrize("body", [b"<html>", {"brands": [1]}, [], {"brands": [{"id": "x"}]}])
def test_another_kind_of_service_is_recognised(server, body):
    server.answers["/brands"] = Answer(body=body)
    with pytest.raises(errors.ServiceUnreachable, match="is no imagegen service"):
        RemoteImages.connect(server.url)


def test_what_a_closed_door_means_is_said(server):
    for status, words in ((403, "gcloud run services proxy"), (404, "no imagegen service answers")):
        server.answers["/brands"] = Answer(status=status, body=b"<html>")
        with pytest.raises(errors.ServiceUnreachable, match=words):
            RemoteImages.connect(server.url)


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(errors.ServiceUnreachable, match=f"cannot reach 127.0.0.1:{port}: "):
        RemoteImages.connect(f"http://127.0.0.1:{port}")


def test_a_redirect_is_followed_once_so_that_requests_stay_requests(server):
    server.answers["/old/brands"] = Answer(301, b"", {"Location": "/brands"})
    server.answers["/generate"] = Answer(body=generation("/x", b"picture"))
    server.answers["/x"] = Answer(body=b"picture")
    remote = RemoteImages.connect(f"{server.url}/old")
    assert remote.generate(REQUEST, lambda: True).pictures == (b"picture",)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`imagegen serve` itself, with pictures that need no torch."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "presets" / "plain").mkdir(parents=True)
    preset = "name: Plain\nbanned_terms: [casino]\ndefaults: {width: 16, height: 16}\n"
    (folder / "presets" / "plain" / "preset.yaml").write_text(preset)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "IMAGEGEN_MODEL": "fake",
        "IMAGEGEN_MAX_QUEUE": "8",
        "PORT": str(port),
        "IMAGEGEN_PRESETS": "presets",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "imagegen", "serve"], cwd=folder, env=os.environ | settings
    )
    until = time.monotonic() + 60
    while not _listens(port) and time.monotonic() < until:
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(30) == 0


def test_the_real_service_and_a_batch_that_asks_for_more_than_its_queue_holds(service, tmp_path):
    rows = "".join(f"plain,!slow {number},4,1\n" for number in range(4)) + "plain,casino,1,1\n"
    (tmp_path / "s.csv").write_text("brand,prompt,num_images,num_inference_steps\n" + rows)
    done = subprocess.run(
        [sys.executable, "-m", "imagegen", "batch", "s.csv", "--url", service, "--json",
         "--concurrency", "4"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["outcome"] == {"succeeded": 4, "failed": 1, "invalid": 0, "pending": 0}
    [failed] = [line for line in lines[:-1] if line["status"] == "failed"]
    assert failed["error_code"] == "banned_term"
    assert len(list((tmp_path / "s-pictures").glob("*.png"))) == 16
