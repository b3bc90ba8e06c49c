"""Sent pictures: distrusted before they are decoded, and fitted to what is to be made."""

from __future__ import annotations

import base64
import hashlib
import io
import pickle
import struct
import tracemalloc
import zlib

import pytest
from PIL import Image, ImageOps
from sent_pictures import file_of, half_mask, scene, sent, text_of

from imagegen import edits
from imagegen.edits import SentPicture, edit_of, fitted_size, steps_done
from imagegen.errors import InvalidRequest

NOISE = Image.effect_noise((64, 48), 80).convert("RGB")


def rows_of(picture: SentPicture, width: int = 64, height: int = 64) -> Image.Image:
    rows = edit_of(picture, None, 0.5, width, height).init_image.rows
    return Image.frombytes("RGB", (width, height), rows)


def colours(image: Image.Image) -> list[tuple[int, int, int]]:
    """Of the four corners: top left, top right, bottom left, bottom right."""
    right, bottom = image.width - 3, image.height - 3
    return [image.getpixel(at) for at in ((2, 2), (right, 2), (2, bottom), (right, bottom))]


def near(one: Image.Image, other: Image.Image, most: int = 12) -> bool:
    return all(
        abs(a - b) <= most
        for mine, theirs in zip(colours(one), colours(other), strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_known_by_its_header(kind: str) -> None:
    data = file_of(NOISE, kind)
    picture = SentPicture.of_file(data)
    assert (picture.width, picture.height) == (64, 48)
    assert picture.sha256 == hashlib.sha256(data).hexdigest()
    assert len(repr(picture)) < 200, "logs do not carry the picture"


def test_a_picture_of_the_right_size_is_taken_pixel_by_pixel() -> None:
    assert rows_of(sent(NOISE), 64, 48).tobytes() == NOISE.tobytes()


@pytest.mark.parametrize(
    "wrap",
    [
        "{}".format,
        "data:image/png;base64,{}".format,
        "DATA:image/PNG;base64,{}".format,
        lambda text: "\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
        lambda text: f"  {text}\r\n",
    ],
)
def test_base64_as_people_write_it(wrap) -> None:
    assert SentPicture.of_text(wrap(text_of(NOISE))) == sent(NOISE)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no PNG, JPEG or WebP"),
        ("http://169.254.169.254/latest", "nothing is fetched"),
        ("https://example.com/a.png", "nothing is fetched"),
        (" gs://bucket/a.png", "nothing is fetched"),
        ("file:///etc/passwd", "nothing is fetched"),
        ("/etc/passwd", "in base64|is no PNG"),
        ("data:text/html;base64,PGI+", "a data URL of a picture"),
        ("data:image/png,abc", "a data URL of a picture"),
        ("data:image/png;base64,", "is no PNG"),
        ("no base64!", "must be a picture in base64"),
        ("äöü", "must be a picture in base64"),
        ("AAA", "must be a picture in base64"),
        (base64.b64encode(b"GIF89a" + bytes(50)).decode(), "is no PNG, JPEG or WebP"),
        (base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(), "is no PNG"),
        (base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0").decode(), "is no PNG, JPEG or WebP"),
        (base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(), "is no "),
        ("A" * (31 << 20), "at most 15 MiB"),
    ],
)
def test_what_is_no_picture_is_told_so(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SentPicture.of_text(text)


def test_a_file_may_have_so_many_bytes() -> None:
    with pytest.raises(ValueError, match="at most 15 MiB"):
        SentPicture.of_file(file_of(NOISE).ljust(edits.MAX_FILE_BYTES + 1, b"\0"))


def png_that_claims(width: int, height: int) -> bytes:
    """A good header, and pixels that are nearly nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "size", [(7_072, 7_072), (10_000, 10_000), (60_000, 60_000), (1, 2**31 - 1)]
)
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"50,000,000 are taken|no picture that can be"):
            SentPicture.of_file(png_that_claims(*size))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_picture_cut_short_is_refused_by_its_field(kind: str, share: float) -> None:
    data = file_of(NOISE, kind)
    with pytest.raises((ValueError, InvalidRequest), match=r"^is no |init_image: is cut short"):
        rows_of(SentPicture.of_file(data[: int(len(data) * share)]))


def test_a_mask_cut_short_is_refused_by_its_field() -> None:
    mask = SentPicture.of_file(file_of(NOISE)[:-3_000])
    with pytest.raises(InvalidRequest, match="mask: is cut short or damaged"):
        edit_of(sent(NOISE), mask, 0.5, 64, 48)


def test_any_byte_may_be_wrong() -> None:
    """Every kind of damage ends in one of the two errors that are told."""
    for kind in edits.FORMATS:
        data = file_of(scene(24, 24), kind, exif=oriented(6))
        for at in range(len(data)):
            for change in (0x01, 0x80, 0xFF):
                hurt = bytearray(data)
                hurt[at] ^= change
                try:
                    rows_of(SentPicture.of_file(bytes(hurt)), 8, 8)
                except (ValueError, InvalidRequest):
                    continue


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_moves_is_refused(kind: str) -> None:
    data = file_of(NOISE, kind, save_all=True, append_images=[scene(64, 48)])
    with pytest.raises(ValueError, match="is animated"):
        SentPicture.of_file(data)


def test_a_telephones_second_picture_is_no_animation() -> None:
    file = io.BytesIO()
    scene().save(file, "MPO", save_all=True, append_images=[NOISE])
    assert near(rows_of(SentPicture.of_file(file.getvalue())), scene())


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_seen_the_way_it_was_held(kind: str, orientation: int) -> None:
    data = file_of(scene(96, 64), kind, exif=oriented(orientation))
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    picture = SentPicture.of_file(data)
    assert (picture.width, picture.height) == upright.size
    assert near(rows_of(picture, *upright.size), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"\xff" * 40])
def test_a_broken_orientation_is_none(exif: bytes) -> None:
    assert near(rows_of(sent(scene(), "JPEG", exif=exif)), scene())


def test_transparent_parts_are_white_and_in_a_mask_black() -> None:
    image = scene().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 32, 32))
    white = scene()
    white.paste("white", (0, 0, 32, 32))
    assert near(rows_of(sent(image)), white)
    strokes = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    strokes.paste((255, 255, 255, 255), (32, 0, 64, 64))
    edit = edit_of(sent(scene()), sent(strokes), 0.5, 64, 64)
    assert edit.mask is not None
    assert edit.mask.rows == half_mask().tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixels_becomes_rgb(mode: str) -> None:
    grey = Image.linear_gradient("L").resize((64, 64))
    if mode == "I;16":
        image = Image.frombytes(
            "I;16", (64, 64), b"".join(struct.pack("<H", level * 257) for level in grey.tobytes())
        )
    else:
        image = (grey if mode in ("L", "LA") else scene()).convert(mode)
    expected = grey.convert("RGB") if mode in ("L", "LA", "I;16") else image.convert("RGB")
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert near(rows_of(sent(image, kind)), expected)


def test_a_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (64, 64), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 32, 64))
    picture = rows_of(sent(image, transparency=0))
    assert colours(picture)[:2] == [(255, 255, 255), (0, 0, 255)]


def test_another_shape_is_covered_and_cut_on_both_sides_alike() -> None:
    wide = rows_of(sent(scene(400, 100)), 64, 64)
    assert near(wide, scene())
    striped = Image.new("RGB", (300, 100), "red")
    striped.paste((0, 0, 255), (100, 0, 200, 100))
    assert near(rows_of(sent(striped)), Image.new("RGB", (64, 64), (0, 0, 255)))


def test_a_mask_is_black_or_white_and_goes_the_way_of_its_picture() -> None:
    mask = Image.linear_gradient("L").rotate(90).resize((300, 100))
    edit = edit_of(sent(scene(300, 100)), sent(mask), 0.5, 64, 64)
    assert edit.mask is not None
    assert set(edit.mask.rows) == {0, 255}
    shown = edit.mask.rows.count(255) / 64**2
    assert 0.4 < shown < 0.6
    assert len(edit.mask.rows) == 64 * 64


@pytest.mark.parametrize("level", [0, 127])
def test_a_mask_without_white_would_repaint_nothing(level: int) -> None:
    with pytest.raises(InvalidRequest, match="mask: holds no white"):
        edit_of(sent(scene()), sent(Image.new("L", (64, 64), level)), 0.5, 64, 64)
    assert edit_of(sent(scene()), sent(Image.new("L", (64, 64), 128)), 0.5, 64, 64).mask


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((64, 64), (64, 64)),
        ((200, 96), (200, 96)),
        ((203, 99), (200, 96)),
        ((205, 101), (208, 104)),
        ((4_032, 3_024), (512, 384)),
        ((30, 20), (96, 64)),
        ((512, 64), (512, 64)),
        ((1, 1), (64, 64)),
    ],
)
def test_a_picture_keeps_its_size_or_what_the_model_can_draw_of_it(
    size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fitted_size(sent(Image.new("RGB", size)), 64, 512) == fitted
    assert fitted_size(sent(Image.new("RGB", size[::-1])), 64, 512) == fitted[::-1]


def test_limits_that_are_no_multiples_of_eight_are_kept() -> None:
    picture = sent(Image.new("RGB", (2_000, 2_000)))
    assert fitted_size(picture, 60, 366) == (360, 360)
    assert fitted_size(sent(Image.new("RGB", (10, 10))), 60, 366) == (64, 64)


def test_what_is_too_long_for_a_model_is_not_cut_unasked() -> None:
    with pytest.raises(ValueError, match="2000 x 100 pixels, too long and narrow"):
        fitted_size(sent(Image.new("RGB", (2_000, 100))), 64, 512)


def test_two_edits_of_the_same_files_are_one() -> None:
    one, other = (edit_of(sent(scene()), sent(half_mask()), 0.5, 64, 64) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one.without_pixels() == one
    assert len(pickle.dumps(one.without_pixels())) < 1_000
    assert one != edit_of(sent(scene()), sent(half_mask()), 0.4, 64, 64)
    assert one != edit_of(sent(scene()), None, 0.5, 64, 64)
    assert one != edit_of(sent(NOISE.resize((64, 64))), sent(half_mask()), 0.5, 64, 64)
    assert len(repr(one)) < 400


@pytest.mark.parametrize(
    ("steps", "strength", "done"),
    [(20, 0.6, 12), (20, 1.0, 20), (20, 0.05, 1), (20, 0.04, 0), (1, 0.99, 0)],
)
def test_a_share_of_the_steps_is_done(steps: int, strength: float, done: int) -> None:
    assert steps_done(steps, strength) == done
