"""The roles `web` and `render` as two processes with one storage between them."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_bucket import FakeBucket, running_bucket_server
from sample_brands import write_brands
from stand_ins import Wire
from web_server import REPOSITORY, Server, free_port

from imagegen.callers.key_file import change_keys
from imagegen.callers.keys import Keys

ASKED = {"brand": "pop", "prompt": "a mug", "seed": 7}
ONLY_FOR_RENDERING = ("torch", "diffusers", "transformers", "accelerate", "peft")


@dataclass
class Pair:
    """A renderer, a wire to it, and the environment of services in front of it."""

    renderer: Server
    wire: Wire
    environment: dict[str, str]

    def looks(self) -> int:
        """Requests that reached the renderer."""
        return len(self.wire.asked)


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[FakeBucket]:
    with running_bucket_server() as server:
        yield server


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Server]]:
    servers = []

    def start(environment: dict[str, str], **more: str) -> Server:
        servers.append(Server(environment | more))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """First on its PYTHONPATH a process finds that what only renders is not installed."""
    folder = tmp_path_factory.mktemp("not-installed")
    for name in ONLY_FOR_RENDERING:
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here')\n")
    return folder


@pytest.fixture(scope="module")
def make_pair(
    tmp_path_factory: pytest.TempPathFactory,
    start: Callable[..., Server],
    without_torch: Path,
) -> Iterator[Callable[..., Pair]]:
    brands = write_brands(tmp_path_factory.mktemp("pair"))
    wires = []

    def make(storage: str, **more: str) -> Pair:
        common = {"IMAGEGEN_PRESETS": str(brands), "IMAGEGEN_STORAGE": storage} | more
        rendering = {"IMAGEGEN_MODEL": "fake", "IMAGEGEN_MAX_QUEUE": "8"}
        renderer = start(common | rendering, IMAGEGEN_ROLE="render")
        renderer.wait_until("/readyz", timeout_s=60)
        wires.append(Wire(renderer.port))
        front = {
            "IMAGEGEN_ROLE": "web",
            "IMAGEGEN_RENDER_URL": wires[-1].url,
            "PYTHONPATH": os.pathsep.join([str(without_torch), str(REPOSITORY)]),
        }
        return Pair(renderer, wires[-1], common | front)

    yield make
    for wire in wires:
        wire.close()


@pytest.fixture(scope="module")
def pair(make_pair: Callable[..., Pair], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(f"file:{tmp_path_factory.mktemp('output')}")


@pytest.fixture(scope="module")
def web(pair: Pair, start: Callable[..., Server]) -> Server:
    server = start(pair.environment)
    server.wait_until("/readyz", timeout_s=60)
    return server


def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
        time.sleep(0.02)


def path_of(url: str, server: Server) -> str:
    root = f"http://127.0.0.1:{server.port}"
    assert url.startswith(f"{root}/images/")
    return url.removeprefix(root)


def test_the_front_runs_where_torch_is_not_installed(web: Server, pair: Pair) -> None:
    """All tests here have such a front; this one looks that it is so."""
    assert web.process.poll() is None
    environment = os.environ | pair.environment
    for name in ONLY_FOR_RENDERING:
        found = subprocess.run(
            [sys.executable, "-c", f"import {name}"], env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert f"no {name} here" in found.stderr


def test_looking_asks_the_renderer_nothing(web: Server, pair: Pair) -> None:
    before = pair.looks()
    paths = ["/", "/livez", "/readyz", "/metrics", "/brands", "/brands/aurora", "/capabilities",
             "/brands/aurora/cover", "/studio/state", "/images/pop/2026/11/none.png"]  # fmt: skip
    statuses = [web.ask("GET", path)[0] for path in paths]
    assert statuses == [200] * (len(paths) - 1) + [404]
    assert pair.looks() == before


def test_a_picture_comes_through_and_any_instance_has_it(
    web: Server, pair: Pair, start: Callable[..., Server]
) -> None:
    status, _, body = web.ask("POST", "/generate", ASKED)
    assert status == 200
    [image] = json.loads(body)["images"]
    pictures = pair.looks()
    status, headers, data = web.ask("GET", path_of(image["url"], web))
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert hashlib.sha256(data).hexdigest() == image["sha256"]
    other = start(pair.environment)
    other.wait_until("/readyz", timeout_s=60)
    assert other.ask("GET", path_of(image["url"], web))[2] == data
    assert pair.looks() <= pictures + 2, "what it asks once it knows that the renderer is awake"


def test_both_files_of_an_overlay_come_through(web: Server) -> None:
    asked = ASKED | {"brand": "aurora", "overlay": True}
    status, _, body = web.ask("POST", "/generate", asked)
    assert status == 200, body
    [image] = json.loads(body)["images"]
    for said in (image, image["clean"]):
        data = web.ask("GET", path_of(said["url"], web))[2]
        assert hashlib.sha256(data).hexdigest() == said["sha256"]
    assert image["score"]["palette"] is not None


def test_the_picture_itself_with_its_headers(web: Server) -> None:
    status, headers, data = web.ask("POST", "/generate", ASKED, Accept="image/webp")
    assert (status, headers["Content-Type"], headers["X-Seed"]) == (200, "image/webp", "7")
    assert headers["X-Generation-Id"].startswith("gen_")
    assert web.ask("GET", path_of(headers["Content-Location"], web))[2] == data


def test_automatic1111_s_clients_come_through(web: Server) -> None:
    asked: dict[str, object] = {"styles": ["pop"], "prompt": "a mug", "seed": 7}
    status, _, body = web.ask("POST", "/sdapi/v1/txt2img", asked)
    assert status == 200, body
    [picture] = json.loads(body)["images"]
    assert base64.b64decode(picture) == web.ask("POST", "/generate", ASKED, Accept="image/png")[2]
    edit = asked | {"init_images": [picture], "width": 64, "height": 32}
    status, _, body = web.ask("POST", "/sdapi/v1/img2img", edit)
    assert status == 200, body
    assert json.loads(json.loads(body)["info"])["denoising_strength"] == 0.75
    status, _, body = web.ask("POST", "/sdapi/v1/txt2img", asked | {"steps": 101})
    assert (status, json.loads(body)["detail"][0]["loc"]) == (422, ["body", "steps"])


def test_an_interrupted_picture_leaves_the_renderer(web: Server, pair: Pair) -> None:
    slow = {"styles": ["pop"], "prompt": "a mug !slow", "steps": 100}
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(web.ask, "POST", "/sdapi/v1/txt2img", slow)
        until(lambda: pair.renderer.queued_and_running()[1] == 1)
        state = json.loads(web.ask("GET", "/sdapi/v1/progress")[2])["state"]
        assert (state["job_count"], state["sampling_steps"]) == (1, 0)
        assert web.ask("POST", "/sdapi/v1/interrupt")[0] == 200
        assert waiting.result()[0] == 499
        until(lambda: pair.renderer.queued_and_running() == (0, 0))


def test_openais_dialect_works_through_it(pair: Pair, web: Server) -> None:
    asked = {"model": "pop", "prompt": "a mug", "seed": 7}
    status, _, body = web.ask("POST", "/v1/images/generations", asked)
    assert status == 200, body
    [made] = json.loads(body)["data"]
    picture = json.loads(web.ask("POST", "/generate", ASKED)[2])["images"][0]
    assert hashlib.sha256(base64.b64decode(made["b64_json"])).hexdigest() == picture["sha256"]
    edit = asked | {"image": made["b64_json"], "strength": 1.0, "stream": True}
    status, headers, body = web.ask("POST", "/v1/images/edits", edit)
    assert (status, headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    assert b"event: image_edit.completed" in body
    status, _, body = web.ask("POST", "/v1/images/generations", asked | {"size": "4096x4096"})
    assert (status, json.loads(body)["error"]["param"]) == (400, "size")
    before = [one for one in pair.wire.asked if one.startswith("POST")]
    status, _, body = web.ask("POST", "/v1/images/generations", asked | {"model": "nobody"})
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
    status, _, body = web.ask(
        "POST", "/v1/images/generations", asked | {"model": "aurora", "prompt": "a casino"}
    )
    assert (status, json.loads(body)["error"]["code"]) == (400, "moderation_blocked")
    assert [one for one in pair.wire.asked if one.startswith("POST")] == before, (
        "what can be refused here wakes nobody"
    )


def test_the_form_without_scripts_comes_through(web: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/", "brand=pop&prompt=a+mug&seed=3", form)
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    assert answer.status == 200
    assert "/images/pop/" in page


def test_once_a_picture_came_the_catalogue_is_whole(web: Server) -> None:
    web.ask("POST", "/generate", ASKED)
    until(lambda: json.loads(web.ask("GET", "/capabilities")[2])["formats"] is not None)
    capabilities = json.loads(web.ask("GET", "/capabilities")[2])
    assert capabilities["model"]["name"] == "fake"
    assert json.loads(web.ask("GET", "/brands/pop")[2])["defaults"]["scheduler"] is not None


@pytest.mark.parametrize(
    ("change", "status", "code", "wakes"),
    [
        ({"brand": "nobody"}, 404, "unknown_brand", False),
        ({"brand": "aurora", "prompt": "a casino"}, 422, "banned_term", False),
        ({"prompt": "a <lora:x:1>"}, 422, "invalid_request", False),
        ({"steps": 3}, 422, "invalid_request", False),
        ({"width": 4096, "height": 4096}, 422, "invalid_request", True),
        ({"prompt": "!nan"}, 500, "render_failed", True),
        ({"prompt": "!slow", "num_inference_steps": 100, "deadline_s": 0.3}, 504,
         "deadline_exceeded", True),
    ],
)  # fmt: skip
def test_errors_are_the_renderers_own(
    web: Server, pair: Pair, change: dict[str, object], status: int, code: str, wakes: bool
) -> None:
    until(lambda: json.loads(web.ask("GET", "/capabilities")[2])["model"] is not None)
    before = pair.looks()
    here = web.ask("POST", "/generate", ASKED | change)
    problem = json.loads(here[2])
    assert (here[0], problem["code"]) == (status, code)
    assert (pair.looks() > before) == wakes
    there = json.loads(pair.renderer.ask("POST", "/generate", ASKED | change)[2])
    if status < 500:  # those name the generation, or whoever noticed first
        assert problem == there


def test_a_full_queue_is_429_with_the_renderers_own_measure(web: Server, pair: Pair) -> None:
    slow = ASKED | {"prompt": "!slow", "num_inference_steps": 100, "num_images": 8}
    with web.open_request(slow):
        until(lambda: pair.renderer.queued_and_running() == (7, 1))  # not sooner: 8 may wait
        with web.open_request(slow | {"num_images": 1}):
            until(lambda: pair.renderer.queued_and_running() == (8, 1))
            status, headers, body = web.ask("POST", "/generate", slow | {"seed": 8})
    assert (status, json.loads(body)["code"]) == (429, "queue_full")
    assert int(headers["Retry-After"]) > 1
    until(lambda: pair.renderer.queued_and_running() == (0, 0))


def test_a_caller_who_leaves_takes_his_pictures_out_of_the_renderer(
    web: Server, pair: Pair
) -> None:
    slow = ASKED | {"prompt": "!slow", "num_inference_steps": 100}
    connection = web.open_request(slow)
    until(lambda: pair.renderer.queued_and_running() == (0, 1))
    connection.close()
    until(lambda: pair.renderer.queued_and_running() == (0, 0), within_s=5)


def test_each_caller_of_the_front_has_his_own_turn(web: Server, pair: Pair) -> None:
    """One has filled the batch; another one's picture gets in beside his."""
    slow = ASKED | {"prompt": "!slow", "num_inference_steps": 20, "num_images": 8}
    greedy = web.open_request(slow)
    until(lambda: pair.renderer.queued_and_running()[1] > 0)
    status, _, _ = web.ask("POST", "/generate", ASKED, **{"X-Forwarded-For": "192.0.2.1"})
    assert status == 200
    queued, running = pair.renderer.queued_and_running()
    assert queued + running > 0, "the greedy one is not done yet"
    greedy.close()
    until(lambda: pair.renderer.queued_and_running() == (0, 0))


def test_callers_of_the_front_have_pictures_of_their_own(
    pair: Pair, start: Callable[..., Server], tmp_path: Path
) -> None:
    """The front knows who asks and which brands he may use; the renderer marks what it stores."""
    keys = {}
    for caller, brands in (("ann", frozenset({"pop"})), ("bob", None)):

        def edit(
            kept: Keys, caller: str = caller, brands: frozenset[str] | None = brands
        ) -> tuple[Keys, str]:
            changed, _, key = kept.with_new(caller, brands, datetime.now(UTC))
            return changed, key

        keys[caller] = {"X-API-Key": change_keys(tmp_path / "keys.json", edit)}
    front = start(pair.environment, IMAGEGEN_AUTH="keys", IMAGEGEN_KEYS=str(tmp_path / "keys.json"))
    front.wait_until("/readyz", timeout_s=60)
    assert front.ask("POST", "/generate", ASKED)[0] == 401
    before = pair.looks()
    assert front.ask("POST", "/generate", ASKED | {"brand": "aurora"}, **keys["ann"])[0] == 404
    assert pair.looks() == before, "nobody was woken for it"
    status, _, body = front.ask("POST", "/generate", ASKED, **keys["ann"])
    assert status == 200
    made = json.loads(body)
    path = path_of(made["images"][0]["url"], front)
    for what in (path, f"/generations/{made['id']}"):
        seen = {caller: front.ask("GET", what, **header)[0] for caller, header in keys.items()}
        assert seen == {"ann": 200, "bob": 404}, what


def test_a_renderer_that_dies_midway_is_told_as_busy(web: Server, pair: Pair) -> None:
    slow = ASKED | {"prompt": "!slow", "num_inference_steps": 100}
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(web.ask, "POST", "/generate", slow)
        until(lambda: pair.renderer.queued_and_running() == (0, 1))
        pair.wire.cut()
        status, headers, body = answer.result(10)
    assert (status, json.loads(body)["code"]) == (503, "service_unreachable")
    assert int(headers["Retry-After"]) >= 1
    assert web.ask("POST", "/generate", ASKED)[0] == 200, "the next one is none the worse"
    until(lambda: pair.renderer.queued_and_running() == (0, 0))


def test_a_renderer_that_is_down_is_told_and_pages_go_on(
    pair: Pair, start: Callable[..., Server]
) -> None:
    lonely = start(pair.environment, IMAGEGEN_RENDER_URL=f"http://127.0.0.1:{free_port()}")
    lonely.wait_until("/readyz", timeout_s=60)
    status, headers, body = lonely.ask("POST", "/generate", ASKED)
    problem = json.loads(body)
    assert (status, problem["code"]) == (503, "service_unreachable")
    assert headers["Content-Type"] == "application/problem+json"
    assert int(headers["Retry-After"]) >= 1
    assert lonely.ask("GET", "/")[0] == 200
    exposition = lonely.ask("GET", "/metrics")[2].decode()
    assert 'imagegen_generations_total{brand="pop",status="service_unreachable"} 1.0' in exposition
    code, log = lonely.end()
    assert code == 0
    assert "Traceback" not in log


def test_the_renderer_has_no_pages_and_says_so(pair: Pair) -> None:
    status, headers, body = pair.renderer.ask("GET", "/")
    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    assert "the role web" in json.loads(body)["detail"]
    status, _, body = pair.renderer.ask("POST", "/warm", {})
    assert (status, json.loads(body)["phase"]) == (202, "ready")


def test_a_request_is_one_in_the_lines_of_both(
    make_pair: Callable[..., Pair], start: Callable[..., Server], tmp_path: Path
) -> None:
    pair = make_pair(f"file:{tmp_path}/output", IMAGEGEN_LOG_FORMAT="json")
    web = start(pair.environment)
    web.wait_until("/readyz", timeout_s=60)
    ids = {"traceparent": f"00-{'4b' * 16}-{'f0' * 8}-01", "X-Request-Id": "ask-1"}
    status, headers, body = web.ask("POST", "/generate", ASKED, **ids)
    assert (status, headers["X-Request-Id"]) == (200, "ask-1")
    for server, least in ((web, 1), (pair.renderer, 3)):  # rendered, kept, answered
        code, log = server.end()
        assert code == 0
        lines = [json.loads(line) for line in log.splitlines()]
        ours = [line for line in lines if line.get("request_id") == "ask-1"]
        assert len(ours) >= least
        for line in ours:
            assert line["logging.googleapis.com/trace"] == "4b" * 16
            assert line["generation_id"] == json.loads(body)["id"]


def test_with_a_bucket_between_them(
    make_pair: Callable[..., Pair], start: Callable[..., Server], bucket_server: FakeBucket
) -> None:
    pair = make_pair(
        f"gs://{bucket_server.new()}/pictures",
        STORAGE_EMULATOR_HOST=bucket_server.endpoint,
        GOOGLE_CLOUD_PROJECT="tests",
    )
    web = start(pair.environment)
    web.wait_until("/readyz", timeout_s=60)
    status, headers, data = web.ask("POST", "/generate", ASKED, Accept="image/png")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    other = start(pair.environment)
    other.wait_until("/readyz", timeout_s=60)
    assert other.ask("GET", path_of(headers["Content-Location"], web))[2] == data
