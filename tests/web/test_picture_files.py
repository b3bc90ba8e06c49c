"""A picture by its number, in any file format, with its records."""

from __future__ import annotations

import io

import pytest
from flask.testing import FlaskClient
from PIL import Image

from imagegen.generation import OutputFormat
from imagegen.provenance import read_record


@pytest.mark.parametrize("stored", list(OutputFormat))
@pytest.mark.parametrize("wanted", list(OutputFormat))
def test_every_format_of_every_file_has_its_records(
    client: FlaskClient, stored: OutputFormat, wanted: OutputFormat
) -> None:
    body = {"brand": "aurora", "prompt": "ein Krüg 本 & <x>", "num_images": 2, "seed": 3}
    made = client.post("/generate", json={**body, "output_format": stored}).get_json()
    there = client.get(made["images"][1]["url"]).data
    address = f"/generations/{made['id']}/images/1"
    answer = client.get(f"{address}?as={wanted}")
    assert answer.content_type == wanted.content_type
    with Image.open(io.BytesIO(answer.data)) as picture:
        assert picture.format == wanted.value.upper()
        assert picture.size == (64, 40)
    record = read_record(answer.data)
    assert record == read_record(there)
    assert record is not None
    assert record["seed"] == 4
    if wanted is stored:
        assert answer.data == there == client.get(address).data
    assert "Content-Disposition" not in answer.headers


def test_it_can_be_saved_and_kept(client: FlaskClient) -> None:
    made = client.post("/generate", json={"brand": "aurora", "prompt": "x", "seed": 3}).get_json()
    address = f"/generations/{made['id']}/images/0"
    answer = client.get(f"{address}?as=jpeg&download=1")
    assert answer.headers["Content-Disposition"] == "attachment; filename=aurora-3.jpg"
    assert "immutable" in answer.headers["Cache-Control"]
    etag = {"If-None-Match": answer.headers["ETag"]}
    assert client.get(f"{address}?as=jpeg", headers=etag).status_code == 304


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("{id}/images/1", 404), ("{id}/images/99999999999999999999", 404), ("{id}/images/-1", 404),
        ("{id}/images/0?as=gif", 422), ("{id}/images/0?x=1", 422),
        ("gen_0123456789abcdef0123/images/0", 404), ("..%2f..%2fsecret/images/0", 404),
    ],
)  # fmt: skip
def test_nonsense_is_refused(client: FlaskClient, path: str, status: int) -> None:
    made = client.post("/generate", json={"brand": "aurora", "prompt": "x"}).get_json()
    assert client.get(f"/generations/{path.format(id=made['id'])}").status_code == status
