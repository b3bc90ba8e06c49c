"""Logo, words and score through the API: two files, both found again, the record of both."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from imagegen.application import Application
from imagegen.branding.drift import EARLIEST, RECENT
from imagegen.provenance import COMPOSITE, TRAINED_ALGORITHMIC_MEDIA, read_record
from imagegen.web.app import create_app

BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a mug", "format": "square"}


def made(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/generate", json=BODY | fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_the_picture_with_its_logo_and_the_clean_one(
    client: FlaskClient, output_format: str
) -> None:
    plain = made(client, seed=5, output_format=output_format)["images"][0]
    image = made(client, seed=5, output_format=output_format, overlay=True)["images"][0]
    with_logo, clean = (client.get(one["url"]).data for one in (image, image["clean"]))
    for file, said in ((with_logo, image), (clean, image["clean"])):
        assert hashlib.sha256(file).hexdigest() == said["sha256"]
        assert len(file) == said["size_bytes"]
    assert plain["clean"] is None
    assert clean == client.get(plain["url"]).data
    changed = np.abs(pixels(with_logo) - pixels(clean)).max(axis=-1) > 60
    rows, columns = np.nonzero(changed)
    assert changed.any()
    assert rows.min() > 128, "the bottom right corner"
    assert columns.min() > 128
    assert image["clean"]["url"].endswith("-clean." + image["url"].rpartition(".")[2])


def test_the_same_request_gives_the_same_bytes(client: FlaskClient) -> None:
    wish = {"headline": "Año nuevo", "legal": "Terms apply."}
    first, second = (made(client, seed=6, overlay=wish)["images"][0] for _ in range(2))
    assert first["sha256"] == second["sha256"]
    assert first["url"] != second["url"]
    assert first["score"] == second["score"]


def test_the_record_tells_both_links_again(client: FlaskClient, application: Application) -> None:
    answer = made(client, seed=7, num_images=2, overlay=True)
    found = client.get(f"/generations/{answer['id']}").get_json()
    assert found["images"] == answer["images"]
    elsewhere = create_app(application).test_client()
    assert elsewhere.get(answer["images"][1]["clean"]["url"]).status_code == 200


def test_each_file_says_what_it_is(client: FlaskClient) -> None:
    image = made(client, seed=8, overlay={"headline": "Go where it is dark"})["images"][0]
    files = [client.get(link).data for link in (image["url"], image["clean"]["url"])]
    records = [read_record(file) for file in files]
    assert records[0] is not None
    assert records[0]["overlay"]["headline"] == "Go where it is dark"
    assert records[1] is not None
    assert "overlay" not in records[1]
    assert COMPOSITE.encode() in files[0]
    assert TRAINED_ALGORITHMIC_MEDIA.encode() in files[1]


def test_whoever_takes_the_picture_itself_gets_the_one_with_the_logo(client: FlaskClient) -> None:
    image = made(client, seed=9, overlay=True)["images"][0]
    answer = client.post(
        "/generate", json=BODY | {"seed": 9, "overlay": True}, headers={"Accept": "image/png"}
    )
    assert hashlib.sha256(answer.data).hexdigest() == image["sha256"]


def test_a_brand_without_a_logo_warns_and_keeps_one_more_file(client: FlaskClient) -> None:
    answer = made(client, brand="pop", overlay=True)
    assert answer["warnings"] == ["Pop has no logo, so there is none on the picture"]


@pytest.mark.parametrize(
    ("overlay", "field"),
    [
        ("yes", "overlay"),
        (3, "overlay"),
        ([], "overlay"),
        ({"headline": ""}, "overlay.headline"),
        ({"headline": "x" * 121}, "overlay.headline"),
        ({"legal": "x" * 301}, "overlay.legal"),
        ({"headline": "x\u0000y"}, "overlay.headline"),
        ({"headline": "שלום"}, "overlay.headline"),
        ({"headline": "\U0001f525"}, "overlay.headline"),
        ({"headline": "W" * 119}, "overlay.headline"),
        ({"logo": 1}, "overlay.logo"),
        ({"colour": "red"}, "overlay.colour"),
    ],
)
def test_what_cannot_be_laid_on_is_refused_before_anything_is_rendered(
    client: FlaskClient, application: Application, overlay: object, field: str
) -> None:
    steps = application.engine.status().abandoned_gpu_s
    answer = client.post("/generate", json=BODY | {"overlay": overlay})
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.get_json()["errors"]] == [field]
    assert application.engine.status().abandoned_gpu_s == steps


def test_a_score_comes_unasked_and_goes_when_unwanted(client: FlaskClient) -> None:
    [image] = made(client, seed=10)["images"]
    score = image["score"]
    assert set(score) == {"total", "palette", "contrast", "similarity"}
    assert 0 <= score["total"] <= 100
    assert score["similarity"] is None
    assert made(client, seed=10, overlay=True)["images"][0]["score"] == score, "of the clean one"
    assert made(client, seed=10, score=False)["images"][0]["score"] is None
    assert made(client, brand="pop", seed=10)["images"][0]["score"] is None, "nothing is known"


def test_the_brand_says_whether_it_has_a_logo(client: FlaskClient) -> None:
    brands = {one["id"]: one["has_logo"] for one in client.get("/brands").get_json()["brands"]}
    assert brands == {"aurora": True, "pop": False}


def test_drift_is_told_once_there_are_enough_pictures(client: FlaskClient) -> None:
    assert client.get("/brands/nobody/drift").status_code == 404
    for start in range(0, RECENT + EARLIEST, 8):
        made(client, seed=1_000 + start, num_images=8, width=32, height=32, format=None)
    drift = client.get("/brands/aurora/drift").get_json()
    assert drift["pictures"] >= RECENT + EARLIEST
    assert isinstance(drift["recent"], float)
    assert isinstance(drift["drifts"], bool)
    nothing = client.get("/brands/pop/drift").get_json()
    assert (nothing["recent"], nothing["drifts"]) == (None, False)


def test_no_picture_lies_about(client: FlaskClient, application: Application) -> None:
    """Of one generation with an overlay two files each, and no more."""
    answer = made(client, seed=11, num_images=2, overlay=True)
    folder = Path(application.settings.storage.removeprefix("file:"))
    files = [path.name for path in folder.rglob(f"{answer['id']}-*") if path.is_file()]
    pictures = sorted(name for name in files if name.endswith(".png"))
    assert pictures == [
        f"{answer['id']}-{index}-{11 + index}{mark}.png"
        for index in (0, 1)
        for mark in ("-clean", "")
    ]
