"""The judge of OpenAI's dialect: openai's own client asks a real server with the starter model."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import openai
import pytest
from openai import OpenAI
from PIL import Image, ImageChops, ImageStat
from web_server import Server

from imagegen.callers.key_file import change_keys

PROMPT = "a red mug"
QUICK: dict[str, Any] = {"seed": 7, "num_inference_steps": 6}  # what OpenAI has no words for


def client_of(server: Server, key: str = "none", **options: Any) -> OpenAI:
    return OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key=key, **options)


def opened(item: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(item.b64_json)))


def file_of(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def difference(one: Image.Image, other: Image.Image, box: tuple[int, int, int, int]) -> float:
    """Mean of the difference, 0 to 255."""
    pair = [picture.convert("RGB").crop(box) for picture in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*pair)).mean) / 3


# With the starter model


@pytest.fixture(scope="module")
def starter(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    server = Server(
        {
            "IMAGEGEN_PRESETS": str(repository / "brand_presets"),
            "IMAGEGEN_STORAGE": f"file:{tmp_path_factory.mktemp('output')}",
        }
    )
    server.wait_until("/livez", timeout_s=60)
    with client_of(server) as client:
        yield client  # not ready yet: the first request waits for the model
    server.end()


@pytest.mark.torch
def test_pictures_are_made(starter: OpenAI) -> None:
    result = starter.images.generate(
        model="aurora", prompt=PROMPT, n=2, size="256x256", extra_body=QUICK
    )
    assert result.data is not None
    pictures = [opened(item) for item in result.data]
    assert [(one.format, one.size) for one in pictures] == [("PNG", (256, 256))] * 2
    assert difference(*pictures, (0, 0, 256, 256)) > 1
    assert all(len(one.getcolors(1 << 20) or []) > 500 for one in pictures), "of nothing"
    assert result.usage is not None
    assert (result.usage.input_tokens, result.usage.output_tokens) == (3, 12)
    assert (result.size, result.quality, result.output_format) == ("256x256", "medium", "png")
    assert abs(result.created - datetime.now(UTC).timestamp()) < 600


@pytest.mark.torch
def test_links_lead_to_pictures(starter: OpenAI) -> None:
    result = starter.images.generate(
        model="pop", prompt=PROMPT, response_format="url", output_format="jpeg",
        output_compression=80, extra_body=QUICK,
    )  # fmt: skip
    assert result.data is not None
    [item] = result.data
    assert item.b64_json is None
    with urlopen(item.url or "") as answer:
        assert Image.open(answer).format == "JPEG"


@pytest.mark.torch
def test_a_picture_is_seen_on_its_way(starter: OpenAI) -> None:
    stream = starter.images.generate(
        model="aurora", prompt=PROMPT, stream=True, partial_images=2,
        extra_body=QUICK | {"num_inference_steps": 30},
    )  # fmt: skip
    *looks, last = list(stream)
    assert last.type == "image_generation.completed"
    assert last.usage.output_tokens == 30
    assert 1 <= len(looks) <= 2
    final = opened(last)
    for index, look in enumerate(looks):
        assert look.type == "image_generation.partial_image"
        assert look.partial_image_index == index
        assert opened(look).size == final.size
    assert difference(opened(looks[-1]), final, (0, 0, 256, 256)) < 40, "a look at that picture"


@pytest.mark.torch
def test_what_is_transparent_is_repainted_and_the_rest_stays(starter: OpenAI) -> None:
    made = starter.images.generate(model="aurora", prompt=PROMPT, extra_body=QUICK)
    assert made.data is not None
    before = opened(made.data[0])
    mask = Image.new("RGBA", before.size, "white")
    mask.paste((0, 0, 0, 0), (128, 0, 256, 256))
    result = starter.images.edit(
        model="aurora", image=file_of(before), mask=file_of(mask), prompt="a blue bottle",
        extra_body=QUICK | {"seed": 8},
    )  # fmt: skip
    assert result.data is not None
    after = opened(result.data[0])
    kept, repainted = (0, 0, 112, 256), (144, 0, 256, 256)
    assert after.size == before.size
    assert difference(before, after, kept) < 15, "but for what the autoencoder changes"
    assert difference(before, after, repainted) > 2 * difference(before, after, kept)


@pytest.mark.torch
def test_an_edit_is_streamed_too(starter: OpenAI) -> None:
    picture = file_of(Image.new("RGB", (256, 256), "#336699"))
    stream = starter.images.edit(
        model="pop", image=[("blue.png", picture)], prompt=PROMPT, stream=True,
        extra_body=QUICK | {"strength": 0.9},
    )  # fmt: skip
    assert [event.type for event in stream] == ["image_edit.completed"]


# What does not hang on the model


@pytest.fixture(scope="module")
def fake(brands: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        {
            "IMAGEGEN_MODEL": "fake",
            "IMAGEGEN_PRESETS": str(brands),
            "IMAGEGEN_STORAGE": f"file:{tmp_path_factory.mktemp('output')}",
            "IMAGEGEN_MAX_QUEUE": "8",
            "IMAGEGEN_MAX_ROWS": "2",
        }
    )
    server.wait_until("/readyz")
    yield server
    server.end()


@pytest.fixture(scope="module")
def client(fake: Server) -> Iterator[OpenAI]:
    with client_of(fake, max_retries=0) as client:
        yield client


def test_brands_are_models(client: OpenAI) -> None:
    models = client.models.list()
    assert [model.id for model in models] == ["aurora", "pop"]
    assert client.models.retrieve("pop").owned_by == "imagegen"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_a_model_that_is_no_brand(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.images.generate(model="gpt-image-1.5", prompt=PROMPT)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"size": "1536x1024"}, "size", "invalid_value"),
        ({"background": "transparent"}, "background", "invalid_value"),
        ({"n": 10}, "n", "invalid_value"),
        ({"prompt": "a casino"}, "prompt", "moderation_blocked"),
        ({"extra_body": {"steps": 3}}, "steps", "unknown_parameter"),
    ],
)
def test_what_will_not_do(client: OpenAI, fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(**({"model": "aurora", "prompt": PROMPT} | fields))
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.message
    assert caught.value.request_id


def test_what_fails_on_the_way(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.images.generate(model="aurora", prompt="!nan")
    assert caught.value.code == "render_failed"
    with pytest.raises(openai.APIError, match="not finite"):
        list(client.images.generate(model="aurora", prompt="!nan", stream=True))


def test_too_much_at_once(fake: Server, client: OpenAI) -> None:
    def ask(seed: int) -> None:
        client.images.generate(model="aurora", prompt="!slow", n=8, extra_body={"seed": seed * 100})

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, seed) for seed in range(6)]
        refused = [error for one in asked if (error := one.exception(timeout=120)) is not None]
    assert refused
    for error in refused:
        assert isinstance(error, openai.RateLimitError)
        assert error.code == "rate_limit_exceeded"
        assert int(error.response.headers["Retry-After"]) >= 1


def test_who_is_turned_away_asks_again_by_himself(fake: Server) -> None:
    with client_of(fake, max_retries=10) as patient, ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(
                patient.images.generate,
                model="aurora", prompt="a mug", n=8, extra_body={"num_inference_steps": 20},
            )
            for _ in range(4)
        ]  # fmt: skip
        assert all(len(one.result(timeout=120).data or []) == 8 for one in asked)


def test_the_same_request_twice_at_once_is_rendered_once(fake: Server, client: OpenAI) -> None:
    def ask(retries: int) -> str:
        result = client.images.generate(
            model="aurora", prompt="!slow", extra_body={"num_inference_steps": 6},
            extra_headers={"X-Stainless-Retry-Count": str(retries)},
        )  # fmt: skip
        [item] = result.data or []
        return item.b64_json or ""

    joined = joined_at(fake)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, 0)
        while fake.queued_and_running() == (0, 0):
            time.sleep(0.02)
        again = pool.submit(ask, 1)  # as the client does it after a time-out
        assert first.result(timeout=60) == again.result(timeout=60)
    assert joined_at(fake) == joined + 1


def joined_at(server: Server) -> float:
    text = server.ask("GET", "/metrics")[2].decode()
    [line] = re.findall(r"^imagegen_joined_generations_total (.*)$", text, re.MULTILINE)
    return float(line)


def test_a_key_is_an_api_key(serve: Callable[..., Server], tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    only_pop = frozenset({"pop"})
    key = change_keys(keys, lambda all_: all_.with_new("ann", only_pop, datetime.now(UTC))[::2])
    server = serve(IMAGEGEN_AUTH="keys", IMAGEGEN_KEYS=str(keys))
    server.wait_until("/readyz")
    with client_of(server, key) as ann:
        assert [model.id for model in ann.models.list()] == ["pop"]
        assert ann.images.generate(model="pop", prompt=PROMPT).data
        with pytest.raises(openai.NotFoundError):
            ann.images.generate(model="aurora", prompt=PROMPT)
    with (
        client_of(server, "sk-something") as nobody,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        nobody.images.generate(model="pop", prompt=PROMPT)
    assert caught.value.code == "invalid_api_key"
