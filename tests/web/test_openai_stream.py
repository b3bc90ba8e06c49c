"""OpenAI's events: looks at a picture on its way, the picture, and what goes wrong in between."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from web_server import Server

from imagegen.application import Application

PATH = "/v1/images/generations"
BODY = {"model": "aurora", "prompt": "a red mug", "seed": 0, "stream": True}


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """(name, data) of each; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def picture_of(data: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data["b64_json"])))


def test_looks_come_first_and_then_the_picture(client: FlaskClient) -> None:
    body = BODY | {
        "prompt": "!slow", "partial_images": 3, "num_inference_steps": 8, "output_format": "webp",
    }  # fmt: skip
    answer = client.post(PATH, json=body)
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    *looks, (name, completed) = events_of(answer.text)
    assert [look[0] for look in looks] == ["image_generation.partial_image"] * 3
    assert [look[1]["partial_image_index"] for look in looks] == [0, 1, 2]
    for _, look in [*looks, (name, completed)]:
        assert picture_of(look).size == (64, 40)
        assert picture_of(look).format == "WEBP"
        assert (look["size"], look["output_format"]) == ("64x40", "webp")
    assert name == "image_generation.completed"
    assert completed["seed"] == 0
    assert completed["usage"]["output_tokens"] == 8
    assert completed["usage"]["input_tokens"] == 2


def test_it_is_the_picture_that_comes_without_a_stream(client: FlaskClient) -> None:
    [(_, streamed)] = events_of(client.post(PATH, json=BODY).text)
    plain = client.post(PATH, json=BODY | {"stream": False}).get_json()
    assert streamed["b64_json"] == plain["data"][0]["b64_json"]
    assert streamed["usage"] == plain["usage"]


def test_of_several_pictures_each_is_told(client: FlaskClient) -> None:
    events = events_of(client.post(PATH, json=BODY | {"n": 3}).text)
    assert [name for name, _ in events] == ["image_generation.completed"] * 3
    assert [data["seed"] for _, data in events] == [0, 1, 2]
    assert len({data["b64_json"] for _, data in events}) == 3
    assert {data["usage"]["output_tokens"] for _, data in events} == {3}


def test_edits_are_told_under_their_own_names(client: FlaskClient) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 40), "#336699").save(file, "PNG")
    said = BODY | {"image": base64.b64encode(file.getvalue()).decode()}
    [(name, data)] = events_of(client.post("/v1/images/edits", json=said).text)
    assert name == data["type"] == "image_edit.completed"


@pytest.mark.parametrize("fields", [{"model": "nobody"}, {"prompt": "a casino"}, {"n": 9}])
def test_what_is_refused_has_a_status(client: FlaskClient, fields: dict[str, Any]) -> None:
    answer = client.post(PATH, json=BODY | fields)
    assert answer.status_code in (400, 404)
    assert answer.mimetype == "application/json"


def test_what_goes_wrong_on_the_way_is_an_event(client: FlaskClient) -> None:
    *_, (name, data) = events_of(client.post(PATH, json=BODY | {"prompt": "!nan"}).text)
    assert name == "error"
    assert set(data["error"]) == {"message", "type", "param", "code"}
    assert data["error"]["code"] == "render_failed"


def test_who_leaves_takes_his_picture_along(serve: Callable[..., Server]) -> None:
    server = serve()
    server.wait_until("/readyz")
    body = BODY | {"prompt": "!slow", "num_inference_steps": 100, "partial_images": 1}
    connection = server.open_request(body, PATH)
    assert b"text/event-stream" in connection.recv(1 << 16)
    assert server.queued_and_running() == (0, 1)
    connection.close()
    began = time.monotonic()
    while server.queued_and_running() != (0, 0):
        assert time.monotonic() - began < 5
        time.sleep(0.05)


def test_who_leaves_before_he_reads_takes_his_picture_along(
    application: Application, client: FlaskClient
) -> None:
    body = BODY | {"prompt": "!slow", "num_inference_steps": 100}
    answer = client.post(PATH, json=body)
    assert answer.status_code == 200
    answer.close()
    began = time.monotonic()
    while (status := application.engine.status()).running or status.queued:
        assert time.monotonic() - began < 5
        time.sleep(0.05)
