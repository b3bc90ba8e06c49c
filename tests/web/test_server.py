"""The service as it is run: gunicorn in a process of its own, met over sockets."""

from __future__ import annotations

import json
import re
import select
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from web_server import Server

from imagegen.engine.renderer import PHASES

BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a mug", "seed": 0}
SLOW = BODY | {"prompt": "!slow"}  # a quarter of a second a step
Serve = Callable[..., Server]
QUEUE = 40


@pytest.fixture(scope="module")
def server(brands: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests that leave it as they found it."""
    server = Server(
        {
            "IMAGEGEN_MODEL": "fake",
            "IMAGEGEN_PRESETS": str(brands),
            "IMAGEGEN_STORAGE": f"file:{tmp_path_factory.mktemp('output')}",
            "IMAGEGEN_MAX_QUEUE": str(QUEUE),
        }
    )
    server.wait_until("/readyz")
    yield server
    code, log = server.end()
    assert code == 0
    assert "Traceback" not in log


def receive_all(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def until(condition: Callable[[], bool], timeout_s: float = 10) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_first_request_waits_for_the_model_and_the_log_is_ours(serve: Serve) -> None:
    server = serve()
    server.wait_until("/livez")
    status, _, answer = server.ask("POST", "/generate", BODY | {"num_images": 8})
    assert status == 200
    assert [image["seed"] for image in json.loads(answer)["images"]] == list(range(8))
    code, log = server.end()
    assert code == 0
    lines = [line.split(" ", 1)[1] for line in log.splitlines()]
    assert f"imagegen is at http://127.0.0.1:{server.port}" in lines
    assert any(line.startswith("POST /generate 200 ") for line in lines)
    assert "gunicorn" not in log
    assert "Traceback" not in log


def test_a_start_tells_how_long_its_phases_took(serve: Serve, tmp_path: Path) -> None:
    server = serve(IMAGEGEN_STORAGE=f"file:{tmp_path}")
    server.wait_until("/readyz")
    spent = json.loads(server.ask("GET", "/readyz")[2])["start_s"]
    assert list(spent) == ["container", *PHASES]
    assert 0 < spent["container"] < 60
    until(lambda: len(list(tmp_path.glob("imagegen-starts/*/0.json"))) == 1)
    _, log = server.end()
    assert re.search(r"ready after \S+ s: fake on cpu in float32 \(container \S+ s, import ", log)


def test_eight_callers_at_once_and_brand_after_brand(server: Server) -> None:
    def ask(number: int) -> tuple[int, str]:
        body = BODY | {"seed": number, "brand": ("aurora", "pop")[number % 2]}
        status, _, answer = server.ask("POST", "/generate", body)
        return status, json.loads(answer)["images"][0]["sha256"]

    with ThreadPoolExecutor(8) as callers:
        together = list(callers.map(ask, range(8)))
    assert [status for status, _ in together] == [200] * 8
    assert len({sha256 for _, sha256 in together}) == 8
    assert together == [ask(number) for number in range(8)]


def test_a_client_that_leaves_frees_the_renderer(server: Server) -> None:
    connection = server.open_request(SLOW | {"num_inference_steps": 100, "num_images": 4})
    until(lambda: sum(server.queued_and_running()) == 4)
    connection.close()
    assert until(lambda: sum(server.queued_and_running()) == 0) < 2
    assert b'status="cancelled"' in server.ask("GET", "/metrics")[2]


def test_probes_answer_while_every_place_is_waited_for(server: Server) -> None:
    body = SLOW | {"num_inference_steps": 100}
    # Each with a seed of its own: what is alike would be rendered once.
    waiting = [server.open_request(body | {"seed": seed}) for seed in range(QUEUE)]
    until(lambda: sum(server.queued_and_running()) == QUEUE)
    began = time.monotonic()
    assert server.ask("GET", "/livez")[0] == 200
    assert time.monotonic() - began < 2
    # Two, as one row may be free beside the queue.
    extra = [server.open_request(body | {"seed": QUEUE + more}) for more in range(2)]
    refused, _, _ = select.select(extra, [], [], 10)
    answer = refused[0].recv(4_096)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: " in answer
    for connection in waiting + extra:
        connection.close()
    until(lambda: sum(server.queued_and_running()) == 0)


@pytest.mark.parametrize("target", ["/brands//aurora", "/../brands", "/%2e%2e/"])
def test_odd_targets_get_a_problem_and_no_redirect(server: Server, target: str) -> None:
    status, headers, _ = server.ask("GET", target)
    assert (status, headers["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("body_bytes", [10_000, 70_000])
def test_a_body_in_chunks(server: Server, body_bytes: int) -> None:
    data = json.dumps(BODY).encode().ljust(body_bytes)
    chunks = b"".join(
        f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
        for piece in (data[at : at + 4_096] for at in range(0, len(data), 4_096))
    )
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(
        b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    answer = receive_all(connection)
    assert answer.startswith(b"HTTP/1.1 200 " if body_bytes < 65_536 else b"HTTP/1.1 413 ")


def test_a_store_that_cannot_be_reached_is_a_503(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    server.wait_until("/readyz")
    output = tmp_path / "output"
    shutil.rmtree(output)
    output.symlink_to("/proc")  # not even root can write there
    status, headers, answer = server.ask("POST", "/generate", BODY)
    assert (status, json.loads(answer)["code"]) == (503, "storage_unavailable")
    assert int(headers["Retry-After"]) >= 1


def test_sigterm_lets_those_in_flight_finish(serve: Serve) -> None:
    server = serve()
    server.wait_until("/readyz")
    in_flight = server.open_request(SLOW | {"num_inference_steps": 8})
    until(lambda: server.queued_and_running() == (0, 1))
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.ask("GET", "/readyz")[0] == 503, timeout_s=1)
    status, headers, answer = server.ask("POST", "/generate", BODY)
    assert (status, json.loads(answer)["code"]) == (503, "draining")
    assert headers["Connection"] == "close"
    assert in_flight.recv(65_536).startswith(b"HTTP/1.1 200 ")
    in_flight.close()
    code, log = server.end()
    assert code == 0
    assert time.monotonic() - began < 6
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("slow", "least_s", "most_s"),
    [
        ({"num_inference_steps": 100}, 0.0, 3.0),  # 25 s: told as soon as its pace is known
        ({"num_inference_steps": 10, "num_images": 8}, 7.0, 9.0),  # one after the other
    ],
)
def test_sigterm_ends_what_takes_too_long(
    serve: Serve, slow: dict[str, int], least_s: float, most_s: float
) -> None:
    server = serve()
    server.wait_until("/readyz")
    in_flight = server.open_request(SLOW | slow)
    until(lambda: server.queued_and_running()[1] == 1)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    answer = in_flight.recv(65_536)
    assert least_s < time.monotonic() - began < most_s
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: " in answer
    in_flight.close()
    code, _ = server.end()
    assert code == 0
    assert time.monotonic() - began < 9.5


def test_clients_that_say_nothing_do_not_keep_a_server_that_leaves(serve: Serve) -> None:
    server = serve()
    server.wait_until("/readyz")
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address) as silent, socket.create_connection(address) as kept:
        kept.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        said = b""
        while not said.endswith(b"}\n"):  # the body may come after the head
            said += kept.recv(4_096)
        assert b"200 OK" in said
        answered = server.open_request(BODY)  # and never closes
        assert answered.recv(65_536).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        code, _ = server.end()
        assert code == 0
        assert time.monotonic() - began < 9.5
        assert silent.recv(1) == kept.recv(1) == b""
        answered.close()


def test_ctrl_c_is_quick(serve: Serve) -> None:
    server = serve()
    server.wait_until("/readyz")
    in_flight = server.open_request(SLOW | {"num_inference_steps": 100})
    until(lambda: server.queued_and_running() == (0, 1))
    began = time.monotonic()
    code, log = server.end(signal.SIGINT)
    assert code == 0
    assert time.monotonic() - began < 6  # what those in flight would get after SIGTERM
    assert "Traceback" not in log
    in_flight.close()


def test_a_second_server_on_the_port_says_so_in_one_sentence(server: Server, serve: Serve) -> None:
    second = serve(PORT=str(server.port))
    code, log = second.end(0)
    assert code == 2
    [line] = log.splitlines()
    assert f"port {server.port} of 127.0.0.1 is in use by another program" in line
    assert server.ask("GET", "/livez")[0] == 200


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("IMAGEGEN_PRESETS", "/nowhere", "/nowhere: there is no such folder"),
        ("IMAGEGEN_STORAGE", "file:/proc/imagegen", "cannot write in /proc/imagegen"),
        ("IMAGEGEN_STORAGE", "ftp://x", "use file:FOLDER or gs://"),
        ("IMAGEGEN_MODEL", "/nowhere", "not a folder with a model_index.json"),
        ("IMAGEGEN_URLS", "signed", "a folder cannot sign links"),
        ("IMAGEGEN_HOST", "203.0.113.1", "IMAGEGEN_ALLOW_ANYONE=yes"),
    ],
)
def test_an_operator_s_mistake_stops_the_start(
    serve: Serve, name: str, value: str, words: str
) -> None:
    server = serve(**{name: value})
    code, log = server.end(0)
    assert code == 2
    [line] = log.splitlines()
    assert "CRITICAL: cannot start: " in line
    assert words in line


def test_an_address_that_is_not_this_machine_s_stops_the_start(serve: Serve) -> None:
    code, log = serve(IMAGEGEN_HOST="203.0.113.1", IMAGEGEN_ALLOW_ANYONE="yes").end(0)
    assert (code, "cannot listen on port" in log) == (2, True)
