"""Files carry their record: found again by us, by sd-parsers, and by whoever reads XMP."""

from __future__ import annotations

import io
import json
import random
import xml.etree.ElementTree as ET

import pytest
from PIL import Image
from sample_rendering import MODEL, file_of, rendering
from sd_parsers import ParserManager
from sent_pictures import half_mask, scene, sent

from imagegen.edits import edit_of
from imagegen.generation import OutputFormat, Scheduler
from imagegen.provenance import A1111_SAMPLERS, Record, read_record

HARD_PROMPTS = [
    "two lines,\nthe second: with a colon",
    'commas, colons: "quotes", \\backslashes\\ and <tags> & more',
    "Grüße, ein Becher",
    "東京の夜 🌃, オーロラ: \u200d\U0001f469\u200d\U0001f3a8",
    "x\nSteps: 1, Sampler: Euler, CFG scale: 1, Seed: 1",
    "a sign that says Negative prompt: blue, twice Negative prompt: red",
    '{"seed": 3}',
    "</imagegen:record> ]]> &lt; &amp;amp; %20 \ufffe",
    "&" * 2_000,
]


every_format = pytest.mark.parametrize("output_format", list(OutputFormat))


@every_format
@pytest.mark.parametrize("prompt", ["a red mug", *HARD_PROMPTS])
def test_our_record_comes_back_whole(output_format: OutputFormat, prompt: str) -> None:
    found = read_record(file_of(rendering(prompt=prompt, negative_prompt=prompt), output_format))
    assert found == {
        "brand": "aurora", "prompt": prompt, "negative_prompt": prompt, "width": 64, "height": 48,
        "num_inference_steps": 20, "guidance_scale": 5.5, "scheduler": "dpmpp_2m_karras", "seed": 0,
        "exact": False,
        "adapters": [{"file": "aurora.safetensors", "sha256": "cd" * 32, "weight": 0.8}],
        "model": {"name": "starter", "sha256": MODEL.sha256, "family": "sd",
                  "device": "cpu", "dtype": "float32"},
        "preset_version": "sha256:ef", "campaign": "Frühling & Co",
        "versions": {"imagegen": "0.1.0"},
    }  # fmt: skip


def test_versions_are_those_installed() -> None:
    assert Record("sha256:ef", None).versions["imagegen"]


@every_format
@pytest.mark.parametrize("prompt", ["a red mug", *HARD_PROMPTS])
def test_sd_parsers_reads_the_parameters(
    output_format: OutputFormat, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # it keeps the last picture's words under its id(), which the next picture may be given
    monkeypatch.setattr("sd_parsers.extractors._jpeg_usercomment._image_id", None)
    data = file_of(rendering(prompt=prompt, negative_prompt="text, water: mark"), output_format)
    found = ParserManager().parse(io.BytesIO(data))
    assert found is not None
    assert found.generator.name == "AUTOMATIC1111"
    [sampler] = found.samplers
    marked = prompt.replace("Negative prompt:", "Negative prompt :")
    assert [text.value for text in sampler.prompts] == [marked]
    assert [text.value for text in sampler.negative_prompts] == ["text, water: mark"]
    assert sampler.name == "DPM++ 2M"
    assert sampler.parameters == {
        "scheduler": "Karras", "cfg_scale": "5.5", "seed": "0", "steps": "20"
    }  # fmt: skip
    assert (sampler.model.name, sampler.model.hash) == ("starter", "ab" * 5)
    assert found.metadata["Size"] == "64x48"


@pytest.mark.parametrize("scheduler", list(Scheduler))
def test_every_scheduler_has_a_name_that_others_know(scheduler: Scheduler) -> None:
    data = file_of(rendering(scheduler=scheduler, negative_prompt=""), OutputFormat.PNG)
    [sampler] = ParserManager().parse(io.BytesIO(data)).samplers
    assert sampler.name == A1111_SAMPLERS[scheduler][0]
    assert sampler.negative_prompts == []


@every_format
def test_xmp_says_that_a_trained_model_made_it(output_format: OutputFormat) -> None:
    data = file_of(rendering(prompt=" ".join(HARD_PROMPTS)), output_format)
    with Image.open(io.BytesIO(data)) as picture:
        root = ET.fromstring(picture.info["xmp"])
    iptc = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert [element.text for element in root.iter(iptc)] == [
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    ]


EDIT = edit_of(sent(scene(64, 48)), sent(half_mask(64, 48)), 0.25, 64, 48)


@every_format
def test_an_edit_is_told_by_hashes_never_by_the_picture(output_format: OutputFormat) -> None:
    data = file_of(rendering(edit=EDIT), output_format)
    record = read_record(data)
    assert record is not None
    assert record["strength"] == 0.25
    assert record["init_image"] == {"sha256": EDIT.init_image.sha256}
    assert EDIT.mask is not None
    assert record["mask"] == {"sha256": EDIT.mask.sha256}
    plain = read_record(file_of(rendering(), output_format))
    assert record.keys() - plain.keys() == {"strength", "init_image", "mask"}
    found = ParserManager().parse(io.BytesIO(data))
    assert found.metadata["Denoising strength"] == "0.25"
    assert b"compositeWithTrainedAlgorithmicMedia" in data
    assert b"/trainedAlgorithmicMedia" not in data


def test_without_a_mask_there_is_none_in_the_record() -> None:
    unmasked = rendering(edit=edit_of(sent(scene()), None, 1.0, 64, 48))
    record = read_record(file_of(unmasked, OutputFormat.PNG))
    assert record is not None
    assert "mask" not in record


@every_format
def test_a_file_cut_short_has_no_record(output_format: OutputFormat) -> None:
    data = file_of(rendering(), output_format)
    for length in [*range(0, len(data), 97), len(data) - 1]:
        assert read_record(data[:length]) is None, length


@every_format
def test_a_foreign_file_has_no_record(output_format: OutputFormat) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format=output_format.value)
    assert read_record(file.getvalue()) is None


@every_format
def test_flipped_bytes_never_raise(output_format: OutputFormat) -> None:
    data = file_of(rendering(), output_format)
    chance = random.Random(7)
    for _ in range(2_000):
        hostile = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            hostile[chance.randrange(len(hostile))] = chance.randrange(256)
        assert isinstance(read_record(bytes(hostile)), dict | None)


@pytest.mark.parametrize(
    "ours", [b"[1]", b"7", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":"' + b"x" * (1 << 20) + b'"}']
)
def test_a_record_that_is_not_ours_is_none(ours: bytes) -> None:
    text = b"imagegen\0\0\0\0\0" + ours
    chunks = len(text).to_bytes(4, "big") + b"iTXt" + text + b"\0" * 4 + b"\0\0\0\0IEND\0\0\0\0"
    assert read_record(b"\x89PNG\r\n\x1a\n" + chunks) is None


def test_the_record_is_json_that_other_programs_find() -> None:
    with Image.open(io.BytesIO(file_of(rendering(), OutputFormat.PNG))) as picture:
        assert json.loads(picture.info["imagegen"])["seed"] == 0
