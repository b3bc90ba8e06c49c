"""FakeRenderer: what it draws depends on everything in the spec and on nothing else."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from sent_pictures import half_mask, scene, sent

from imagegen.edits import edit_of
from imagegen.engine.fake import FakeRenderer, draw
from imagegen.engine.renderer import PHASES
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
    "edit": edit_of(sent(scene(24, 16)), None, 0.9, 24, 16),
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


def test_an_edited_picture_shines_through_where_the_mask_is_black(make_spec):
    picture, mask = sent(scene(24, 16)), sent(half_mask(24, 16))
    edit = edit_of(picture, mask, 0.75, 24, 16)
    plain, edited = render(make_spec()), render(make_spec(edit=edit))
    rows = zip(edit.init_image.rows, plain.pixels, edited.pixels, strict=True)
    for at, (under, over, seen) in enumerate(rows):
        expected = under / 4 + over * 3 / 4 if edit.mask.rows[at // 3] else under
        assert abs(seen - expected) <= 1


def test_of_an_edit_only_a_share_of_the_steps_is_done(make_spec):
    edit = edit_of(sent(scene()), None, 0.75, 24, 16)
    renderer = FakeRenderer()
    assert renderer.begin(make_spec(edit=edit, num_inference_steps=8)).step_count == 6
    look = renderer.preview(renderer.begin(make_spec(edit=edit)))
    assert len(look.pixels) == 3 * 2 * 3


def test_a_preview_is_small(make_spec):
    renderer = FakeRenderer()
    preview = renderer.preview(renderer.begin(make_spec(width=64, height=32)))
    assert (preview.width, preview.height, len(preview.pixels)) == (8, 4, 8 * 4 * 3)


def test_words_past_the_text_encoders_window_are_told(make_spec):
    renderer = FakeRenderer()
    assert renderer.begin(make_spec("mug " * 77)).warnings == ()
    assert "last 3 words" in renderer.begin(make_spec("mug " * 80)).warnings[0]


def test_it_starts_in_the_phases_of_every_renderer():
    phases: list[str] = []
    FakeRenderer().load(phases.append)
    assert tuple(phases) == PHASES


def test_a_load_that_shall_fail_fails_with_its_sentence():
    with pytest.raises(InvalidModel, match="no weights in /models/x"):
        FakeRenderer(fail_load="no weights in /models/x").load(lambda _: None)
