"""Files: every pixel of a PNG, the formats, the same bytes again, the texts where readers look."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from sample_rendering import ADAPTER, RECORD, file_of, rendering

from imagegen.encoding import encode, write_png
from imagegen.fast_png import Encoder, fast_encoder
from imagegen.generation import AdapterUse, OutputFormat

every_format = pytest.mark.parametrize("output_format", list(OutputFormat))
either_way = pytest.mark.parametrize("encoder", [fast_encoder(), None], ids=["fast", "pillow"])


@every_format
def test_a_file_has_the_pictures_size_and_format(output_format: OutputFormat) -> None:
    with Image.open(io.BytesIO(file_of(rendering(), output_format))) as picture:
        picture.load()
        assert picture.size == (64, 48)
        assert picture.mode == "RGB"
        assert Image.MIME[picture.format] == output_format.content_type


def test_png_keeps_every_pixel() -> None:
    picture = rendering()
    with Image.open(io.BytesIO(file_of(picture, OutputFormat.PNG))) as file:
        assert file.tobytes() == picture.pixels


def test_pixels_that_do_not_fit_the_size_are_refused() -> None:
    with pytest.raises(ValueError, match="30 bytes are no RGB picture of 64x48"):
        file_of(replace(rendering(), pixels=b"\0" * 30), OutputFormat.PNG)


@every_format
def test_output_quality_counts_where_there_is_one(output_format: OutputFormat) -> None:
    low, high = (
        encode(rendering(), output_format=output_format, output_quality=q, record=RECORD)
        for q in (20, 95)
    )
    assert low == high if output_format is OutputFormat.PNG else len(low) < len(high)


@every_format
def test_the_same_picture_gives_the_same_bytes_and_no_path_of_this_machine(
    output_format: OutputFormat,
) -> None:
    elsewhere = AdapterUse(Path("/other/aurora.safetensors"), ADAPTER.sha256, ADAPTER.weight)
    first = file_of(rendering(), output_format)
    later = replace(rendering(adapters=(elsewhere,)), queue_s=9.0, render_s=9.0, gpu_s=9.0)
    assert file_of(later, output_format) == first
    assert b"somebody" not in first


def test_text_beyond_latin_1_lies_in_an_international_chunk() -> None:
    latin, other = (
        file_of(rendering(prompt=prompt), OutputFormat.PNG) for prompt in ("Grün", "緑")
    )
    assert b"tEXtparameters\0" in latin
    assert b"iTXtparameters\0" in other


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each, after its checksum; fails where the file does not end with IEND."""
    at, kind = 8, b""
    while kind != b"IEND":
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        content, crc = png[at + 8 : at + 8 + size], png[at + 8 + size : at + 12 + size]
        assert zlib.crc32(kind + content).to_bytes(4, "big") == crc, kind
        yield kind, content
        at += 12 + size
    assert at == len(png)


@either_way
def test_texts_stand_between_the_header_and_the_pixels(encoder: Encoder | None) -> None:
    texts = {"parameters": "Grün", "imagegen": "{}", "XML:com.adobe.xmp": "<x/>"}
    pixels = rendering().pixels
    png = write_png(pixels, 64, 48, texts, encoder)
    head, *between = [chunk for chunk in chunks(png) if chunk[0] not in (b"IDAT", b"IEND")]
    assert head == (b"IHDR", b"\0\0\0\x40\0\0\0\x30\x08\x02\0\0\0")
    assert between == [
        (b"tEXt", b"parameters\0Gr\xfcn"),
        (b"iTXt", b"imagegen\0\0\0\0\0{}"),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
    ]
    kinds = [kind for kind, _ in chunks(png)]
    assert kinds.index(b"IDAT") == 4
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.tobytes() == pixels
        assert picture.text == texts


def test_all_encoders_write_the_same_texts() -> None:
    texts = {"parameters": "東京", "imagegen": "{}", "XML:com.adobe.xmp": "<x/>"}
    fast, slow = (
        [
            chunk
            for chunk in chunks(write_png(rendering().pixels, 64, 48, texts, encoder))
            if chunk[0] != b"IDAT"
        ]
        for encoder in (fast_encoder(), None)
    )
    assert fast == slow
