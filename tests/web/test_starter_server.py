"""The service as a newcomer meets it: the starter model, the brands that ship, a real server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from web_server import Server

from imagegen.provenance import read_record

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        {
            "IMAGEGEN_PRESETS": str(repository / "brand_presets"),
            "IMAGEGEN_STORAGE": f"file:{tmp_path_factory.mktemp('output')}",
        }
    )
    server.wait_until("/livez", timeout_s=60)
    yield server  # not ready yet: the first request waits for the model
    server.end()


def ask(server: Server, **fields: object) -> bytes:
    fields = {"prompt": "a red mug", "num_inference_steps": 6, "seed": 0} | fields
    status, _, body = server.ask("POST", "/generate", fields, Accept="image/png")
    assert status == 200, body[:500]
    return body


@pytest.mark.parametrize("brand", ["aurora", "botanic", "pop"])
def test_the_same_request_twice_gives_the_same_bytes(server: Server, brand: str) -> None:
    first = ask(server, brand=brand)
    other = ask(server, brand="pop" if brand != "pop" else "aurora")
    assert ask(server, brand=brand) == first
    assert other != first
    assert len(Image.open(io.BytesIO(first)).getcolors(1 << 20) or []) > 500, "a picture of nothing"
    record = read_record(first)
    assert record is not None
    assert record["model"]["name"] == "starter"
    assert [each["file"] for each in record["adapters"]] == [f"{brand}.safetensors"]


def test_a_picture_is_rendered_again_to_the_last_bit_from_its_page(server: Server) -> None:
    """By a button; the first one was made beside another, with the brand's logo."""
    asked = {
        "brand": "botanic", "prompt": "a red mug", "num_inference_steps": 6, "seed": 11,
        "num_images": 2, "overlay": {"logo": True, "headline": "Spring"}, "exact": True,
    }  # fmt: skip
    status, _, body = server.ask("POST", "/generate", asked)
    assert status == 200, body
    made = json.loads(body)
    page = f"/library/{made['id']}/1"
    assert b"It will be the same picture" in server.ask("GET", page)[2]
    status, headers, _ = server.submit(f"{page}/again", {})
    assert status == 303
    there = headers["Location"]
    assert b"the same picture, to the last bit" in server.ask("GET", there)[2]
    again = there.partition("?")[0].removeprefix("/library/")

    def pixels(name: str) -> bytes:
        generation_id, _, index = name.partition("/")
        file = server.ask("GET", f"/generations/{generation_id}/images/{index}")[2]
        return Image.open(io.BytesIO(file)).tobytes()

    assert pixels(again) == pixels(f"{made['id']}/1")
    assert pixels(again) != pixels(f"{made['id']}/0")


def test_every_format_of_every_brand_can_be_had(server: Server) -> None:
    brands = json.loads(server.ask("GET", "/brands")[2])["brands"]
    assert [brand["id"] for brand in brands] == ["aurora", "botanic", "pop"]
    for name, size in brands[0]["formats"].items():
        picture = ask(server, brand="aurora", format=name, num_inference_steps=1)
        assert Image.open(io.BytesIO(picture)).size == (size["width"], size["height"])


def test_covers_are_pictures(server: Server) -> None:
    for brand in json.loads(server.ask("GET", "/brands")[2])["brands"]:
        path = brand["cover_url"].partition(f":{server.port}")[2] or brand["cover_url"]
        cover = Image.open(io.BytesIO(server.ask("GET", path)[2]))
        assert min(cover.size) >= 192
