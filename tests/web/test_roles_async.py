"""What does not wait, through the roles `web` and `render` as two processes; and what ends them."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sample_brands import write_brands
from stand_ins import Wire
from web_server import Server, free_port

BODY: dict[str, Any] = {"brand": "pop", "prompt": "a mug", "seed": 7}
SLOW = BODY | {"prompt": "!slow", "num_inference_steps": 4}
LONG = BODY | {"prompt": "!slow", "num_inference_steps": 90}
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("async")
    return {
        "IMAGEGEN_PRESETS": str(write_brands(folder / "brands")),
        "IMAGEGEN_STORAGE": f"file:{folder}/output",
        "IMAGEGEN_MODEL": "fake",
    }


@pytest.fixture(scope="module")
def start(environment: dict[str, str]) -> Iterator[Callable[..., Server]]:
    servers = []

    def start(**more: str) -> Server:
        servers.append(Server(environment | more))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


@pytest.fixture(scope="module")
def renderer(start: Callable[..., Server]) -> Server:
    server = start(IMAGEGEN_ROLE="render")
    server.wait_until("/readyz", timeout_s=60)
    return server


@pytest.fixture(scope="module")
def wire(renderer: Server) -> Iterator[Wire]:
    wire = Wire(renderer.port)
    yield wire
    wire.close()


@pytest.fixture(scope="module")
def web(start: Callable[..., Server], wire: Wire) -> Server:
    server = start(IMAGEGEN_ROLE="web", IMAGEGEN_RENDER_URL=wire.url, IMAGEGEN_MODEL="starter")
    server.wait_until("/readyz", timeout_s=60)
    return server


def until(condition: Callable[[], bool], within_s: float = 30) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s
        time.sleep(0.02)


def get(server: Server, path: str) -> dict[str, Any]:
    status, _, body = server.ask("GET", path)
    assert status == 200, body
    said: dict[str, Any] = json.loads(body)
    return said


def events_of(body: bytes) -> list[tuple[int, str, Any]]:
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        for block in body.decode().split("\n\n")
    ]
    return [
        (int(one["id"]), one["event"], json.loads(one["data"])) for one in blocks if "data" in one
    ]


def accepted(server: Server, body: Any, **headers: str) -> str:
    status, said, answer = server.ask("POST", "/generate", body, **(ASYNC | headers))
    assert status == 202, answer
    return said["Location"]


def test_what_is_accepted_is_found_without_the_renderer(web: Server, wire: Wire) -> None:
    path = accepted(web, SLOW | {"campaign": "async"})
    until(lambda: get(web, path)["status"] == "succeeded")
    looks = len(wire.asked)
    said = get(web, path)
    [image] = said["images"]
    assert image["url"].startswith(f"http://127.0.0.1:{web.port}/images/pop/")
    assert web.ask("GET", image["url"].removeprefix(f"http://127.0.0.1:{web.port}"))[0] == 200
    assert get(web, "/generations?campaign=async")["generations"] == [said]
    assert web.ask("DELETE", path)[0] == 409
    assert web.ask("DELETE", "/generations/gen_" + "0" * 20)[0] == 404
    status, _, body = web.ask("GET", f"{path}/events")
    assert (status, [kind for _, kind, _ in events_of(body)]) == (200, ["image", "done"])
    assert len(wire.asked) == looks, "looking wakes nobody"


def test_events_are_passed_on_as_they_come(web: Server) -> None:
    status, headers, body = web.ask(
        "POST", "/generate", SLOW | {"seed": 8}, Accept="text/event-stream"
    )
    assert (status, headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    events = events_of(body)
    kinds = [kind for _, kind, _ in events]
    assert kinds[0] == "queued"
    assert kinds.count("step") == 4
    assert "preview" in kinds
    assert kinds[-2:] == ["image", "done"]
    assert events[-1][2] == get(web, f"/generations/{events[0][2]['id']}")


def test_whoever_was_cut_off_goes_on_at_the_front(web: Server) -> None:
    path = accepted(web, SLOW | {"seed": 9})
    whole = [one for one in events_of(web.ask("GET", f"{path}/events")[2]) if one[1] != "preview"]
    assert [kind for _, kind, _ in whole][-2:] == ["image", "done"]
    assert "step" in [kind for _, kind, _ in whole]
    last = str(whole[-1][0])
    rest = events_of(web.ask("GET", f"{path}/events", **{"Last-Event-ID": last})[2])
    assert [kind for _, kind, _ in rest] == ["image", "done"], "told again from the record"
    over = web.ask("GET", f"{path}/events", **{"Last-Event-ID": str(rest[-1][0])})
    assert over[0] == 204
    assert "Content-Type" not in over[1]


def test_a_key_is_the_same_wherever_it_comes(web: Server, renderer: Server) -> None:
    key = {"Idempotency-Key": "front and back"}
    first = json.loads(web.ask("POST", "/generate", BODY, **key)[2])
    again = json.loads(web.ask("POST", "/generate", BODY, **key)[2])
    direct = json.loads(renderer.ask("POST", "/generate", BODY, **key)[2])
    assert first == again
    assert direct["id"] == first["id"]
    conflict = web.ask("POST", "/generate", BODY | {"seed": 1}, **key)
    assert (conflict[0], json.loads(conflict[2])["code"]) == (422, "idempotency_conflict")


def test_cancelling_reaches_the_renderer(web: Server, renderer: Server) -> None:
    path = accepted(web, LONG)
    until(lambda: renderer.queued_and_running()[1] == 1)
    status, _, body = web.ask("DELETE", path)
    assert (status, json.loads(body)["status"]) == (200, "cancelled")
    until(lambda: renderer.queued_and_running() == (0, 0), within_s=3)


def test_a_listener_who_leaves_the_front_takes_his_own_along(web: Server, renderer: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    said = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    connection.request("POST", "/generate", json.dumps(LONG | {"seed": 10}), said)
    answer = connection.getresponse()
    assert answer.status == 200
    answer.readline()
    until(lambda: renderer.queued_and_running()[1] == 1)
    answer.close()
    connection.close()
    until(lambda: renderer.queued_and_running() == (0, 0), within_s=5)


def test_what_is_refused_is_no_stream_at_the_front(web: Server) -> None:
    for body, code in ((BODY | {"prompt": "!misfit"}, 200), (BODY | {"width": 8_000}, 422)):
        status, _, _ = web.ask("POST", "/generate", body, Accept="text/event-stream")
        assert status in (code, 422)


def test_a_renderer_that_is_gone_leaves_what_is_stored(
    start: Callable[..., Server], renderer: Server
) -> None:
    path = accepted(renderer, LONG | {"seed": 11})
    web = start(
        IMAGEGEN_ROLE="web",
        IMAGEGEN_RENDER_URL=f"http://127.0.0.1:{free_port()}",
        IMAGEGEN_MODEL="starter",
    )
    web.wait_until("/livez", timeout_s=60)
    assert get(web, path)["status"] in ("queued", "running")
    assert web.ask("DELETE", path)[0] == 503
    assert renderer.ask("DELETE", path)[0] == 200
    assert get(web, path)["status"] == "cancelled"
    events = events_of(web.ask("GET", f"{path}/events")[2])
    assert [(kind, data["code"]) for _, kind, data in events] == [("error", "cancelled")]


def test_an_instance_that_ends_gives_back_what_it_has(
    start: Callable[..., Server], renderer: Server
) -> None:
    one, two = start(), start()
    for server in (one, two):
        server.wait_until("/readyz", timeout_s=60)
    path = accepted(one, BODY | {"prompt": "!slow", "num_inference_steps": 44, "seed": 12})
    until(lambda: one.queued_and_running()[1] == 1)
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=30)
    connection.request("GET", f"{path}/events")
    listening = connection.getresponse()
    began = time.monotonic()
    code, log = one.end()
    assert code == 0
    assert "Traceback" not in log
    cut = events_of(listening.read())
    assert [kind for _, kind, _ in cut][-1] not in ("done", "error"), "it goes on elsewhere"
    connection.close()
    until(lambda: any(server.queued_and_running()[1] for server in (two, renderer)), within_s=9)
    assert time.monotonic() - began < 9, "nobody waits for a lease to run out"
    rest = events_of(two.ask("GET", f"{path}/events", **{"Last-Event-ID": str(cut[-1][0])})[2])
    assert rest[-1][1] == "done"
    assert [image["seed"] for image in rest[-1][2]["images"]] == [12]
