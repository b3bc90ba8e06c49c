"""GET /images/{path}: cached for ever, asked for conditionally, and only pictures."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from imagegen.application import Application


@pytest.fixture(scope="module")
def url(client: FlaskClient) -> str:
    body = {"brand": "aurora", "prompt": "a mug", "seed": 5}
    [image] = client.post("/generate", json=body).get_json()["images"]
    return str(image["url"])


def test_a_picture_may_be_kept_for_ever(client: FlaskClient, url: str) -> None:
    response = client.get(url)
    assert response.content_type == "image/png"
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    again = client.get(url, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    other = client.get(url, headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


def test_head_and_ranges(client: FlaskClient, url: str) -> None:
    whole = client.get(url)
    head = client.head(url)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
    part = client.get(url, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.data) == (206, b"PNG")
    beyond = client.get(url, headers={"Range": "bytes=99999999-"})
    assert (beyond.status_code, beyond.mimetype) == (416, "application/problem+json")


def test_download(client: FlaskClient, url: str) -> None:
    name = url.rpartition("/")[2]
    header = client.get(f"{url}?download=1").headers["Content-Disposition"]
    assert header == f"attachment; filename={name}"
    assert "Content-Disposition" not in client.get(url).headers


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "..%2fsecret.png",
        "%2e%2e/secret.png",
        "a/../../secret.png",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "a%00.png",
        "a%0ab.png",
        "a\\..\\b.png",
        ".hidden.png",
        "x" * 5_000,
    ],
)
def test_nothing_outside_the_store_can_be_read(client: FlaskClient, path: str) -> None:
    response = client.get(f"/images/{path}")
    assert (response.status_code, response.mimetype) == (404, "application/problem+json")


def test_what_is_not_a_picture_is_not_shown(client: FlaskClient, application: Application) -> None:
    application.storage.create("reports/x.html", b"<script>", "text/html")
    assert client.get("/images/reports/x.html").status_code == 404
