"""Encoding: a finished picture becomes a PNG, JPEG or WebP file with its records in it.

Nothing but the picture and its record goes in, so the same picture gives the same bytes.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping

from PIL import Image

from imagegen.fast_png import Encoder, fast_encoder
from imagegen.generation import OutputFormat, Rendering
from imagegen.provenance import (
    Record,
    a1111_parameters,
    json_record,
    json_text,
    with_record,
    xmp_packet,
)

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_PNG_HEAD_BYTES = 33  # the signature and IHDR, which comes first in every file

# Level 1 with run-length matches: photo-like pictures take two thirds of the time of plain level 1
# and come out smaller, flat and shaded ones much smaller (measured with Pillow's zlib-ng).
_PILLOW_PNG = {"compress_level": 1, "compress_type": 3}


def encode(
    rendering: Rendering, *, output_format: OutputFormat, output_quality: int, record: Record
) -> bytes:
    """The picture as a file with its records in it. The same input gives the same bytes.

    output_quality: 1 to 100, for jpeg and webp. Raises ValueError when pixels and size disagree.
    """
    spec, pixels = rendering.spec, rendering.pixels
    if len(pixels) != spec.width * spec.height * 3:
        raise ValueError(f"{len(pixels)} bytes are no RGB picture of {spec.width}x{spec.height}")
    if output_format is OutputFormat.PNG:
        texts = {
            "parameters": a1111_parameters(rendering, record),
            "imagegen": json_record(rendering, record),
            "XML:com.adobe.xmp": xmp_packet(rendering, record).decode(),
        }
        return write_png(pixels, spec.width, spec.height, texts, fast_encoder())
    return _write_lossy(
        Image.frombytes("RGB", (spec.width, spec.height), pixels),
        output_format,
        output_quality,
        a1111_parameters(rendering, record),
        xmp_packet(rendering, record, json_record(rendering, record)),
    )


def recode(data: bytes, output_format: OutputFormat, output_quality: int) -> bytes:
    """A file of `encode` in another format, with the records that it carries.

    output_quality: 1 to 100, for jpeg and webp; pixels of JPEG and WebP files are not restored.
    """
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as there:
        pixels = there.convert("RGB")
        parameters, packet = _parameters_in(there), _text(there.info.get("xmp", ""))
    record = json_text(data)
    if output_format is OutputFormat.PNG:
        texts = {
            "parameters": parameters,
            "imagegen": record,
            "XML:com.adobe.xmp": with_record(packet, ""),
        }
        said = {keyword: text for keyword, text in texts.items() if text}
        return write_png(pixels.tobytes(), *pixels.size, said, fast_encoder())
    return _write_lossy(
        pixels, output_format, output_quality, parameters, with_record(packet, record).encode()
    )


def _parameters_in(picture: Image.Image) -> str:
    if "parameters" in picture.info:
        return _text(picture.info["parameters"])
    comment = picture.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    return comment[8:].decode("utf-16-be") if isinstance(comment, bytes) else ""


def _text(said: str | bytes) -> str:
    return said.decode() if isinstance(said, bytes) else said


def _write_lossy(
    pixels: Image.Image,
    output_format: OutputFormat,
    output_quality: int,
    parameters: str,
    packet: bytes,
) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    comment = b"UNICODE\0" + parameters.encode("utf-16-be")
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = comment
    # No chroma subsampling: a brand's flat colours keep their edges. WebP has no such choice.
    options = {"subsampling": 0} if output_format is OutputFormat.JPEG else {"method": 2}
    pixels.save(
        file, format=output_format.value.upper(), quality=output_quality,
        exif=exif.tobytes(), xmp=packet, **options,
    )  # fmt: skip
    return file.getvalue()


def write_png(
    pixels: bytes, width: int, height: int, texts: Mapping[str, str], encoder: Encoder | None
) -> bytes:
    """A PNG file of 8-bit RGB `pixels` with text chunks, keyword to text, before its pixels.

    encoder: makes the file without texts; None is Pillow.
    """
    png = (encoder or _pillow_png)(pixels, width, height)
    chunks = [_text_chunk(keyword, text) for keyword, text in texts.items()]
    return b"".join([png[:_PNG_HEAD_BYTES], *chunks, memoryview(png)[_first_idat(png) :]])


def _pillow_png(pixels: bytes, width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), pixels).save(file, format="PNG", **_PILLOW_PNG)
    return file.getvalue()


def _first_idat(png: bytes) -> int:
    """Where the pixels begin; what stands between IHDR and them is the encoder's own and goes."""
    at = _PNG_HEAD_BYTES
    while at < len(png) and png[at + 4 : at + 8] != b"IDAT":
        at += 12 + int.from_bytes(png[at : at + 4], "big")
    return at


def _text_chunk(keyword: str, text: str) -> bytes:
    """tEXt for `parameters` where Latin-1 suffices, for readers that know no other; else iTXt."""
    if keyword == "parameters":
        try:
            return _chunk(b"tEXt", keyword.encode() + b"\0" + text.encode("latin-1"))
        except UnicodeEncodeError:
            pass
    return _chunk(b"iTXt", keyword.encode() + b"\0\0\0\0\0" + text.encode())


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(data, zlib.crc32(kind))
    return len(data).to_bytes(4, "big") + kind + data + crc.to_bytes(4, "big")
