"""AUTOMATIC1111's dialect through Flask's client: routes, failures, hostile bodies."""

from __future__ import annotations

import base64
import gc
import io
import json
import random
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from web_server import Server
from webuiapi import WebUIApi

from imagegen.application import Application
from imagegen.callers.key_file import change_keys
from imagegen.errors import Busy, FieldError, InvalidRequest
from imagegen.generation import Scheduler
from imagegen.web.a1111.failures import error_answer
from imagegen.web.a1111.lists import FIXED, sampler_items
from imagegen.web.app import create_app
from imagegen.web.errors import STATUS, failure_of

ROOT = "/sdapi/v1"
BODY: dict[str, Any] = {"prompt": "a mug", "styles": ["aurora"], "seed": 0}
JSON = "application/json"


def pictures(client: FlaskClient, **fields: Any) -> tuple[list[bytes], dict[str, Any]]:
    answer = client.post(f"{ROOT}/txt2img", json=BODY | fields)
    assert answer.status_code == 200, answer.text
    images = [base64.b64decode(image, validate=True) for image in answer.get_json()["images"]]
    return images, json.loads(answer.get_json()["info"])


def refusal(client: FlaskClient, status: int, **fields: Any) -> dict[str, Any]:
    answer = client.post(f"{ROOT}/txt2img", json=BODY | fields)
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.get_json()
    assert set(body) == {"error", "detail", "body", "errors"}
    return body


def test_pictures_are_those_that_generate_makes(client: FlaskClient) -> None:
    images, info = pictures(client, batch_size=2, n_iter=2)
    assert info["all_seeds"] == [0, 1, 2, 3]
    ours = {"brand": "aurora", "prompt": "a mug", "seed": 3}
    alone = client.post("/generate", json=ours, headers={"Accept": "image/png"})
    assert images[3] == alone.data
    assert len(set(images)) == 4
    assert info["infotexts"][0] == Image.open(io.BytesIO(images[0])).info["parameters"]


def test_the_brand_s_own_negative_prompt_stays(client: FlaskClient) -> None:
    assert pictures(client, negative_prompt="")[1]["negative_prompt"] == "text"
    assert pictures(client, negative_prompt="blur")[1]["negative_prompt"] == "blur, text"
    assert pictures(client)[1]["prompt"] == "aurora style, a mug"


def test_a_random_seed_is_told(client: FlaskClient) -> None:
    seeds = {pictures(client, seed=-1)[1]["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_other_files(client: FlaskClient) -> None:
    images, info = pictures(client, override_settings={"samples_format": "webp"})
    assert Image.open(io.BytesIO(images[0])).format == "WEBP"
    assert info["infotexts"][0].startswith("aurora style, a mug\n")


@pytest.mark.parametrize("tag", ["<lora:pop:1>", "<lyco:pop:1>", "<hypernet:pop:1>", "< LoRA : x>"])
def test_a_prompt_never_reaches_another_brand_s_adapter(client: FlaskClient, tag: str) -> None:
    for field in ("prompt", "negative_prompt"):
        [fault] = refusal(client, 422, **{field: f"a mug {tag}"})["detail"]
        assert fault["loc"] == ["body", field]


def test_faults_are_a_list_of_places_in_their_names(client: FlaskClient) -> None:
    body = refusal(client, 422, steps=101, override_settings={"samples_format": "gif"})
    assert [fault["loc"] for fault in body["detail"]] == [
        ["body", "override_settings", "samples_format"],
        ["body", "steps"],
    ]
    assert body["error"] == "invalid_request"
    assert "steps: must be 100 or less" in body["errors"]


def test_what_the_model_refuses_is_told_in_their_names_too(client: FlaskClient) -> None:
    body = refusal(client, 422, width=2_048, height=64)
    assert [fault["loc"] for fault in body["detail"]] == [["body", "width"]]


def test_an_unknown_brand(client: FlaskClient) -> None:
    body = refusal(client, 404, styles=["nobody"])
    assert body["detail"] == "no brand 'nobody'; there are aurora, pop"


def test_a_banned_term(client: FlaskClient) -> None:
    assert refusal(client, 422, prompt="a casino")["error"] == "banned_term"


def test_a_picture_s_own_failure(client: FlaskClient) -> None:
    body = refusal(client, 500, prompt="a mug !nan")
    assert body["error"] == "render_failed"
    assert "gen_" in body["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{ROOT}/txt2img", 405),
        ("POST", f"{ROOT}/extra-single-image", 404),
        ("POST", f"{ROOT}/interrogate", 404),
        ("GET", f"{ROOT}/", 404),
        ("GET", "/sdapi", 404),
        ("PUT", f"{ROOT}/options", 405),
    ],
)
def test_wrong_paths_and_methods(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method, json={})
    assert answer.status_code == status
    assert set(answer.get_json()) == {"error", "detail", "body", "errors"}
    if status == 404:
        assert answer.get_json()["detail"].startswith(f"{path} is not offered here")
    else:
        assert answer.headers["Allow"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 60_000, 400),
        (b'{"a":' * 12_000, 400),
        (b'{"prompt": "\\ud800"}', 400),
        (b"[]", 422),
        (b"7", 422),
        (b"{}", 422),
        (b'{"styles": "aurora"}', 422),
        (b'{"styles": ["aurora"], "prompt": "x\\u0000"}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "seed": 1e400}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "cfg_scale": NaN}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "batch_size": 0}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "batch_size": -2, "n_iter": -2}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "n_iter": 99999999999999999999}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "eta": NaN}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "s_churn": {"a": []}}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "override_settings": []}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "override_settings": {"": 1}}', 422),
        (b'{"override_settings": {"sd_model_checkpoint": 7}, "prompt": "x"}', 422),
        (b'{"styles": ["aurora"], "prompt": "x", "subseed": 1e999, "x": [NaN]}', 200),
        (b'{"styles": ["aurora"], "prompt": "x", "sampler_name": "\\u0130"}', 422),
        (b"x" * (64 * 1024 + 1), 413),
    ],
)
def test_hostile_bodies(client: FlaskClient, data: bytes, status: int) -> None:
    answer = client.post(f"{ROOT}/txt2img", data=data, content_type=JSON)
    assert answer.status_code == status, answer.text
    assert answer.mimetype == JSON
    if status != 200:
        assert len(answer.data) < 20_000
        assert set(answer.get_json()) == {"error", "detail", "body", "errors"}


def test_other_media_types_are_refused(client: FlaskClient) -> None:
    answer = client.post(f"{ROOT}/txt2img", data=json.dumps(BODY), content_type="text/plain")
    assert (answer.status_code, answer.get_json()["error"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", [kind for kind in STATUS if hasattr(kind, "code")])
def test_every_failure_has_their_shape(kind: type) -> None:
    if issubclass(kind, InvalidRequest):
        error = kind(FieldError("seed", "is odd"), FieldError("request", "is odd"))
        places = [["body", "seed"], ["body"]]
    else:
        error = kind("it is so", 7.0) if issubclass(kind, Busy) else kind("it is so")
        places = None
    answer = error_answer(failure_of(error), "/sdapi/v1/x")
    assert set(answer) == {"error", "detail", "body", "errors"}
    assert isinstance(answer["errors"], str)
    if places is None:
        assert answer["detail"] == "it is so"
    else:
        assert [place["loc"] for place in answer["detail"]] == places


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return base64.b64encode(file.getvalue()).decode()


PICTURE = encoded(Image.new("RGB", (64, 40), "red"))


def edited(client: FlaskClient, status: int = 200, **fields: Any) -> dict[str, Any]:
    body = BODY | {"init_images": [PICTURE]} | fields
    answer = client.post(f"{ROOT}/img2img", json=body)
    assert answer.status_code == status, answer.text
    said: dict[str, Any] = answer.get_json()
    return said


def test_a_picture_becomes_another_one(client: FlaskClient) -> None:
    answer = edited(client, denoising_strength=0.5, include_init_images=True)
    info = json.loads(answer["info"])
    assert (info["width"], info["height"], info["denoising_strength"]) == (64, 40, 0.5)
    assert "Denoising strength: 0.5" in info["infotexts"][0]
    assert not {"init_images", "mask"} & set(answer["parameters"])
    ours = {
        "brand": "aurora", "prompt": "a mug", "seed": 0, "init_image": PICTURE, "strength": 0.5
    }  # fmt: skip
    alone = client.post("/generate", json=ours, headers={"Accept": "image/png"})
    assert base64.b64decode(answer["images"][0]) == alone.data


def test_a_part_of_a_picture_is_repainted(client: FlaskClient) -> None:
    mask = Image.new("L", (64, 40), 0)
    mask.paste(255, (0, 0, 32, 40))
    answer = edited(
        client, mask=f"data:image/png;base64,{encoded(mask)}", mask_blur=4, width=64, height=40
    )
    info = json.loads(answer["info"])
    assert info["denoising_strength"] == 0.75
    assert info["warnings"] == ["mask_blur is not done: the mask's edge is where half its grey is"]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"init_images": []}, "init_images"),
        ({"denoising_strength": 0}, "denoising_strength"),
        ({"denoising_strength": 1.01}, "denoising_strength"),
        ({"denoising_strength": 0.01}, "denoising_strength"),
        ({"mask": encoded(Image.new("L", (64, 40), 0))}, "mask"),
        ({"mask": "x"}, "mask"),
        ({"inpainting_fill": 3}, "inpainting_fill"),
        ({"init_images": ["http://127.0.0.1/x.png"]}, "init_images"),
        ({"init_images": [PICTURE[:-40]]}, "init_images"),
    ],
)
def test_faults_of_a_picture_in_their_names(
    client: FlaskClient, fields: dict[str, Any], place: str
) -> None:
    places = [fault["loc"][1] for fault in edited(client, 422, **fields)["detail"]]
    assert places == [place]


def test_a_picture_that_is_sent_to_txt2img_is_not_overlooked(client: FlaskClient) -> None:
    [fault] = refusal(client, 422, init_images=["x"])["detail"]
    assert fault["msg"] == "is not done here; send it to img2img"


def test_bodies_with_pictures_may_be_large_and_no_larger(client: FlaskClient) -> None:
    noise = Image.frombytes("RGB", (600, 375), random.Random(1).randbytes(600 * 375 * 3))
    edited(client, init_images=[encoded(noise)])
    assert edited(client, 413, init_images=["A" * (21 << 20)])["error"] == "body_too_large"


def test_pictures_are_counted_and_given_back(application: Application) -> None:
    app = create_app(application)
    room = app.extensions["imagegen.picture_room"]
    mask = Image.new("L", (64, 40), 255)
    edited(app.test_client(), mask=encoded(mask), width=64, height=64, inpainting_fill=0)
    edited(app.test_client(), 422, mask=encoded(mask), prompt="a casino")
    gc.collect()
    assert room.held_bytes == 0


def png_info(client: FlaskClient, image: str, status: int = 200) -> dict[str, Any]:
    answer = client.post(f"{ROOT}/png-info", json={"image": image})
    assert answer.status_code == status, answer.text
    said: dict[str, Any] = answer.get_json()
    return said


@pytest.mark.parametrize("samples_format", ["png", "jpg", "webp"])
def test_our_files_tell_how_they_were_made(client: FlaskClient, samples_format: str) -> None:
    images, info = pictures(
        client, prompt="東京, a mug", override_settings={"samples_format": samples_format}
    )
    found = png_info(client, base64.b64encode(images[0]).decode())
    assert found["info"] == info["infotexts"][0]
    assert found["parameters"]["Prompt"] == "aurora style, 東京, a mug"
    assert (found["parameters"]["Seed"], found["parameters"]["Size-1"]) == ("0", "64")
    if samples_format == "png":
        assert json.loads(found["items"]["imagegen"])["brand"] == "aurora"


def test_what_a_file_tells_makes_the_same_picture_again(client: FlaskClient) -> None:
    images, _ = pictures(client, styles=["pop"], sampler_name="DPM++ 2M", scheduler="Karras")
    told = png_info(client, base64.b64encode(images[0]).decode())["parameters"]
    again, _ = pictures(
        client, styles=["pop"], prompt=told["Prompt"], seed=int(told["Seed"]),
        sampler_name=told["Sampler"], scheduler=told["Schedule type"], steps=int(told["Steps"]),
        cfg_scale=float(told["CFG scale"]), width=int(told["Size-1"]), height=int(told["Size-2"]),
    )  # fmt: skip
    assert again == images


def test_files_of_others(client: FlaskClient) -> None:
    texts = PngInfo()
    texts.add_text("parameters", "a cat\nSteps: 1, Sampler: LMS, Seed: 0", zip=True)
    texts.add_itxt("author", "Zoë")
    found = png_info(client, encoded(Image.new("RGB", (8, 8)), pnginfo=texts))
    assert found["parameters"]["Sampler"] == "LMS"
    assert found["items"] == {"author": "Zoë"}
    assert png_info(client, PICTURE) == {"info": "", "items": {}, "parameters": {}}


def test_hostile_files_cost_nothing(client: FlaskClient) -> None:
    bomb = bytearray(base64.b64decode(PICTURE))
    bomb[16:24] = (100_000).to_bytes(4, "big") * 2  # its size, in IHDR
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    texts = PngInfo()
    texts.add_text("parameters", "x" * (1 << 26), zip=True)
    many = PngInfo()
    for number in range(12):
        many.add_text(f"text {number}", "x" * 100_000, zip=True)
    for data in (
        encoded(Image.new("RGB", (8, 8)), pnginfo=many),
        base64.b64encode(bomb).decode(),
        encoded(Image.new("RGB", (8, 8)), pnginfo=texts),
        "",
        "x",
        "http://127.0.0.1/x.png",
        encoded(Image.new("RGB", (8, 8)), "GIF"),
    ):
        [fault] = png_info(client, data, 422)["detail"]
        assert fault["loc"] == ["body", "image"]
    assert client.post(f"{ROOT}/png-info", json={}).status_code == 422


IDLE = {
    "progress": 0.0, "eta_relative": 0.0, "current_image": None, "textinfo": None,
    "state": {
        "skipped": False, "stopping_generation": False, "job_no": 0, "interrupted": False,
        "job": "", "job_count": 0, "job_timestamp": "0", "sampling_step": 0, "sampling_steps": 0,
    },
}  # fmt: skip


def progress(client: FlaskClient, query: str = "", **options: Any) -> dict[str, Any]:
    answer = client.get(f"{ROOT}/progress{query}", **options)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.get_json()
    return said


def looked_at(client: FlaskClient, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What progress says as soon as it is `wanted`."""
    until = time.monotonic() + 10
    while not wanted(said := progress(client)):
        assert time.monotonic() < until, said
        time.sleep(0.02)
    return said


def test_work_can_be_followed_by_whoever_wants_it(client: FlaskClient) -> None:
    assert progress(client) == IDLE
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(pictures, client, prompt="a mug !slow", steps=8)
        said = looked_at(client, lambda said: said["current_image"] is not None)
        assert said["state"]["job"] == "scripts_txt2img"
        assert (said["state"]["job_count"], said["state"]["sampling_steps"]) == (1, 8)
        assert 0 < said["progress"] < 1
        look = Image.open(io.BytesIO(base64.b64decode(said["current_image"])))
        assert (look.format, look.size) == ("PNG", (8, 5))
        said = looked_at(client, lambda said: said["eta_relative"] > 0)
        assert said["eta_relative"] < 2
        assert progress(client, "?skip_current_image=true")["current_image"] is None
        assert progress(client, environ_base={"REMOTE_ADDR": "10.0.0.9"}) == IDLE
        waiting.result()
    assert progress(client) == IDLE


def test_whoever_wants_work_can_stop_it_and_nobody_else(client: FlaskClient) -> None:
    def wanted() -> tuple[int, dict[str, Any]]:
        body = BODY | {"prompt": "a mug !slow", "steps": 100, "init_images": [PICTURE]}
        answer = client.post(f"{ROOT}/img2img", json=body)
        return answer.status_code, answer.get_json()

    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(wanted), pool.submit(wanted)]
        looked_at(client, lambda said: said["state"]["job_count"] == 2 and said["progress"] > 0)
        elsewhere = client.post(f"{ROOT}/interrupt", environ_base={"REMOTE_ADDR": "10.0.0.9"})
        assert (elsewhere.status_code, elsewhere.get_json()) == (200, {})
        assert not progress(client)["state"]["interrupted"]
        assert client.post(f"{ROOT}/interrupt").get_json() == {}
        for one in waiting:
            status, body = one.result(5)
            assert (status, body["error"]) == (499, "cancelled")
            assert body["detail"] == "interrupted: no picture is sent"
    assert progress(client) == IDLE


def test_what_failed_is_no_longer_worked_on(client: FlaskClient) -> None:
    refusal(client, 500, prompt="a mug !nan")
    refusal(client, 422, prompt="a casino")
    assert progress(client) == IDLE


def test_webuiapi_with_a_key_for_one_brand_need_not_name_it(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    def edit(keys: Any, caller: str) -> Any:
        changed, _, key = keys.with_new(caller, frozenset({"pop"}), datetime.now(UTC))
        return changed, key

    path = tmp_path / "keys.json"
    shop, other = (change_keys(path, partial(edit, caller=name)) for name in ("shop", "other"))
    server = serve(IMAGEGEN_AUTH="keys", IMAGEGEN_KEYS=str(path))
    server.wait_until("/readyz")
    mine, theirs = (
        WebUIApi(port=server.port, username="anybody", password=key) for key in (shop, other)
    )
    assert mine.util_get_current_model() == "pop"
    assert mine.txt2img(prompt="a mug", width=64, height=64).info["styles"] == ["pop"]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(mine.txt2img, prompt="a mug !slow", steps=100)
        while not mine.get_progress()["state"]["job_count"]:
            time.sleep(0.02)
        assert theirs.get_progress() == IDLE
        assert theirs.interrupt() == {}
        assert mine.get_progress()["state"]["job_count"] == 1
        assert mine.interrupt() == {}
        with pytest.raises(RuntimeError, match="interrupted"):
            waiting.result()
    nobody = WebUIApi(port=server.port)
    with pytest.raises(RuntimeError, match="unauthenticated"):
        nobody.txt2img(prompt="a mug", styles=["pop"])
    for api in (mine, theirs, nobody):
        api.session.close()


@pytest.mark.parametrize("query", ["?skip_current_image=perhaps", "?skip_current_image="])
def test_a_query_that_says_nothing(client: FlaskClient, query: str) -> None:
    answer = client.get(f"{ROOT}/progress{query}")
    assert answer.status_code == 422
    assert answer.get_json()["detail"][0]["msg"] == "must be true or false"


@pytest.mark.parametrize("name", FIXED)
def test_lists_of_what_nobody_can_choose_here(client: FlaskClient, name: str) -> None:
    assert client.get(f"{ROOT}/{name}").get_json() == FIXED[name]


def test_brands_are_styles_and_models(client: FlaskClient) -> None:
    styles = client.get(f"{ROOT}/prompt-styles").get_json()
    assert [style["name"] for style in styles] == ["aurora", "pop"]
    models = client.get(f"{ROOT}/sd-models").get_json()
    assert [model["title"] for model in models] == ["aurora", "pop"]
    assert models[0]["sha256"].startswith(models[0]["hash"])
    pictures(client, styles=[], override_settings={"sd_model_checkpoint": models[0]["title"]})


def test_samplers_are_those_the_model_allows(client: FlaskClient) -> None:
    samplers = client.get(f"{ROOT}/samplers").get_json()
    assert len(samplers) == len(Scheduler)
    for sampler in samplers:
        for name in (sampler["name"], *sampler["aliases"]):
            _, info = pictures(client, sampler_name=name)
            assert sampler["name"].startswith(info["sampler_name"])
    [item] = sampler_items([Scheduler.EULER_A])
    assert item["name"] == "Euler a"


def test_schedulers(client: FlaskClient) -> None:
    for schedule_type in client.get(f"{ROOT}/schedulers").get_json():
        for name in (schedule_type["name"], schedule_type["label"]):
            _, info = pictures(client, sampler_name="DPM++ 2M", scheduler=name)
            told = info["extra_generation_params"].get("Schedule type", "Automatic")
            assert told == schedule_type["label"]


def test_options_are_told_and_not_kept(client: FlaskClient) -> None:
    options = client.get(f"{ROOT}/options").get_json()
    assert options["sd_model_checkpoint"] is None  # there are two brands
    same = client.post(f"{ROOT}/options", json=options | {"x": None})
    assert (same.status_code, same.get_json()) == (200, None)
    other = {"sd_model_checkpoint": "aurora", "y" * 500: 1}
    answer = client.post(f"{ROOT}/options", json=other)
    assert answer.status_code == 422
    assert "in override_settings" in answer.get_json()["detail"][0]["msg"]
    assert len(answer.data) < 1_000


@pytest.mark.parametrize("name", ["refresh-checkpoints", "refresh-loras"])
def test_there_is_nothing_to_refresh(client: FlaskClient, name: str) -> None:
    assert client.post(f"{ROOT}/{name}").get_json() is None
