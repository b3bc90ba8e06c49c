"""Whatever arrives as a body, the answer is a clean 4xx, and the service goes on."""

from __future__ import annotations

import io
import json

import pytest
from flask.testing import FlaskClient

from imagegen.web.picture_room import MAX_BODY_BYTES

JSON = "application/json"
GOOD = {"brand": "aurora", "prompt": "a mug"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\x00", 400),
        (b"{", 400),
        (b"nope", 400),
        (b'{"brand": "aurora",}', 400),
        (b"{'brand': 'aurora'}", 400),
        (b"[" * 60_000, 400),
        (b'{"a":' * 12_000, 400),
        (b'{"brand": "aurora", "prompt": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
        (b"\xff\xfe{\x00", 400),
        (b'{"brand": "aurora", "prompt": "\xff"}', 400),
        (b'{"brand": "aurora", "prompt": "\\ud800"}', 400),
        (b"[]", 422),
        (b"null", 422),
        (b"7", 422),
        (b'{"brand": "aurora"}', 422),
        (b'{"brand": "../../etc", "prompt": "x"}', 422),
        (b'{"brand": {"$ne": 1}, "prompt": ["x"]}', 422),
        (b'{"brand": "aurora", "prompt": "x\\u0000"}', 422),
        (b'{"brand": "aurora", "prompt": "x", "seed": 1e400}', 422),
        (b'{"brand": "aurora", "prompt": "x", "seed": ' + b"9" * 5_000 + b"}", 400),
        (b'{"brand": "aurora", "prompt": "x", "guidance_scale": NaN}', 422),
        (b'{"brand": "aurora", "prompt": "x", "__proto__": {}}', 422),
        (b'{"brand": "nobody", "prompt": "x"}', 404),
        (b'{"brand": "aurora", "prompt": "' + b"x" * 2_001 + b'"}', 422),
        (b"x" * (MAX_BODY_BYTES + 1), 413),
    ],
)
def test_hostile_bodies(client: FlaskClient, body: bytes, status: int) -> None:
    response = client.post("/generate", data=body, content_type=JSON)
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert len(response.data) < 20_000


def test_the_largest_body_is_still_read(client: FlaskClient) -> None:
    body = json.dumps(GOOD).encode().ljust(MAX_BODY_BYTES)
    assert client.post("/generate", data=body, content_type=JSON).status_code == 200


def test_a_body_without_a_length_is_bounded_too(client: FlaskClient) -> None:
    response = client.post(
        "/generate",
        input_stream=io.BytesIO(b" " * (MAX_BODY_BYTES + 1)),
        content_type=JSON,
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert response.get_json()["code"] == "body_too_large"


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"],
)
def test_other_media_types_are_refused(client: FlaskClient, content_type: str | None) -> None:
    response = client.post("/generate", data=json.dumps(GOOD), content_type=content_type)
    assert (response.status_code, response.get_json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=UTF-8"])
def test_json_by_any_spelling(client: FlaskClient, content_type: str) -> None:
    response = client.post("/generate", data=json.dumps(GOOD), content_type=content_type)
    assert response.status_code == 200


def test_of_a_repeated_key_the_last_counts(client: FlaskClient) -> None:
    body = b'{"brand": "nobody", "prompt": "x", "brand": "pop"}'
    response = client.post("/generate", data=body, content_type=JSON)
    assert response.get_json()["brand"] == "pop"
