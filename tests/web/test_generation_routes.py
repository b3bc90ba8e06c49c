"""/generations through Flask's client."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a mug", "seed": 0}


def test_a_record_says_what_the_answer_said(client: FlaskClient) -> None:
    answer = client.post("/generate", json=BODY).get_json()
    found = client.get(f"/generations/{answer['id']}")
    assert found.status_code == 200
    assert found.get_json() == answer
    assert found.headers["Cache-Control"] == "no-store"


def test_a_failure_says_why(client: FlaskClient) -> None:
    told = client.post("/generate", json=BODY | {"prompt": "!nan"})
    assert (told.status_code, told.get_json()["code"]) == (500, "render_failed")
    [newest] = client.get("/generations?limit=1").get_json()["generations"]
    assert (newest["status"], newest["images"]) == ("failed", [])
    assert newest["error"] == {"code": "render_failed", "detail": told.get_json()["detail"]}


def test_pages_end_with_null(client: FlaskClient) -> None:
    asked = BODY | {"campaign": "pages"}
    ids = [client.post("/generate", json=asked).get_json()["id"] for _ in range(3)]
    url, found = "/generations?campaign=pages&limit=2", []
    while url:
        page = client.get(url).get_json()
        found += [one["id"] for one in page["generations"]]
        cursor = page["cursor"]
        url = cursor and f"/generations?campaign=pages&limit=2&cursor={cursor}"
    assert found == ids[::-1]
    assert client.get("/generations?campaign=pages&brand=pop").get_json()["generations"] == []


@pytest.mark.parametrize("name", ["gen_" + "0" * 20, "x", "gen_%00", "..", "ä" * 300])
def test_what_is_not_there_is_404(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/generations/{name}")
    assert (answer.status_code, answer.get_json()["code"]) == (404, "unknown_generation")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("brand=../x", "brand"),
        ("cursor=x", "cursor"), ("colour=red", "colour"), ("campaign=" + "x" * 65, "campaign"),
    ],
)  # fmt: skip
def test_a_query_is_checked(client: FlaskClient, query: str, field: str) -> None:
    answer = client.get(f"/generations?{query}")
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.get_json()["errors"]] == [field]
