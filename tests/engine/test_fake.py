"""FakeRenderer: what it draws depends on everything in the spec and on nothing else."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from imagegen.engine.fake import FakeRenderer, draw
from imagegen.errors import InvalidModel
from imagegen.generation import AdapterUse, RenderSpec, Scheduler

OTHER = {
    "brand": "flora",
    "prompt": "a blue box",
    "negative_prompt": "text",
    "width": 32,
    "height": 32,
    "num_inference_steps": 4,
    "guidance_scale": 1.0,
    "scheduler": Scheduler.EULER,
    "seed": 8,
    "adapters": (AdapterUse(Path("aurora.safetensors"), "ab12", 1.0),),
}


def render(spec: RenderSpec):
    renderer = FakeRenderer()
    renderer.load(lambda _: None)
    denoising = renderer.begin(spec)
    while denoising.step_index < denoising.step_count:
        renderer.step([denoising])
    [picture] = renderer.finish([denoising])
    return picture


def test_the_same_spec_gives_the_same_picture(make_spec):
    assert render(make_spec()) == render(make_spec())


@pytest.mark.parametrize("field", OTHER)
def test_every_field_shows_in_the_pixels(make_spec, field):
    picture, other = render(make_spec()), render(make_spec(**{field: OTHER[field]}))
    assert picture.pixels != other.pixels
    assert len(other.pixels) == other.width * other.height * 3


def test_no_field_is_forgotten_above():
    assert OTHER.keys() | {"exact"} == {field.name for field in fields(RenderSpec)}


def test_it_is_a_gradient(make_spec):
    pixels = draw(make_spec(), 24, 16).pixels
    first, last = pixels[:3], pixels[-3:]
    middle = pixels[3 * (8 * 24 + 12) :][:3]
    for a, b, c in zip(first, middle, last, strict=True):
        assert min(a, c) <= b <= max(a, c)


def test_a_preview_is_small(make_spec):
    renderer = FakeRenderer()
    preview = renderer.preview(renderer.begin(make_spec(width=64, height=32)))
    assert (preview.width, preview.height, len(preview.pixels)) == (8, 4, 8 * 4 * 3)


def test_words_past_the_text_encoders_window_are_told(make_spec):
    renderer = FakeRenderer()
    assert renderer.begin(make_spec("mug " * 77)).warnings == ()
    assert "last 3 words" in renderer.begin(make_spec("mug " * 80)).warnings[0]


def test_a_load_that_shall_fail_fails_with_its_sentence():
    with pytest.raises(InvalidModel, match="no weights in /models/x"):
        FakeRenderer(fail_load="no weights in /models/x").load(lambda _: None)
