"""img2img's pictures made ready: proportions, masks, and what is under a mask."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image, ImageDraw

from imagegen.edits import laid_on, upright
from imagegen.errors import InvalidRequest
from imagegen.generation import GenerationRequest
from imagegen.parsing import parse_fields, read_json
from imagegen.web.a1111.bodies import Img2ImgBody
from imagegen.web.a1111.canvas import faults_of, fill, notes, with_pictures

RED, BLUE = (255, 0, 0), (0, 0, 255)


def sent(image: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    image.save(file, format=kind)
    return base64.b64encode(file.getvalue()).decode()


def halves(width: int = 64, height: int = 32) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def spot(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """Black with a white box."""
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=255)
    return mask


def body(image: Image.Image | None = None, **fields: Any) -> Img2ImgBody:
    fields = {"init_images": [sent(image or halves())]} | fields
    return read_json(Img2ImgBody, json.dumps(fields).encode())


def made(asked: Img2ImgBody) -> tuple[Image.Image, Image.Image | None, GenerationRequest]:
    [picture] = asked.init_images or []
    request = parse_fields({"brand": "aurora", "prompt": "x", "init_image": picture})
    request = with_pictures(request, asked)
    assert request.init_image is not None
    image = laid_on("white", upright("init_image", request.init_image))
    mask = None if request.mask is None else upright("mask", request.mask).convert("L")
    return image, mask, request


@pytest.mark.parametrize(
    "fields", [{}, {"width": 128, "height": 64}, {"width": 64, "height": 64, "resize_mode": 1}]
)
def test_a_picture_that_needs_nothing_stays_the_file_it_was(fields: dict[str, int]) -> None:
    asked = body(**fields)
    assert made(asked)[2].init_image is (asked.init_images or [None])[0]


def test_just_resizing_stretches() -> None:
    image, _, _ = made(body(width=64, height=64))
    assert image.size == (64, 64)
    assert (image.getpixel((2, 2)), image.getpixel((61, 61))) == (RED, BLUE)


@pytest.mark.parametrize(("size", "outside"), [((64, 64), (2, 2)), ((128, 32), (2, 2))])
def test_filling_up_goes_on_with_the_edges(size: tuple[int, int], outside: tuple[int, int]) -> None:
    image, _, _ = made(body(width=size[0], height=size[1], resize_mode=2))
    assert image.size == size
    assert image.getpixel(outside) == RED
    assert image.getpixel((size[0] - 2, size[1] - 2)) == BLUE


def test_a_mask_goes_the_same_way_as_its_picture() -> None:
    mask = spot((64, 32), (0, 0, 32, 32))
    for mode in (0, 2):
        _, found, request = made(
            body(width=64, height=64, resize_mode=mode, mask=sent(mask), inpainting_fill=1)
        )
        assert found is not None
        assert found.size == (64, 64)
        assert (found.getpixel((5, 5)), found.getpixel((58, 58))) == (255, 0)
        assert request.mask is not None


def test_a_mask_of_another_size_is_laid_over_the_picture() -> None:
    _, found, _ = made(body(mask=sent(spot((8, 8), (0, 0, 4, 8)))))
    assert found is not None
    assert found.size == (64, 32)
    assert (found.getpixel((2, 2)), found.getpixel((60, 2))) == (255, 0)


def test_a_mask_drawn_on_glass_is_what_is_opaque() -> None:
    drawn = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
    drawn.paste((0, 0, 0, 255), (0, 0, 16, 32))  # black strokes
    _, found, _ = made(body(mask=sent(drawn)))
    assert found is not None
    assert (found.getpixel((2, 2)), found.getpixel((60, 2))) == (255, 0)


def test_a_mask_may_be_the_other_way_round() -> None:
    mask = sent(spot((64, 32), (0, 0, 32, 32)))
    _, found, _ = made(body(mask=mask, inpainting_mask_invert=1))
    assert found is not None
    assert (found.getpixel((2, 2)), found.getpixel((60, 2))) == (0, 255)


def test_what_is_repainted_starts_from_the_colours_around_it() -> None:
    image = Image.new("RGB", (64, 32), BLUE)
    image.paste(RED, (24, 8, 40, 24))
    mask = sent(spot((64, 32), (24, 8, 40, 24)))
    around, _, _ = made(body(image, mask=mask, inpainting_fill=0))
    red, _, blue = around.getpixel((32, 16))
    assert (red < 40, blue > 215) == (True, True)
    assert around.getpixel((2, 2)) == BLUE
    as_it_is, _, _ = made(body(image, mask=mask, inpainting_fill=1))
    assert as_it_is.getpixel((32, 16)) == RED


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (33, 64)])
def test_filling_takes_any_size(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, RED)
    assert fill(image, Image.new("L", size, 0)).tobytes() == image.tobytes()
    assert fill(image, Image.new("L", size, 255)).tobytes() == image.tobytes()


def test_a_large_picture_is_made_smaller_before_it_is_filled() -> None:
    large = Image.new("RGB", (4_000, 2_000), BLUE)
    image, mask, _ = made(body(large, mask=sent(spot((4_000, 2_000), (0, 0, 2_000, 2_000)))))
    assert mask is not None
    assert image.size == mask.size
    assert image.width * image.height <= 1 << 22


def test_a_picture_with_transparent_parts_is_seen_on_white() -> None:
    image, _, _ = made(body(Image.new("RGBA", (8, 4), (0, 0, 0, 0)), width=8, height=8))
    assert image.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"init_images": []}, "init_images"),
        ({"init_images": None}, "init_images"),
        ({"init_images": [sent(halves())] * 2}, "init_images"),
        ({"resize_mode": 3}, "resize_mode"),
        ({"inpainting_fill": 2}, "inpainting_fill"),
        ({"inpainting_mask_invert": 7}, "inpainting_mask_invert"),
        ({"width": 8_192, "height": 8_192}, "resize_mode"),
    ],
)
def test_faults(fields: dict[str, Any], fault: str) -> None:
    assert [one.field for one in faults_of(body(**fields))] == [fault]


@pytest.mark.parametrize(
    "text", ["", "x", "http://127.0.0.1/a.png", "data:text/plain;base64,eA==", "file:///etc/passwd"]
)
def test_what_is_no_picture(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        body(init_images=[text])
    assert [one.field for one in caught.value.fields] == ["init_images.0"]


@pytest.mark.parametrize("mask", [None, ""])
def test_no_mask(mask: str | None) -> None:
    asked = body(mask=mask, mask_blur=4, inpaint_full_res=True)
    assert asked.mask is None
    assert notes(asked) == []


def test_what_is_done_in_another_way_is_told() -> None:
    mask = sent(spot((64, 32), (0, 0, 8, 8)))
    told = notes(body(mask=mask, mask_blur=4, inpaint_full_res=True))
    assert [note.split()[0] for note in told] == ["inpaint_full_res", "mask_blur"]
    assert notes(body(mask=mask, mask_blur=0, inpaint_full_res=False)) == []
