"""OpenAI's dialect: what its words become, what its clients get, and how failures are told."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from imagegen import errors
from imagegen.application import Application
from imagegen.errors import Busy, FieldError, InvalidRequest
from imagegen.generation import GenerationRequest
from imagegen.parsing import read_json
from imagegen.web.app import create_app
from imagegen.web.errors import STATUS, failure_of
from imagegen.web.openai.bodies import GenerationsBody
from imagegen.web.openai.failures import error_answer, tell_openai
from imagegen.web.openai.translation import to_request

PATH = "/v1/images/generations"
BODY = {"model": "aurora", "prompt": "a red mug, please", "seed": 0}
KEYS = {"message", "type", "param", "code"}


def requested(application: Application, **fields: object) -> GenerationRequest:
    asked = GenerationsBody.model_validate(BODY | fields)
    return to_request(asked, application.catalog.get(asked.model))


def refusal(client: FlaskClient, status: int, **fields: object) -> dict[str, Any]:
    answer = client.post(PATH, json=BODY | fields)
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.get_json()["error"]
    assert set(answer.get_json()) == {"error"}
    assert set(error) == KEYS
    return error


@pytest.mark.parametrize(
    ("fields", "ours"),
    [
        ({}, {}),
        ({"n": 2, "size": "48x72"}, {"num_images": 2, "width": 48, "height": 72}),
        ({"size": "auto"}, {}),
        ({"size": "tiny"}, {"format": "tiny"}),
        ({"quality": "low"}, {"num_inference_steps": 2}),
        ({"quality": "medium"}, {}),
        ({"quality": "hd"}, {"num_inference_steps": 6}),
        ({"quality": "max"}, {"num_inference_steps": 12}),
        ({"quality": "max", "num_inference_steps": 1}, {"num_inference_steps": 1}),
        ({"output_format": "jpeg", "output_compression": 0}, {"output_quality": 1}),
        ({"guidance_scale": 0, "negative_prompt": ""}, {"guidance_scale": 0}),
        ({"scheduler": "ddim", "campaign": "spring"}, {"scheduler": "ddim", "campaign": "spring"}),
        ({"user": "me", "moderation": "low", "style": "vivid", "background": "opaque"}, {}),
        ({"n": None, "size": None, "quality": None, "user": None}, {}),
    ],
)
def test_their_words_become_ours(
    application: Application, fields: dict[str, object], ours: dict[str, object]
) -> None:
    request = requested(application, **fields)
    assert (request.brand, request.prompt, request.seed) == ("aurora", "a red mug, please", 0)
    said = request.model_dump(exclude_unset=True)
    assert (
        said
        == {"brand": "aurora", "prompt": "a red mug, please", "seed": 0}
        | {key: value for key, value in fields.items() if value is not None and key in said}
        | ours
    )


def test_what_a_brand_never_says_has_no_steps_to_speak_of(application: Application) -> None:
    assert requested(application, quality="high", model="pop").num_inference_steps == 4


def test_pictures_come_in_base64(client: FlaskClient) -> None:
    answer = client.post(PATH, json=BODY | {"n": 2, "size": "72x40"}).get_json()
    for item in answer["data"]:
        assert set(item) == {"b64_json", "seed"}
        with Image.open(io.BytesIO(base64.b64decode(item["b64_json"]))) as picture:
            assert (picture.format, picture.size) == ("PNG", (72, 40))
    assert [item["seed"] for item in answer["data"]] == [0, 1]
    assert answer["id"].startswith("gen_")
    assert (answer["size"], answer["quality"], answer["background"]) == (
        "72x40", "medium", "opaque",
    )  # fmt: skip
    assert answer["usage"] == {
        "input_tokens": 5,
        "output_tokens": 6,
        "total_tokens": 11,
        "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
        "output_tokens_details": {"image_tokens": 6, "text_tokens": 0},
    }


def test_pictures_come_as_links(client: FlaskClient) -> None:
    asked = BODY | {"response_format": "url", "output_format": "webp"}
    answer = client.post(PATH, json=asked, base_url="https://pictures.example").get_json()
    [item] = answer["data"]
    assert set(item) == {"url", "seed"}
    assert item["url"].startswith("https://pictures.example/images/aurora/")
    assert client.get(item["url"].removeprefix("https://pictures.example")).mimetype == "image/webp"


def test_it_is_the_picture_that_our_own_words_give(client: FlaskClient) -> None:
    theirs = client.post(PATH, json=BODY | {"quality": "high"}).get_json()
    ours = {"brand": "aurora", "prompt": BODY["prompt"], "seed": 0, "num_inference_steps": 6}
    digest = client.post("/generate", json=ours).get_json()["images"][0]["sha256"]
    file = base64.b64decode(theirs["data"][0]["b64_json"])
    assert hashlib.sha256(file).hexdigest() == digest


def test_brands_are_models(client: FlaskClient) -> None:
    answer = client.get("/v1/models").get_json()
    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]] == ["aurora", "pop"]
    assert client.get("/v1/models/pop").get_json() == answer["data"][1]
    missing = client.get("/v1/models/gpt-image-1.5")
    assert missing.status_code == 404
    assert missing.get_json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"n": 9}, "n", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": "2"}, "n", "invalid_value"),
        ({"n": True}, "n", "invalid_value"),
        ({"size": "1024"}, "size", "invalid_value"),
        ({"size": "0x64"}, "size", "invalid_value"),
        ({"size": "65x64"}, "size", "invalid_value"),
        ({"size": "64×64"}, "size", "invalid_value"),
        ({"size": "nothing-like-it"}, "size", "invalid_value"),
        ({"size": "99999x64"}, "size", "invalid_value"),
        ({"quality": "best"}, "quality", "invalid_value"),
        ({"background": "transparent"}, "background", "invalid_value"),
        ({"output_format": "gif"}, "output_format", "invalid_value"),
        ({"output_compression": 101}, "output_compression", "invalid_value"),
        ({"output_compression": 50}, "output_compression", "invalid_value"),
        ({"partial_images": 2}, "partial_images", "invalid_value"),
        ({"partial_images": 4, "stream": True}, "partial_images", "invalid_value"),
        ({"partial_images": 1, "stream": True, "n": 2}, "partial_images", "invalid_value"),
        ({"stream": True, "response_format": "url"}, "stream", "invalid_value"),
        ({"stream": True, "size": "1536x1024"}, "size", "invalid_value"),
        ({"seed": -1}, "seed", "invalid_value"),
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"prompt": None}, "prompt", "invalid_value"),
        ({"prompt": "a <lora:x:1> mug"}, "prompt", "invalid_value"),
        ({"prompt": "a casino"}, "prompt", "moderation_blocked"),
        ({"scheduler": "plms"}, "scheduler", "invalid_value"),
        ({"num_images": 2}, "num_images", "unknown_parameter"),
        ({"stream_options": {}}, "stream_options", "unknown_parameter"),
    ],
)
def test_a_fault_names_its_field(
    client: FlaskClient, fields: dict[str, object], param: str | None, code: str
) -> None:
    error = refusal(client, 400, **fields)
    assert (error["param"], error["code"]) == (param, code)
    kind = "image_generation_user_error" if code == "moderation_blocked" else None
    assert error["type"] == (kind or "invalid_request_error")


def test_what_is_missing_is_named(client: FlaskClient) -> None:
    answer = client.post(PATH, json={"prompt": "a mug"})
    assert answer.status_code == 400
    assert answer.get_json()["error"] == {
        "message": "model: is required",
        "type": "invalid_request_error",
        "param": "model",
        "code": "missing_required_parameter",
    }


@pytest.mark.parametrize("size", ["1536x1024", "nothing-like-it", "1025x64"])
def test_a_size_that_cannot_be_drawn_says_which_can(client: FlaskClient, size: str) -> None:
    message = refusal(client, 400, size=size)["message"]
    assert "sides of 8 to 1024" in message
    assert "tiny (64x40)" in message


@pytest.mark.parametrize("model", ["nobody", "gpt-image-1.5", "../etc", ""])
def test_a_model_that_is_no_brand_is_not_found(client: FlaskClient, model: str) -> None:
    error = refusal(client, 404, model=model)
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "aurora" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
        ("POST", "/v1/chat/completions", 404, "not_found"),
        ("GET", PATH, 405, "method_not_allowed"),
        ("DELETE", "/v1/models/pop", 405, "method_not_allowed"),
        ("POST", PATH, 415, "unsupported_media_type"),
    ],
)
def test_what_is_not_there_is_told_in_their_shape(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    error = answer.get_json()["error"]
    assert set(error) == KEYS
    assert error["code"] == code
    assert "Allow" in answer.headers or status != 405


def test_a_neighbouring_path_is_told_in_ours(client: FlaskClient) -> None:
    assert client.get("/v1beta/models").mimetype == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[" * 60_000, 400), (b"null", 400), (b"{}".ljust(70_000), 413)],
)
def test_hostile_bodies(client: FlaskClient, body: bytes, status: int) -> None:
    answer = client.post(PATH, data=body, content_type="application/json")
    assert answer.status_code == status
    assert set(answer.get_json()["error"]) == KEYS


def test_a_body_that_is_no_object_is_told_what_it_needs() -> None:
    with pytest.raises(InvalidRequest, match="a JSON object with model and prompt"):
        read_json(GenerationsBody, b"[]")


def test_what_rendering_refuses(client: FlaskClient) -> None:
    error = refusal(client, 500, prompt="!nan")
    assert (error["type"], error["code"]) == ("server_error", "render_failed")


def test_a_surprise_tells_a_reference_alone(application: Application) -> None:
    app = create_app(application)

    @app.get("/v1/surprise")
    def surprise() -> str:
        raise KeyError("a secret")

    answer = app.test_client().get("/v1/surprise")
    assert answer.status_code == 500
    assert answer.get_json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text


@pytest.mark.parametrize("kind", [kind for kind in STATUS if issubclass(kind, errors.CallerError)])
def test_every_fault_of_a_caller_is_a_status_their_client_knows(kind: type) -> None:
    error = kind(FieldError("x", "is wrong")) if issubclass(kind, InvalidRequest) else kind("wrong")
    failure = failure_of(error)
    answer = tell_openai(failure)
    assert answer.status_code in (400, 401, 403, 404, 409, 413, 415, 429)
    assert set(error_answer(failure).model_dump()["error"]) == KEYS


def test_who_is_turned_away_learns_when_to_come_back(application: Application) -> None:
    failure = failure_of(errors.QueueFull("enough wait already", retry_after_s=2.2))
    answer = error_answer(failure).error
    assert (answer.type, answer.code) == ("requests", "rate_limit_exceeded")
    assert failure.headers == {"Retry-After": "3"}
    assert issubclass(errors.QueueFull, Busy)


def test_what_takes_too_long_is_not_asked_for_again(client: FlaskClient) -> None:
    answer = tell_openai(failure_of(errors.DeadlineExceeded("not ready within 5 s")))
    assert answer.status_code == 504
    assert answer.headers["X-Should-Retry"] == "false"


def test_under_one_key_a_request_is_one_generation(client: FlaskClient) -> None:
    key = {"Idempotency-Key": "one-of-a-kind"}
    unseeded = {"model": "aurora", "prompt": "a mug"}
    first = client.post(PATH, json=unseeded, headers=key).get_json()
    again = client.post(PATH, json=unseeded, headers=key).get_json()
    assert (again["id"], again["data"]) == (first["id"], first["data"])
    streamed = client.post(PATH, json=unseeded | {"stream": True}, headers=key).text
    assert first["id"] in streamed
    assert first["data"][0]["b64_json"] in streamed
    other = client.post(PATH, json=unseeded | {"prompt": "a lamp"}, headers=key)
    assert (other.status_code, other.get_json()["error"]["code"]) == (400, "idempotency_conflict")
