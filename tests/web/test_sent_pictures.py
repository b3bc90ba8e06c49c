"""Pictures that come in a body: how large, how many at a time, and what is no picture."""

from __future__ import annotations

import base64
import gc
import io
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import request
from flask.testing import FlaskClient
from PIL import Image
from sent_pictures import file_of, half_mask, scene, sent, text_of
from werkzeug.test import TestResponse

from imagegen.application import Application
from imagegen.edits import MAX_FILE_BYTES, SentPicture
from imagegen.errors import QueueFull
from imagegen.provenance import read_record
from imagegen.web.app import create_app
from imagegen.web.picture_room import (
    MAX_BODY_BYTES,
    MAX_PICTURE_BYTES,
    PictureRoom,
    open_picture_room,
)

GOOD = {"brand": "aurora", "prompt": "a mug"}
BLACK = Image.new("L", (64, 64))
# nothing about it can be compressed, so the file is large
LARGE = Image.frombytes("RGB", (400, 400), random.Random(1).randbytes(400 * 400 * 3))


def post(client: FlaskClient, **fields: object) -> TestResponse:
    return client.post("/generate", json=GOOD | fields)


def room_of(client: FlaskClient) -> PictureRoom:
    room: PictureRoom = client.application.extensions["imagegen.picture_room"]
    gc.collect()
    return room


def test_a_picture_comes_back_changed_and_says_what_it_was_made_of(client: FlaskClient) -> None:
    response = post(client, init_image=text_of(scene()), mask=text_of(half_mask()), strength=0.7)
    assert response.status_code == 200
    [image] = response.get_json()["images"]
    assert (image["width"], image["height"]) == (64, 64)
    record = read_record(client.get(image["url"]).data)
    assert record is not None
    assert record["init_image"] == {"sha256": sent(scene()).sha256}


def test_a_body_is_large_only_where_a_picture_is_in_it(client: FlaskClient) -> None:
    picture = text_of(LARGE)
    assert len(picture) > 4 * MAX_BODY_BYTES
    assert post(client, init_image=picture).status_code == 200
    assert post(client, init_image=f"data:image/png;base64,{picture}").status_code == 200
    # as PHP writes its JSON
    escaped = json.dumps(GOOD | {"init_image": picture}).replace("/", "\\/")
    response = client.post("/generate", data=escaped, content_type="application/json")
    assert response.status_code == 200
    spaces = json.dumps(GOOD | {"init_image": picture}) + " " * MAX_BODY_BYTES
    response = client.post("/generate", data=spaces, content_type="application/json")
    assert (response.status_code, response.get_json()["code"]) == (413, "body_too_large")
    assert "besides pictures" in response.get_json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"x" * (MAX_BODY_BYTES + 1),
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b'{"init_image": "x", ' + b", ".join(b'"f%d": 1' % n for n in range(100_000)) + b"}",
        b'{"init_image": [' + b'"AAAA", ' * 100_000 + b'"A"]}',
        b'{"init_image": "' + b"A" * 1_000 + b" " * MAX_BODY_BYTES + b'"}',
        b'{"init_image": "' + b"A" * (MAX_PICTURE_BYTES + 1) + b'"}',
        b" " * (MAX_PICTURE_BYTES + 2 * MAX_BODY_BYTES),
    ],
)
def test_a_large_body_of_anything_else_is_refused_unread(client: FlaskClient, body: bytes) -> None:
    response = client.post("/generate", data=body, content_type="application/json")
    assert (response.status_code, response.get_json()["code"]) == (413, "body_too_large")
    assert room_of(client).held_bytes == 0


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"init_image": "A" * 1_000_000}, "init_image", "is no PNG"),
        ({"init_image": "A" * 1_000_001}, "init_image", "in base64"),
        ({"prompt": "A" * 1_000_000}, "prompt", "at most 2000 characters"),
        ({"init_image": {"url": "http://x"}}, "init_image", "in base64"),
        ({"init_image": "http://127.0.0.1/"}, "init_image", "nothing is fetched"),
        ({"init_image": text_of(scene()), "mask": text_of(scene(8, 8))}, "mask", "one size"),
        ({"init_image": text_of(scene()), "mask": text_of(BLACK)}, "mask", "no white"),
        ({"mask": text_of(scene())}, "mask", "goes with init_image"),
        ({"strength": 0.5}, "strength", "goes with init_image"),
        ({"init_image": text_of(scene()), "strength": 0}, "strength", "more than 0"),
        ({"init_image": text_of(scene()), "strength": 0.1}, "strength", "not even one"),
        (
            {"init_image": base64.b64encode(file_of(LARGE)[:-5_000]).decode()},
            "init_image", "cut short or damaged",
        ),
    ],
    ids=range(12),
)  # fmt: skip
def test_each_fault_is_told_by_its_field(
    client: FlaskClient, fields: dict[str, object], field: str, message: str
) -> None:
    response = post(client, **fields)
    assert response.status_code == 422
    [fault] = response.get_json()["errors"]
    assert fault["field"] == field
    assert message in fault["message"]
    assert len(response.data) < 2_000, "the picture is not said back"
    assert room_of(client).held_bytes == 0


def test_a_picture_without_a_length_is_bounded_too(client: FlaskClient) -> None:
    def stream(body: bytes) -> TestResponse:
        return client.post(
            "/generate", input_stream=io.BytesIO(body), content_type="application/json",
            environ_overrides={"wsgi.input_terminated": True},
        )  # fmt: skip

    assert stream(json.dumps(GOOD | {"init_image": text_of(LARGE)}).encode()).status_code == 200
    endless = b'{"init_image": "' + b"A" * (MAX_PICTURE_BYTES + MAX_BODY_BYTES)
    assert stream(endless).get_json()["code"] == "body_too_large"
    assert room_of(client).held_bytes == 0


def test_the_form_takes_no_pictures(client: FlaskClient) -> None:
    response = client.post("/", data=GOOD | {"init_image": text_of(LARGE)})
    assert response.status_code == 413


def test_there_is_room_for_so_many_bytes(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegen.web.picture_room._PATIENCE_S", 0.3)
    app = create_app(application)
    picture = text_of(LARGE)
    open_picture_room(app, most_bytes=4 * len(picture))
    client = app.test_client()

    def ask(number: int) -> int:
        prompt = f"!slow {number}"
        response = app.test_client().post(
            "/generate", json=GOOD | {"prompt": prompt, "init_image": picture}
        )
        assert response.status_code == 200 or response.headers["Retry-After"] == "5"
        return response.status_code

    with ThreadPoolExecutor(8) as callers:
        statuses = list(callers.map(ask, range(8)))
    assert set(statuses) == {200, 429}
    assert room_of(client).held_bytes == 0, "nothing is kept of what was answered or refused"
    assert post(client).status_code == 200, "what has no picture needs no room"
    assert ask(9) == 200


def test_who_comes_when_others_are_read_waits_a_moment(application: Application) -> None:
    app = create_app(application)
    picture = text_of(LARGE)
    open_picture_room(app, most_bytes=4 * len(picture))
    room = room_of(app.test_client())
    with app.test_request_context("/", data=picture, method="POST"), ThreadPoolExecutor(1) as one:
        with room.reading(request):
            answer = one.submit(post, app.test_client(), init_image=picture)
            time.sleep(0.2)
            assert not answer.done()
        assert answer.result().status_code == 200


def test_who_is_refused_has_sent_all_he_wanted(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else his own sending fails, and he never reads that he may ask again."""
    monkeypatch.setattr("imagegen.web.picture_room._PATIENCE_S", 0.0)
    app = create_app(application)
    open_picture_room(app, most_bytes=1)
    sending = io.BytesIO(json.dumps(GOOD | {"init_image": text_of(LARGE)}).encode())
    response = app.test_client().post(
        "/generate", input_stream=sending, content_type="application/json",
        content_length=len(sending.getvalue()),
    )  # fmt: skip
    assert response.status_code == 429
    assert sending.read() == b""


def test_a_picture_counts_as_long_as_anybody_holds_it() -> None:
    room = PictureRoom(1_000_000)
    one, other = (SentPicture.of_file(file_of(scene(8, width))) for width in (8, 16))
    room.hold(one, None, other)
    assert room.held_bytes == len(one.data) + len(other.data)
    kept = [one]
    del one
    gc.collect()
    assert room.held_bytes == len(kept[0].data) + len(other.data)
    kept.clear()
    gc.collect()
    assert room.held_bytes == len(other.data)
    with pytest.raises(QueueFull):
        room.hold(SentPicture(bytes(1_000_000), "0", 8, 8))
    assert room.held_bytes == len(other.data)


def test_both_pictures_of_the_largest_size_fit_a_body() -> None:
    assert len(base64.b64encode(bytes(MAX_FILE_BYTES))) == MAX_PICTURE_BYTES
