"""Judges of AUTOMATIC1111's dialect: webuiapi asks a real server, sd-parsers reads its pictures."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat
from sd_parsers import ParserManager
from web_server import Server
from webuiapi import WebUIApi

pytestmark = pytest.mark.torch

BRANDS = ["aurora", "botanic", "pop"]
SMALL = {"width": 256, "height": 256, "steps": 6}


@pytest.fixture(scope="module")
def server(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        {
            "IMAGEGEN_PRESETS": str(repository / "brand_presets"),
            "IMAGEGEN_STORAGE": f"file:{tmp_path_factory.mktemp('output')}",
        }
    )
    server.wait_until("/readyz", timeout_s=90)
    yield server
    server.end()


@pytest.fixture
def api(server: Server) -> Iterator[WebUIApi]:
    api = WebUIApi(port=server.port)
    yield api
    api.session.close()


def test_what_there_is(api: WebUIApi) -> None:
    assert api.util_get_model_names() == BRANDS
    assert [style["name"] for style in api.get_prompt_styles()] == BRANDS
    assert {"DDIM", "Euler a", "DPM++ 2M Karras"} <= set(api.util_get_sampler_names())
    assert api.util_get_scheduler_names() == ["automatic", "karras"]
    assert api.util_get_current_model() is None
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert api.get_loras() == api.get_upscalers() == api.get_hypernetworks() == []
    assert api.get_cmd_flags() == {}
    assert api.get_embeddings() == {"loaded": {}, "skipped": {}}


def test_text_becomes_pictures_that_tell_how(api: WebUIApi) -> None:
    result = api.txt2img(prompt="a red mug", styles=["aurora"], seed=0, batch_size=2, **SMALL)
    assert [picture.size for picture in result.images] == [(256, 256)] * 2
    assert result.info["all_seeds"] == [0, 1]
    assert result.parameters["prompt"] == "a red mug"
    assert result.info["infotexts"] == [one.info["parameters"] for one in result.images]
    for picture in result.images:
        assert len(picture.getcolors(1 << 20) or []) > 500, "a picture of nothing"


def test_the_same_seed_makes_the_same_picture(api: WebUIApi) -> None:
    asked = {"prompt": "a red mug", "seed": 0, "sampler_name": "DPM++ 2M Karras", **SMALL}
    first, second = (
        api.txt2img(**asked, override_settings={"sd_model_checkpoint": "pop"}).image
        for _ in range(2)
    )
    assert first.tobytes() == second.tobytes()
    assert api.txt2img(**asked, styles=["aurora"]).image.tobytes() != first.tobytes()


def test_sd_parsers_finds_everything(api: WebUIApi) -> None:
    answer = api.session.post(
        f"{api.baseurl}/txt2img",
        json={
            "prompt": "a red mug", "negative_prompt": "blurry", "styles": ["botanic"], "seed": 0,
            "sampler_name": "DPM++ 2M", "scheduler": "Karras", "cfg_scale": 4.5, **SMALL,
        },
    ).json()  # fmt: skip
    picture = api_picture(answer)
    found = ParserManager().parse(io.BytesIO(picture))
    assert found is not None
    assert found.generator.name == "AUTOMATIC1111"
    [sampler] = found.samplers
    assert sampler.name == "DPM++ 2M"
    assert sampler.parameters == {
        "scheduler": "Karras", "cfg_scale": "4.5", "seed": "0", "steps": "6"
    }  # fmt: skip
    assert "a red mug" in sampler.prompts[0].value
    assert sampler.negative_prompts[0].value.startswith("blurry")
    info = json.loads(answer["info"])
    assert (sampler.model.name, sampler.model.hash) == ("starter", info["sd_model_hash"])


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of their levels, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean) / 3


def test_a_picture_becomes_another_one(api: WebUIApi) -> None:
    mug = api.txt2img(prompt="a red mug", styles=["aurora"], seed=0, **SMALL).image
    asked = {"images": [mug], "prompt": "a red mug", "styles": ["pop"], "seed": 1, **SMALL}
    near, far = (api.img2img(**asked, denoising_strength=share).image for share in (0.34, 1.0))
    assert near.size == far.size == (256, 256)
    assert 0 < difference(mug, near) < difference(mug, far)


def test_a_part_of_a_picture_is_repainted(api: WebUIApi) -> None:
    mug = api.txt2img(prompt="a red mug", styles=["aurora"], seed=0, **SMALL).image
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (0, 0, 128, 256))
    result = api.img2img(
        images=[mug], mask_image=mask, prompt="a yellow lamp", styles=["aurora"], seed=1, **SMALL
    )
    halves = [(0, 0, 120, 256), (136, 0, 256, 256)]
    repainted, kept = (difference(mug.crop(box), result.image.crop(box)) for box in halves)
    assert kept < 5
    assert repainted > 2 * kept
    assert len(result.info["warnings"]) == 2  # webuiapi's defaults ask for blur and a close-up


def test_a_picture_is_followed_while_it_is_made(api: WebUIApi) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(
            api.txt2img, prompt="a red mug", styles=["pop"], width=256, height=256, steps=60
        )
        seen = list(followed(api, waiting))
        waiting.result()
    shares = [said["progress"] for said in seen]
    assert shares == sorted(shares)
    assert len(set(shares)) > 5
    looks = [said["current_image"] for said in seen if said["current_image"] is not None]
    assert len(set(looks)) > 2
    look = Image.open(io.BytesIO(base64.b64decode(looks[-1])))
    assert look.size == (32, 32)
    assert api.get_progress()["state"]["job_count"] == 0


def test_a_picture_is_interrupted(api: WebUIApi) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(
            api.txt2img, prompt="a red mug", styles=["pop"], width=256, height=256, steps=100
        )
        for said in followed(api, waiting):
            if said["progress"] > 0:
                break
        began = time.monotonic()
        assert api.interrupt() == {}
        with pytest.raises(RuntimeError, match="interrupted"):
            waiting.result()
        assert time.monotonic() - began < 2


def test_a_file_tells_how_it_was_made(api: WebUIApi) -> None:
    result = api.txt2img(prompt="a red mug", styles=["aurora"], seed=5, **SMALL)
    told = api.png_info(result.image)
    assert told.info == result.info["infotexts"][0]
    assert told.parameters["Seed"] == "5"
    assert told.parameters["Model"] == "starter"


def test_a_refusal_says_why(api: WebUIApi) -> None:
    with pytest.raises(RuntimeError, match="LoRA tags are not taken"):
        api.txt2img(prompt="a mug <lora:pop:1>", styles=["aurora"], **SMALL)
    with pytest.raises(RuntimeError, match="there are aurora, botanic, pop"):
        api.txt2img(prompt="a mug", **SMALL)
    with pytest.raises(RuntimeError, match="for this model"):
        api.txt2img(prompt="a mug", styles=["aurora"], width=2_048, height=2_048)


def followed(api: WebUIApi, waiting: Future[Any]) -> Iterator[dict[str, Any]]:
    """What progress says, again and again while there is something to wait for."""
    while not waiting.done():
        said = api.get_progress()
        if said["state"]["job_count"]:
            yield said
        time.sleep(0.02)


def api_picture(answer: dict[str, list[str]]) -> bytes:
    [picture] = answer["images"]
    return base64.b64decode(picture, validate=True)
