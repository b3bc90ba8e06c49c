"""What a brand makes of a request: a row for every parameter, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
from adapter_samples import peft_tensors
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import save_file
from sent_pictures import file_of, half_mask, scene, sent

from imagegen.callers import Caller
from imagegen.edits import SentPicture, edit_of
from imagegen.errors import BannedTerm, ImagegenError, InvalidRequest, UnknownBrand
from imagegen.generation import GenerationRequest, ModelInfo, Scheduler
from imagegen.presets import BrandPreset, PresetCatalog

MODEL = ModelInfo(
    name="test", sha256="0" * 64, family="sd", native_px=256, min_px=64, max_px=512,
    schedulers=(Scheduler.DDIM, Scheduler.DPMPP_2M_KARRAS, Scheduler.EULER),
    device="cpu", dtype="float32",
)  # fmt: skip

AURORA = """\
name: Aurora
description: Northern lights.
adapters:
  - {file: a.safetensors, weight: 0.5}
  - {file: b.safetensors, weight: -1.0}
prompt: {template: "aurora style, {prompt}, night", negative: "text, watermark"}
banned_terms: [casino, slot machine]
defaults: {format: story, num_inference_steps: 12, guidance_scale: 4.5, scheduler: euler}
formats: {story: {width: 96, height: 160}, tall: {width: 64, height: 1024}}
palette: ["#0b1d3a"]
examples: [a red mug]
"""
PLAIN = "name: Plain\n"
SIZED = "name: almost\ndefaults: {width: 128, height: 64, adapter_scale: 0.0, guidance_scale: 0}\n"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> PresetCatalog:
    folder = tmp_path_factory.mktemp("brands")
    for brand, text in {"aurora": AURORA, "plain": PLAIN, "sized": SIZED}.items():
        (folder / brand).mkdir()
        (folder / brand / "preset.yaml").write_text(text)
    save_file(peft_tensors(), folder / "aurora" / "a.safetensors")
    save_file(peft_tensors(rank=4), folder / "aurora" / "b.safetensors")
    (folder / "aurora" / "cover.webp").write_bytes(b"RIFF\x10\0\0\0WEBPVP8 ")
    return PresetCatalog.load(folder)


@pytest.fixture(scope="module")
def aurora(catalog) -> BrandPreset:
    return catalog.get("aurora")


def resolve(preset: BrandPreset, model: ModelInfo = MODEL, **said):
    request = GenerationRequest(**{"brand": preset.id, "prompt": "a mug", "seed": 7} | said)
    return preset.resolve(request, model)


PICTURE, MASK = sent(scene(72, 128)), sent(half_mask(72, 128))

# parameter: what a request says, what the specs then hold
ROWS = {
    "brand": ({"brand": "aurora"}, {"brand": ["aurora"]}),
    "prompt": ({"prompt": "a {prompt} mug"}, {"prompt": ["aurora style, a {prompt} mug, night"]}),
    "negative_prompt": ({"negative_prompt": ""}, {"negative_prompt": [""]}),
    "num_images": ({"num_images": 3}, {"seed": [7, 8, 9]}),
    "format": ({"format": "square"}, {"width": [256], "height": [256]}),
    "width": ({"width": 72, "height": 512}, {"width": [72], "height": [512]}),
    "height": ({"width": 512, "height": 72}, {"width": [512], "height": [72]}),
    "num_inference_steps": ({"num_inference_steps": 1}, {"num_inference_steps": [1]}),
    "guidance_scale": ({"guidance_scale": 0}, {"guidance_scale": [0]}),
    "scheduler": ({"scheduler": "ddim"}, {"scheduler": [Scheduler.DDIM]}),
    "seed": ({"seed": 2**32 - 1, "num_images": 2}, {"seed": [2**32 - 1, 0]}),
    "init_image": (
        {"init_image": PICTURE},
        {"width": [72], "height": [128], "edit": [edit_of(PICTURE, None, 0.6, 72, 128)]},
    ),
    "mask": (
        {"init_image": PICTURE, "mask": MASK, "format": "story"},
        {"edit": [edit_of(PICTURE, MASK, 0.6, 96, 160)]},
    ),
    "strength": (
        {"init_image": PICTURE, "strength": 0.25, "width": 64, "height": 64},
        {"width": [64], "height": [64], "edit": [edit_of(PICTURE, None, 0.25, 64, 64)]},
    ),
    "adapter_scale": ({"adapter_scale": 2.0}, {"weights": [(1.0, -2.0)]}),
    "overlay": ({"overlay": True}, {}),  # laid on what was rendered
    "score": ({"score": False}, {}),
    "output_format": ({"output_format": "jpeg"}, {}),  # the file's business, not the picture's
    "output_quality": ({"output_quality": 1}, {}),
    "exact": ({"exact": True}, {"exact": [True]}),
    "campaign": ({"campaign": "spring"}, {}),  # carried by the service
    "deadline_s": ({"deadline_s": 1.0}, {}),
}
SILENT = {
    "brand": ["aurora"],
    "prompt": ["aurora style, a mug, night"],
    "negative_prompt": ["text, watermark"],
    "width": [96],
    "height": [160],
    "num_inference_steps": [12],
    "guidance_scale": [4.5],
    "scheduler": [Scheduler.EULER],
    "seed": [7],
    "weights": [(0.5, -1.0)],
    "exact": [False],
    "edit": [None],
}


@pytest.mark.parametrize("parameter", list(GenerationRequest.model_fields))
def test_a_request_parameter_reaches_the_spec(aurora, parameter):
    said, changed = ROWS[parameter]
    specs = resolve(aurora, **said)
    found = {name: [getattr(spec, name, None) for spec in specs] for name in SILENT}
    found["weights"] = [tuple(use.weight for use in spec.adapters) for spec in specs]
    unchanged = {name: values * len(specs) for name, values in SILENT.items()}
    assert found == unchanged | changed


def test_a_brand_that_says_nothing_leaves_it_to_the_model(catalog):
    [spec] = resolve(catalog.get("plain"))
    assert (spec.prompt, spec.negative_prompt, spec.adapters) == ("a mug", "", ())
    assert (spec.width, spec.height, spec.num_inference_steps) == (256, 256, 20)
    assert (spec.guidance_scale, spec.scheduler) == (5.0, Scheduler.DPMPP_2M_KARRAS)
    [spec] = resolve(catalog.get("plain"), replace(MODEL, schedulers=(Scheduler.LCM,)))
    assert spec.scheduler is Scheduler.LCM


def test_all_pictures_of_a_request_are_edits_of_one(aurora):
    first, second = resolve(aurora, init_image=PICTURE, num_images=2)
    assert first.edit is second.edit
    assert (first.seed, second.seed) == (7, 8)
    assert [spec.step_count for spec in (first, second)] == [7, 7]  # 0.6 of 12


def test_an_edit_must_do_a_step(aurora):
    assert resolve(aurora, init_image=PICTURE, strength=0.09)[0].step_count == 1
    with pytest.raises(InvalidRequest, match=r"strength: 0\.08 of 12 steps is not even one"):
        resolve(aurora, init_image=PICTURE, strength=0.08)
    with pytest.raises(InvalidRequest, match=r"strength: 0\.6 of 1 steps"):
        resolve(aurora, init_image=PICTURE, num_inference_steps=1)


def test_a_picture_of_an_impossible_shape_is_told_with_all_else(aurora):
    long = sent(scene(1_000, 40))
    with pytest.raises(InvalidRequest, match=r"init_image: is 1000 x 40.*; prompt: LoRA tags"):
        resolve(aurora, init_image=long, prompt="<lora:x:1>")
    assert resolve(aurora, init_image=long, format="square")[0].width == 256


def test_a_damaged_picture_is_told_by_its_field(aurora):
    damaged = SentPicture.of_file(file_of(scene(), "JPEG")[:-60])
    with pytest.raises(InvalidRequest, match="init_image: is cut short or damaged"):
        resolve(aurora, init_image=damaged)


def test_zero_is_a_value_of_a_brand(catalog):
    [spec] = resolve(catalog.get("sized"))
    assert (spec.width, spec.height, spec.guidance_scale) == (128, 64, 0)
    [spec] = resolve(catalog.get("sized"), format="square")
    assert (spec.width, spec.height) == (256, 256)


def test_adapters_of_no_weight_are_left_out(aurora):
    assert resolve(aurora, adapter_scale=0.0)[0].adapters == ()
    assert resolve(replace(aurora, adapters=aurora.adapters[:1]), adapter_scale=0)[0].adapters == ()


def test_adapters_carry_their_files_hashes(aurora):
    first, second = resolve(aurora)[0].adapters
    assert first.path.name == "a.safetensors"
    assert len(first.sha256) == len(second.sha256) == 64
    assert first.sha256 != second.sha256


def test_without_a_seed_one_is_drawn_for_each_request(aurora):
    seeds = {spec.seed for _ in range(8) for spec in resolve(aurora, seed=None)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert max(seeds) >= 2**16  # not the 16 bits others draw


def test_seed_zero_is_a_seed(aurora):
    assert resolve(aurora, seed=0)[0].seed == 0


def fields_of(caught) -> dict[str, str]:
    return {error.field: error.message for error in caught.value.fields}


NO_POSTER = "no format 'poster'; there are banner, landscape, portrait, square, story, tall"
TOO_TALL = "tall is 64×1024, and this model draws 64 to 512 pixels a side"
LIMITS = "must be 64 to 512 for this model"
NO_LCM = "lcm is not one of ddim, dpmpp_2m_karras, euler"
NO_TAGS = "LoRA tags are not taken; the brand brings its own adapters"
NO_CASINO = "Aurora does not allow 'casino'"


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ({"format": "poster"}, {"format": NO_POSTER}),
        ({"format": "tall"}, {"format": TOO_TALL}),
        ({"width": 56, "height": 520}, {"width": LIMITS, "height": LIMITS}),
        ({"width": 64, "height": 520}, {"height": LIMITS}),
        ({"scheduler": "lcm"}, {"scheduler": NO_LCM}),
        ({"prompt": "a <LoRA:other:1> mug"}, {"prompt": NO_TAGS}),
        ({"negative_prompt": "<lyco:x:1>"}, {"negative_prompt": NO_TAGS}),
        (
            {"format": "poster", "scheduler": "lcm", "prompt": "casino"},
            {"format": NO_POSTER, "scheduler": NO_LCM, "prompt": NO_CASINO},
        ),
    ],
)
def test_what_a_request_may_not_say_is_named(aurora, said, fields):
    with pytest.raises(InvalidRequest) as caught:
        resolve(aurora, **said)
    assert type(caught.value) is InvalidRequest
    assert fields_of(caught) == fields


def test_a_brands_own_default_beyond_the_model_is_refused_by_name(catalog, aurora):
    small = replace(MODEL, min_px=128)
    with pytest.raises(InvalidRequest, match="format: story is 96×160"):
        resolve(aurora, small)
    with pytest.raises(InvalidRequest, match="format: the brand's own size is 128×64"):
        resolve(catalog.get("sized"), small)
    with pytest.raises(InvalidRequest, match="scheduler: euler is not one of ddim"):
        resolve(aurora, replace(MODEL, schedulers=(Scheduler.DDIM,)))


@pytest.mark.parametrize("prompt", ["CASINO", "a casino!", "ca\u200bsino", "ｃａｓｉｎｏ"])
def test_a_banned_term_is_refused_by_name(aurora, prompt):
    with pytest.raises(BannedTerm) as caught:
        resolve(aurora, prompt=prompt)
    assert fields_of(caught) == {"prompt": NO_CASINO}


def test_a_banned_term_may_be_what_the_picture_must_not_show(aurora):
    assert resolve(aurora, negative_prompt="casino")[0].negative_prompt == "casino"


@given(prompt=st.text(max_size=50), negative=st.none() | st.text(max_size=50))
def test_any_text_is_resolved_or_refused(catalog, prompt, negative):
    try:
        said = {"brand": "aurora", "prompt": prompt, "negative_prompt": negative}
        request = GenerationRequest.model_validate(said)
    except ValidationError:
        return  # the request's own business
    try:
        [spec] = catalog.get("aurora").resolve(request, MODEL)
    except ImagegenError as error:
        assert isinstance(error, InvalidRequest)  # noqa: PT017 - both outcomes are right
        return
    assert spec.prompt == f"aurora style, {request.prompt}, night"


def test_brands_come_in_the_order_of_their_names(catalog):
    assert [preset.name for preset in catalog] == ["almost", "Aurora", "Plain"]
    assert len(catalog) == 3
    assert [use.weight for use in catalog.get("aurora").adapters] == [0.5, -1.0]


@pytest.mark.parametrize("brand", ["nobody", "../aurora", "", "AURORA"])
def test_an_unknown_brand_is_refused(catalog, brand):
    with pytest.raises(UnknownBrand, match="there are aurora, plain, sized"):
        catalog.get(brand)


def test_a_caller_sees_his_brands_and_what_was_refused_of_them(catalog):
    catalog.refused = {"plain": "faulty", "aurora": "faulty"}
    seen = catalog.seen_by(Caller("ann", frozenset({"plain", "retired"})))
    assert [preset.id for preset in seen] == ["plain"]
    assert seen.refused == {"plain": "faulty"}
    assert catalog.seen_by(Caller("bob")) is catalog
    with pytest.raises(UnknownBrand, match="there are none"):
        catalog.seen_by(Caller("cyd", frozenset())).get("plain")


def test_the_public_view_tells_what_a_silent_request_gets(aurora):
    view = aurora.to_public(MODEL).model_dump(mode="json")
    formats = view.pop("formats")
    assert formats["story"] == {"width": 96, "height": 160}
    assert set(formats) == {"square", "portrait", "story", "landscape", "banner"}  # tall: too tall
    assert view == {
        "id": "aurora",
        "name": "Aurora",
        "description": "Northern lights.",
        "has_cover": True,
        "palette": ["#0b1d3a"],
        "defaults": {
            "format": "story",
            "width": 96,
            "height": 160,
            "num_inference_steps": 12,
            "guidance_scale": 4.5,
            "scheduler": "euler",
            "adapter_scale": 1.0,
        },
        "examples": ["a red mug"],
        "has_logo": False,
        "preset_version": aurora.version,
    }


@pytest.mark.parametrize("brand", ["aurora", "plain", "sized"])
def test_the_public_defaults_are_what_resolve_does(catalog, brand):
    preset = catalog.get(brand)
    defaults = preset.to_public(MODEL).defaults
    [spec] = resolve(preset)
    for name in ("width", "height", "num_inference_steps", "guidance_scale", "scheduler"):
        assert getattr(defaults, name) == getattr(spec, name)


def test_before_a_model_is_loaded_the_brand_can_be_shown(catalog):
    defaults = catalog.get("plain").to_public(None).defaults
    assert (defaults.format, defaults.width, defaults.scheduler) == ("square", None, None)
    assert set(catalog.get("aurora").to_public(None).formats) == {"story", "tall"}


def test_a_cover_is_found_by_its_name(catalog, aurora):
    assert isinstance(aurora.cover, Path)
    assert aurora.cover.name == "cover.webp"
    assert catalog.get("plain").cover is None


def test_the_public_view_hides_words_and_files(aurora):
    text = aurora.to_public(MODEL).model_dump_json()
    assert "aurora style" not in text
    assert "casino" not in text
    assert "safetensors" not in text
