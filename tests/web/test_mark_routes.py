"""Marks through Flask's client."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a mug", "seed": 0, "num_images": 2}


@pytest.fixture
def path(client: FlaskClient) -> str:
    return f"/generations/{client.post('/generate', json=BODY).get_json()['id']}"


def test_a_picture_is_marked_and_its_history_kept(client: FlaskClient, path: str) -> None:
    unmarked = {"mark": "none", "revision": 0, "history": []}
    assert client.get(f"{path}/marks").get_json() == {"images": [unmarked, unmarked]}
    for mark in ("favourite", "approved"):
        said = client.post(f"{path}/images/1/marks", json={"mark": mark})
        assert said.status_code == 200
    found = client.get(f"{path}/marks")
    assert found.headers["Cache-Control"] == "no-store"
    [first, second] = found.get_json()["images"]
    assert (first, second) == (unmarked, said.get_json())
    assert (second["mark"], second["revision"]) == ("approved", 2)
    assert [(one["mark"], one["by"]) for one in second["history"]] == [
        ("favourite", None), ("approved", None),
    ]  # fmt: skip
    assert datetime.fromisoformat(second["history"][1]["at"]).utcoffset() is not None


def test_who_was_too_slow_is_told(client: FlaskClient, path: str) -> None:
    asked = {"mark": "approved", "revision": 0}
    assert client.post(f"{path}/images/0/marks", json=asked).status_code == 200
    late = client.post(f"{path}/images/0/marks", json={"mark": "rejected", "revision": 0})
    assert (late.status_code, late.get_json()["code"]) == (409, "marked_meanwhile")
    assert client.get(f"{path}/marks").get_json()["images"][0]["mark"] == "approved"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[", 400), (b"[]", 422), (b"{}", 422), (b'{"mark": "nice"}', 422),
        (b'{"mark": null}', 422), (b'{"mark": "approved", "revision": -1}', 422),
        (b'{"mark": "approved", "by": "somebody else"}', 422), (b"[" * 60_000, 400),
        (b'{"mark": "' + b"x" * 70_000 + b'"}', 413),
    ],
)  # fmt: skip
def test_what_is_no_mark_is_refused(
    client: FlaskClient, path: str, body: bytes, status: int
) -> None:
    url = f"{path}/images/0/marks"
    assert client.post(url, data=body, content_type="application/json").status_code == status


def test_there_are_only_so_many_pictures(client: FlaskClient, path: str) -> None:
    for index in ("2", "99999999999999999999"):
        answer = client.post(f"{path}/images/{index}/marks", json={"mark": "approved"})
        assert (answer.status_code, answer.get_json()["code"]) == (404, "unknown_image")
    for index in ("-1", "x", "0.5"):
        answer = client.post(f"{path}/images/{index}/marks", json={"mark": "approved"})
        assert answer.status_code == 404


def test_another_sites_page_marks_nothing(client: FlaskClient, path: str) -> None:
    answer = client.post(
        f"{path}/images/0/marks",
        json={"mark": "approved"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert answer.status_code == 403
