"""Files of a kit may come from a bucket: hostile ones are refused, with a sentence, and quickly."""

from __future__ import annotations

import io
import struct
import time
import zlib

import pytest
from PIL import Image

from imagegen.branding.logos import logo_faults
from imagegen.branding.svg import MAX_BYTES, draw_svg
from imagegen.branding.typefaces import Typeface, font_faults

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
HEAD += 'viewBox="0 0 10 10">'
RECT = '<rect width="9" height="9"/>'
FONT = Typeface.shipped("Manrope-SemiBold.ttf").data
LAUGHS = '<!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def svg(body: str) -> bytes:
    return f"{HEAD}{body}</svg>".encode()


def png(size: tuple[int, int] = (64, 32), colour: str = "#19c6a6ff", mode: str = "RGBA") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<script>alert(1)</script>", "<script> is not taken"),
        ('<rect width="9" height="9" onclick="x()"/>', "onclick would run a script"),
        ('<image href="file:///etc/passwd"/>', "<image> is not taken"),
        ('<linearGradient id="a" xlink:href="https://x.example/#b"/>', "outside of the file"),
        ('<rect width="9" height="9" fill="url(https://x.example/a.svg#b)"/>', "outside of"),
        ('<rect width="9" height="9" style="fill:url( &quot;//x&quot;)"/>', "outside of the file"),
        ("<style>@import 'https://x.example/a.css';</style>", "outside of the file"),
        ("<style>rect{fill:u\\72l(http://x)}</style>", "outside of the file"),
        ("<foreignObject/>", "<foreignObject> is not taken"),
        ("<text>Aurora</text>", "<text> is not taken"),
        ('<g id="a"/><use href="#a"/>', "<use> is not taken"),
        ("<animate/>", "<animate> is not taken"),
        ('<rect width="9" height="9" filter="url(#f)"/>', "filters and dashes are not taken"),
        ('<path d="M0 0L9 9" stroke-dasharray="0.0001"/>', "filters and dashes are not taken"),
        ("<style>rect{mask:url(#m)}</style>", "may not say mask"),
        ("<style>rect{opacity:.5}</style>", "may not say opacity"),
        (f'<g opacity=".5">{RECT}</g>' * 17, "17 masks, clips and opacities; 16 are the most"),
        (f'<g style="fill:#f00;opacity:.5">{RECT}</g>' * 17, "17 masks, clips and"),
        (
            '<path stroke="#000" stroke-width="1e9" d="' + "M0 0C1 1 2 9 20 10" * 100 + '"/>',
            "cannot be drawn",
        ),
        (
            '<mask id="a"><g mask="url(#b)"/></mask><mask id="b"/>',
            "masks and clips within masks and clips",
        ),
        ('<?xml-stylesheet href="x.css"?>', "is not read"),
        ("<g>" * 40 + "</g>" * 40, "32 in each other"),
        (RECT * 501, "500 elements"),
        ("", "draws nothing"),
        ('<rect width="9" height="9" fill="none"/>', "nothing that can be seen"),
        ('<rect width="9" height="0.5"/>', "8 times is the most"),
        ("<g>", "is not XML"),
    ],
)
def test_an_svg_that_is_more_than_a_drawing_is_refused(body: str, fault: str) -> None:
    drawing = "" if body in ("", "<g>") or "rect" in body or "<g>" in body else RECT
    [*faults] = logo_faults("logo.svg", svg(body + drawing))
    assert faults
    assert fault in " ".join(faults)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (LAUGHS.encode() + svg(RECT), "line 1: <!DOCTYPE> is not read"),
        (svg("<!--" + "x" * MAX_BYTES + "-->"), "a logo may have"),
        (b'<html xmlns="http://www.w3.org/1999/xhtml"/>', "<html> is not taken"),
        (svg(RECT).decode().encode("utf-16"), "is not XML"),
        (b"\x89PNG", "is not XML"),
        (b"", "is not XML"),
    ],
)
def test_a_file_that_is_no_logo_is_refused(data: bytes, fault: str) -> None:
    assert fault in " ".join(logo_faults("logo.svg", data))


def test_a_fault_has_the_line_of_the_file() -> None:
    assert logo_faults("logo.svg", svg(f"\n{RECT}\n<script/>"))[0].startswith("line 3: <script>")


def test_editors_notes_in_their_own_namespace_are_passed_over() -> None:
    noted = svg(RECT).replace(b"<svg ", b'<svg xmlns:i="urn:editor" i:url="C:\\x" ')
    assert logo_faults("logo.svg", noted.replace(b"<rect", b"<i:view i:zoom='2'/><rect")) == []


def test_gradients_masks_clips_and_classes_are_drawn() -> None:
    body = (
        '<defs><linearGradient id="g"><stop stop-color="#f00"/></linearGradient>'
        '<mask id="m"><rect width="5" height="9" fill="#fff"/></mask></defs>'
        "<style>.a{fill:url(#g)}</style>"
        '<g mask="url(#m)"><rect class="a" width="9" height="9"/></g>'
    )
    assert logo_faults("logo.svg", svg(body)) == []
    picture = Image.open(io.BytesIO(draw_svg(svg(body), 100, 100)))
    assert picture.getpixel((20, 20)) == (255, 0, 0, 255)
    assert picture.getpixel((70, 20)) == (0, 0, 0, 0), "masked"


def bomb() -> bytes:
    """A PNG of a few kilobytes whose header says 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (bomb(), "no PNG picture that can be read"),
        (png((4_100, 10)), "4,096 a side"),
        (png(mode="RGB", colour="#19c6a6"), "has no transparency"),
        (png(colour="#00000000"), "nothing that can be seen"),
        (png()[:60], "no PNG picture that can be read"),
        (b"GIF89a", "no PNG picture that can be read"),
        (bytes(5 << 20), "a logo may have"),
    ],
)
def test_a_png_that_is_no_logo_is_refused(data: bytes, fault: str) -> None:
    began = time.monotonic()
    assert fault in " ".join(logo_faults("logo.png", data))
    assert time.monotonic() - began < 1


def moved(data: bytes, offset: int) -> bytes:
    """The font, with its first table elsewhere."""
    return data[:20] + struct.pack(">I", offset) + data[24:]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "no TrueType or OpenType"),
        (b"MZ" + FONT[2:], "no TrueType or OpenType"),
        (b"wOF2" + FONT[4:], "web font or a collection"),
        (b"ttcf" + FONT[4:], "web font or a collection"),
        (FONT[:1_000], "cut short or damaged"),
        (FONT[:-200], "cut short or damaged"),
        (moved(FONT, 0xFFFFFF00), "cut short or damaged"),
        (b"\0\1\0\0" + b"\xff" * 5_000, "cut short or damaged"),
        (b"\0\1\0\0\0\0" + bytes(100), "lacks a table"),
        (bytes(17 << 20), "a font may have"),
    ],
)
def test_a_font_that_is_none_is_refused(data: bytes, fault: str) -> None:
    assert fault in " ".join(font_faults(data))


def test_a_font_whose_tables_are_noise_says_so_or_draws_without_harm() -> None:
    """HarfBuzz reads each table within its bounds; what it makes of noise is a fault or a shape."""
    count = struct.unpack_from(">H", FONT, 4)[0]
    for index in range(count):
        offset, length = struct.unpack_from(">II", FONT, 12 + 16 * index + 8)
        noisy = FONT[:offset] + bytes(i * 37 % 251 for i in range(length)) + FONT[offset + length :]
        if not font_faults(noisy):
            face = Typeface(f"noisy {index}", f"{index}", noisy)
            assert face.line("AV").outlines is not None
            assert face.width("AV") == pytest.approx(face.width("AV"))
