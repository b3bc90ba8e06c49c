"""AUTOMATIC1111's words <-> ours, without a server."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image
from sample_brands import write_brands
from sample_rendering import MODEL, file_of, rendering

from imagegen.callers import Caller
from imagegen.errors import InvalidRequest, UnknownBrand
from imagegen.generation import Generation, OutputFormat, Scheduler
from imagegen.parsing import read_json
from imagegen.presets import PresetCatalog
from imagegen.web.a1111.bodies import Txt2ImgBody
from imagegen.web.a1111.png_info import read_texts
from imagegen.web.a1111.samplers import aliases_of, find_scheduler, name_of
from imagegen.web.a1111.translation import to_answer, to_request
from imagegen.web.a1111.unsupported import FIELDS, SETTINGS

MUG: dict[str, Any] = {"prompt": "a mug", "styles": ["aurora"]}


@pytest.fixture(scope="module")
def brands(tmp_path_factory: pytest.TempPathFactory) -> PresetCatalog:
    return PresetCatalog.load(write_brands(tmp_path_factory.mktemp("brands")))


def body(**fields: Any) -> Txt2ImgBody:
    return read_json(Txt2ImgBody, json.dumps(MUG | fields).encode())


def faults(brands: PresetCatalog, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        to_request(body(**fields), brands, None)
    return {one.field: one.message for one in caught.value.fields}


def test_what_is_not_said_the_brand_decides(brands: PresetCatalog) -> None:
    said = to_request(body(), brands, None).model_dump(exclude_unset=True)
    assert said == {"brand": "aurora", "prompt": "a mug", "num_images": 1}


def test_every_word_is_ours_on_the_way_in(brands: PresetCatalog) -> None:
    asked = body(
        negative_prompt="blurry", seed=0, sampler_name="Euler a", scheduler="automatic",
        batch_size=2, n_iter=4, steps=7, cfg_scale=0, width=64, height=72, campaign="spring",
        override_settings={"samples_format": "jpg", "jpeg_quality": 70},
    )  # fmt: skip
    assert to_request(asked, brands, None).model_dump(exclude_unset=True) == {
        "brand": "aurora", "prompt": "a mug", "negative_prompt": "blurry, text", "num_images": 8,
        "width": 64, "height": 72, "num_inference_steps": 7, "guidance_scale": 0.0,
        "scheduler": Scheduler.EULER_A, "seed": 0, "output_format": OutputFormat.JPEG,
        "output_quality": 70, "campaign": "spring",
    }  # fmt: skip


@pytest.mark.parametrize("seed", [-1, None])
def test_a_random_seed(brands: PresetCatalog, seed: int | None) -> None:
    assert to_request(body(seed=seed), brands, None).seed is None


@pytest.mark.parametrize("seed", [-2, 2**32, 10**30])
def test_a_seed_out_of_bounds(brands: PresetCatalog, seed: int) -> None:
    assert set(faults(brands, seed=seed)) == {"seed"}


@pytest.mark.parametrize(
    "named",
    [
        {"styles": ["pop"]},
        {"styles": [" pop ", ""]},
        {"styles": None, "override_settings": {"sd_model_checkpoint": "pop"}},
        {"styles": [], "brand": "pop"},
        {"styles": ["pop"], "brand": "pop", "override_settings": {"sd_model_checkpoint": "pop"}},
    ],
)
def test_a_brand_is_a_style(brands: PresetCatalog, named: Mapping[str, Any]) -> None:
    assert to_request(body(**named), brands, None).brand == "pop"


def test_the_only_brand_need_not_be_named(brands: PresetCatalog) -> None:
    seen = brands.seen_by(Caller("shop", frozenset({"pop"})))
    assert to_request(body(styles=[]), seen, None).brand == "pop"
    with pytest.raises(UnknownBrand, match=r"there are pop$"):
        to_request(body(styles=["aurora"]), seen, None)


@pytest.mark.parametrize("named", [{"styles": []}, {"styles": ["pop", "aurora"]}, {"brand": "pop"}])
def test_none_or_several_of_several_brands(brands: PresetCatalog, named: Mapping[str, Any]) -> None:
    assert faults(brands, **named)["styles"].endswith("there are aurora, pop")


def test_no_brand_at_all(brands: PresetCatalog) -> None:
    assert faults(brands.seen_by(Caller("nobody", frozenset())), styles=[])["styles"].endswith(
        "there are none"
    )


@pytest.mark.parametrize("name", ["nobody", "../aurora", "x" * 60_000, "Aurora"])
def test_an_unknown_brand(brands: PresetCatalog, name: str) -> None:
    with pytest.raises(UnknownBrand) as caught:
        to_request(body(styles=[name]), brands, None)
    assert len(caught.value.detail) < 200


def test_every_fault_is_told_at_once_and_in_their_names(brands: PresetCatalog) -> None:
    found = faults(
        brands, batch_size=3, n_iter=3, steps=101, cfg_scale=31, width=63, height=64,
        sampler_name="Heun", enable_hr=True, tiling=True, alwayson_scripts={"ControlNet": {}},
        override_settings={
            "CLIP_stop_at_last_layers": 2, "samples_format": "gif", "jpeg_quality": 0, "x": 1
        },
    )  # fmt: skip
    assert set(found) == {
        "batch_size", "steps", "cfg_scale", "width", "sampler_name", "enable_hr", "tiling",
        "alwayson_scripts", "override_settings.CLIP_stop_at_last_layers",
        "override_settings.samples_format", "override_settings.jpeg_quality",
        "override_settings.x",
    }  # fmt: skip
    assert found["sampler_name"].startswith("Sampler not found; there are DDIM, DDPM, Euler")


@pytest.mark.parametrize("name", FIELDS)
def test_what_is_not_done_here_may_be_off_and_not_on(brands: PresetCatalog, name: str) -> None:
    for off in (None, *FIELDS[name]):
        to_request(body(**{name: off}), brands, None)
    assert name in faults(brands, **{name: [["on"]]})


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_may_be_what_it_is_here(brands: PresetCatalog, name: str) -> None:
    for value in (None, *SETTINGS[name]):
        to_request(body(override_settings={name: value}), brands, None)
    assert f"override_settings.{name}" in faults(brands, override_settings={name: [0]})


def test_fields_that_nobody_knows_are_ignored_as_they_are_there(brands: PresetCatalog) -> None:
    asked = body(hr_scale=2, do_not_save_grid=True, save_images=True, subseed=7, nonsense=[1])
    assert to_request(asked, brands, None) == to_request(body(), brands, None)


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_samplers_there_and_back(scheduler: Scheduler) -> None:
    for name in (name_of(scheduler), *aliases_of(scheduler)):
        assert find_scheduler(name.upper(), None) is scheduler
        assert find_scheduler(name, "Automatic") is scheduler


def test_a_schedule_type_is_half_of_a_sampler() -> None:
    assert find_scheduler("DPM++ 2M", "karras") is Scheduler.DPMPP_2M_KARRAS
    assert find_scheduler("DPM++ 2M Karras", "Karras") is Scheduler.DPMPP_2M_KARRAS
    assert find_scheduler(None, None) is None
    for sampler, schedule_type in [("Euler", "Karras"), ("Euler", "Beta"), (None, "Karras")]:
        with pytest.raises(InvalidRequest, match=r"^scheduler: "):
            find_scheduler(sampler, schedule_type)


def test_sampler_index_counts_where_there_is_no_name(brands: PresetCatalog) -> None:
    assert to_request(body(sampler_index="DDIM"), brands, None).scheduler == "ddim"
    both = body(sampler_index="DDIM", sampler_name="LCM")
    assert to_request(both, brands, None).scheduler == "lcm"


def test_a_sampler_that_the_model_does_not_allow(brands: PresetCatalog) -> None:
    model = replace(MODEL, schedulers=(Scheduler.LCM, Scheduler.DPMPP_2M))
    assert to_request(body(sampler_name="LCM"), brands, model).scheduler == "lcm"
    for said in ({"sampler_name": "Euler a"}, {"sampler_name": "DPM++ 2M", "scheduler": "Karras"}):
        with pytest.raises(InvalidRequest, match=r"^sampler_name: .* there are DPM\+\+ 2M, LCM$"):
            to_request(body(**said), brands, model)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"steps": 1.5}, "must be a whole number"),
        ({"styles": "pop"}, "must be a list"),
        ({"override_settings": []}, "must be an object"),
        ({"send_images": "perhaps"}, "must be true or false"),
    ],
)
def test_types_are_told_in_plain_words(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        body(**fields)
    assert [one.message for one in caught.value.fields] == [fault]


GENERATION = Generation(
    id="gen_1", status="succeeded", brand="aurora", preset_version="sha256:ef", model="starter",
    created_at=datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC), warnings=("two words too many",),
)  # fmt: skip


@pytest.mark.parametrize("output_format", list(OutputFormat))
def test_the_answer_says_of_each_picture_what_its_file_says(output_format: OutputFormat) -> None:
    files = [file_of(rendering(seed=seed), output_format) for seed in (0, 1)]
    answer = to_answer(body(nonsense=1, tiling=False, n_iter=2), GENERATION, files)
    assert set(answer) == {"images", "parameters", "info"}
    assert len(answer["images"]) == 2
    assert answer["parameters"]["prompt"] == "a mug"
    assert answer["parameters"]["tiling"] is False
    assert "nonsense" not in answer["parameters"]
    info = json.loads(answer["info"])
    assert info["all_seeds"] == [0, 1]
    assert info["batch_size"] == 1
    assert info["seed"] == 0
    assert (info["sampler_name"], info["steps"], info["cfg_scale"]) == ("DPM++ 2M", 20, 5.5)
    assert info["extra_generation_params"] == {"Schedule type": "Karras"}
    assert (info["sd_model_name"], info["sd_model_hash"]) == ("starter", "ab" * 5)
    assert (info["styles"], info["id"]) == (["aurora"], "gen_1")
    assert info["warnings"] == ["two words too many"]
    assert info["job_timestamp"] == "20261123100001"
    assert ["Seed: 0," in info["infotexts"][0], "Seed: 1," in info["infotexts"][1]] == [True] * 2


@pytest.mark.parametrize(
    ("prompt", "told"), [("a (red:1.2) mug", 1), ("((a)) mug: (1)", 0), ("(" * 2_000, 0)]
)
def test_weights_that_are_not_done_are_told(prompt: str, told: int) -> None:
    files = [file_of(rendering(), OutputFormat.PNG)]
    generation = GENERATION.model_copy(update={"warnings": ()})
    info = json.loads(to_answer(body(prompt=prompt), generation, files)["info"])
    assert len(info["warnings"]) == told


def test_pictures_that_nobody_wants_are_not_sent() -> None:
    answer = to_answer(
        body(send_images=False), GENERATION, [file_of(rendering(), OutputFormat.PNG)]
    )
    assert answer["images"] == []
    assert len(json.loads(answer["info"])["infotexts"]) == 1


@pytest.mark.parametrize("prompt", ["a mug", "Grüße", "東京 🌃", "a\nb"])
@pytest.mark.parametrize("output_format", list(OutputFormat))
def test_parameters_are_read_without_decoding(prompt: str, output_format: OutputFormat) -> None:
    data = file_of(rendering(prompt=prompt), output_format)
    assert read_texts(data).parameters.startswith(f"{prompt}\nNegative prompt: ")
    if output_format is not OutputFormat.WEBP:  # which has its texts behind its pixels
        assert read_texts(data[: len(data) - 40]).parameters.startswith(prompt)


@pytest.mark.parametrize("data", [b"", b"x", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(40)])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no PNG, JPEG or WebP"):
        read_texts(data)


def test_a_picture_without_a_word() -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, format=kind)
        assert read_texts(file.getvalue()).parameters == ""
