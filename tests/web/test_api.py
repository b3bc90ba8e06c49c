"""POST /generate and what may be asked, through Flask's client."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from imagegen.generation import GenerationRequest

BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a mug", "seed": 0}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def test_the_answer_has_the_contract_s_names(client: FlaskClient) -> None:
    answer = client.post("/generate", json=BODY | {"num_images": 2}).get_json()
    assert set(answer) == {
        "id", "status", "brand", "preset_version", "model", "created_at", "campaign", "warnings",
        "images", "timings", "usage",
    }  # fmt: skip
    assert answer["created_at"].endswith("Z")
    assert [image["seed"] for image in answer["images"]] == [0, 1]
    assert set(answer["images"][0]) == {
        "url", "storage_uri", "seed", "width", "height", "content_type", "size_bytes", "sha256",
        "clean", "score",
    }  # fmt: skip
    assert set(answer["timings"]) == {"queue_s", "render_s", "encode_s", "store_s", "total_s"}
    assert set(answer["usage"]) == {"gpu_s", "steps", "estimated_cost_usd"}


def test_links_are_absolute_and_open(client: FlaskClient) -> None:
    [image] = client.post("/generate", json=BODY).get_json()["images"]
    assert image["url"].startswith("http://localhost/images/aurora/")
    assert len(client.get(image["url"]).data) == image["size_bytes"]


def test_links_are_https_behind_a_front_end_that_ends_tls(client: FlaskClient) -> None:
    headers = {"X-Forwarded-Proto": "https", "Host": "pictures.example"}
    [image] = client.post("/generate", json=BODY, headers=headers).get_json()["images"]
    assert image["url"].startswith("https://pictures.example/images/")


@pytest.mark.parametrize("host", ["evil<>", "a b", "a/b", "x" * 300])
def test_a_host_that_is_none_is_refused(client: FlaskClient, host: str) -> None:
    response = client.post("/generate", json=BODY, headers={"Host": host})
    assert (response.status_code, response.get_json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, image/png", "application/json"),
        ("application/*", "application/json"),
        ("text/html", "application/json"),
        ("image/gif", "application/json"),
        ("image/png;q=0", "application/json"),
        ("image/png;q=0.4, application/json;q=0.5", "application/json"),
        ("nonsense;;q=x", "application/json"),
        ("image/png", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("image/webp", "image/webp"),
        ("image/*", "image/png"),
        ("image/png;q=0.5, image/webp", "image/webp"),
        ("image/png;q=0.5, application/json;q=0.4", "image/png"),
        ("image/jpeg, */*;q=0.1", "image/jpeg"),
        (BROWSER, "image/webp"),
    ],
)
def test_accept_chooses_between_record_and_picture(
    client: FlaskClient, accept: str, content_type: str
) -> None:
    response = client.post("/generate", json=BODY, headers={"Accept": accept})
    assert (response.status_code, response.content_type) == (200, content_type)


def test_a_picture_says_in_its_headers_what_the_record_says(client: FlaskClient) -> None:
    body = BODY | {"prompt": "wörter " * 90}
    response = client.post("/generate", json=body, headers={"Accept": "image/jpeg"})
    picture = Image.open(io.BytesIO(response.data), formats=["JPEG"])
    assert picture.size == (64, 40)
    assert response.headers["X-Seed"] == "0"
    assert response.headers["X-Generation-Id"].startswith("gen_")
    assert "past the text encoder" in response.headers["X-Warnings"]
    again = client.get(response.headers["Content-Location"])
    assert again.data == response.data
    assert again.headers["ETag"] == response.headers["ETag"]


def test_any_picture_is_the_format_that_was_asked_for(client: FlaskClient) -> None:
    body = BODY | {"output_format": "webp"}
    response = client.post("/generate", json=body, headers={"Accept": "image/*"})
    assert response.content_type == "image/webp"


@pytest.mark.parametrize(
    ("more", "field"),
    [({"num_images": 2}, "num_images"), ({"output_format": "png"}, "output_format")],
)
def test_a_header_that_contradicts_the_body(
    client: FlaskClient, more: dict[str, Any], field: str
) -> None:
    response = client.post("/generate", json=BODY | more, headers={"Accept": "image/webp"})
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]


def test_several_pictures_are_a_record_where_that_is_accepted_too(client: FlaskClient) -> None:
    headers = {"Accept": "image/png, application/json;q=0.1"}
    response = client.post("/generate", json=BODY | {"num_images": 2}, headers=headers)
    assert len(response.get_json()["images"]) == 2


def test_brands(client: FlaskClient) -> None:
    aurora, pop = client.get("/brands").get_json()["brands"]
    assert set(aurora) >= {
        "id", "name", "description", "cover_url", "palette", "formats", "defaults",
        "preset_version",
    }  # fmt: skip
    assert list(aurora["formats"])[:2] == ["square", "portrait"]  # in an order that means something
    assert aurora["formats"]["tiny"] == {"width": 64, "height": 40}
    assert aurora["defaults"]["num_inference_steps"] == 3
    assert "banned_terms" not in aurora
    assert pop["cover_url"] is None
    assert client.get("/brands/aurora").get_json() == aurora


def test_a_cover_is_a_picture_and_is_not_sent_twice(client: FlaskClient) -> None:
    url = client.get("/brands/aurora").get_json()["cover_url"]
    response = client.get(url)
    assert response.content_type == "image/png"
    again = client.get(url, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_capabilities(client: FlaskClient) -> None:
    capabilities = client.get("/capabilities").get_json()
    assert capabilities["brands"] == ["aurora", "pop"]
    assert capabilities["model"]["native_px"] == 256
    assert "row_limits" not in capabilities["model"]
    assert capabilities["formats"]["square"] == {"width": 256, "height": 256}
    assert "ddim" in capabilities["schedulers"]
    assert capabilities["output_formats"] == ["png", "jpeg", "webp"]
    assert set(capabilities["request"]["properties"]) == set(GenerationRequest.model_fields)
