"""Fast lossless PNG, by two encoders that have to prove themselves before the first picture.

A grainy picture of 1024² takes Pillow 190 ms at its default level and fpng 3 ms. But fpng knows no
repetition except a pixel equal to the one before it: type comes out three times as large as from
Pillow, a checkerboard two hundred times. Such pictures ISA-L packs in 1 to 6 ms, most to about
Pillow's size and almost all within twice; what is larger repeats exactly and is small in any case.
On grain ISA-L takes 7 ms. A few rows tell which of the two a picture is for.

Both are optional. Where one is missing or changes a pixel, `fast_encoder` is None: Pillow does it.

Each encoder's files of hard pictures are decoded by Pillow, once a process. Decoding every picture
(5 ms with ISA-L, 12 ms with Pillow) would cost more than encoding it and tell little more: no file
depends on an earlier one, and fpng, asked for speed, uses the one table that it was built with.

Whoever asks encodes, on a thread of his own. ISA-L and Pillow let other threads run meanwhile; fpng
does not, for less than the 5 ms after which Python would switch (a picture of 2048²: 13 ms).
"""

from __future__ import annotations

import functools
import io
import logging
import struct
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Encoder = Callable[[bytes, int, int], bytes]
"""8-bit RGB pixels row by row, width, height -> a PNG file without texts."""

_Pixels = NDArray[np.uint8]  # [height, width, 3]
_Rows = NDArray[np.uint8]  # [height, bytes of a row]

# What ISA-L leaves of a sample of rows foretells its file. Where it is below the first, fpng's may
# be hundreds of times as large. Where fpng's is beyond the second times what is foretold, it may be
# over twice Pillow's: those of grainy grey pictures are.
_FLAT = 0.3
_TOO_LARGE = 1.6
_SAMPLED_ROWS = 16
_UP = 2  # PNG's filter: each byte less the one above
_LEVEL = 1  # ISA-L's 2 and 3 take longer for the same size
_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_log = logging.getLogger(__name__)


@functools.cache
def fast_encoder() -> Encoder | None:
    """Chooses fpng or ISA-L for each picture; None, and a line in the log, where one of them fails.

    The first call imports and proves them (20 ms), so that the start need not.
    """
    try:
        encoders = {"fpng": _fpng(), "isal": _isal()}
    except ImportError as error:
        _log.warning("PNG files will be encoded by Pillow, slowly: %s", error)
        return None
    for name, encoder in encoders.items():
        if fault := find_fault(encoder):
            _log.warning("PNG files will be encoded by Pillow, slowly: %s %s", name, fault)
            return None
    return functools.partial(_by_either, encoders["fpng"], encoders["isal"])


def find_fault(encoder: Encoder) -> str | None:
    """What `encoder` does wrong with the first of the hard pictures that it does not keep."""
    for pixels in _hard_pictures():
        height, width, _ = pixels.shape
        try:
            png = encoder(pixels.tobytes(), width, height)
            with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
                picture.verify()  # the checksums
            with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
                kept = picture.mode == "RGB" and np.array_equal(np.asarray(picture), pixels)
        except Exception as error:  # whatever foreign code raises, and Pillow at what it wrote
            return f"failed at a picture of {width}x{height}: {error!r}"
        if not kept:
            return f"changed pixels of a picture of {width}x{height}"
    return None


def _by_either(fpng: Encoder, isal: Encoder, pixels: bytes, width: int, height: int) -> bytes:
    rows = np.frombuffer(pixels, np.uint8).reshape(height, width * 3)
    packed = _packed_part(rows)
    if packed >= _FLAT:
        png = fpng(pixels, width, height)
        if (
            0 < len(png) <= _TOO_LARGE * packed * len(pixels)
        ):  # fpng says by no bytes that it failed
            return png
    return isal(pixels, width, height)


def _packed_part(rows: _Rows) -> float:
    """What ISA-L leaves of a sample of `rows`, each less the one above; 1 is all of it."""
    from isal import isal_zlib

    if len(rows) == 1:
        return 1.0
    step = max(1, len(rows) // _SAMPLED_ROWS)
    sample = rows[1::step] - rows[:-1:step]
    packed: int = len(isal_zlib.compress(sample, _LEVEL))
    return packed / sample.size


def _fpng() -> Encoder:
    import fpng

    def encode(pixels: bytes, width: int, height: int) -> bytes:
        png: bytes = fpng.from_bytes(pixels, width, height, 3)
        return png

    return encode


def _isal() -> Encoder:
    from isal import isal_zlib

    def encode(pixels: bytes, width: int, height: int) -> bytes:
        rows = np.frombuffer(pixels, np.uint8).reshape(height, width * 3)
        data = isal_zlib.compress(_filtered(rows), _LEVEL)
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
        parts = [_SIGNATURE]
        for kind, content in ((b"IHDR", head), (b"IDAT", data), (b"IEND", b"")):
            crc = isal_zlib.crc32(content, isal_zlib.crc32(kind))
            parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", crc)]
        return b"".join(parts)

    return encode


def _filtered(rows: _Rows) -> _Rows:
    """PNG's filtered scanlines (section 9.2): the filter's number, each byte less the one above."""
    lines = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    lines[:, 0] = _UP
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    return lines


def _hard_pictures() -> Iterator[_Pixels]:
    """What takes every way through both encoders."""
    chance = np.random.default_rng(2_026)
    noise = chance.integers(0, 256, (97, 251, 3), np.uint8)
    yield noise  # does not pack: stored, in more than one block of 65,535 bytes
    yield noise[:1, :1]
    yield noise[:1]
    yield noise[:, :1]
    yield np.full_like(noise, 7)  # runs longer than Deflate's longest match, 258 bytes
    shades = np.add.outer(np.arange(97), np.arange(251))[..., None] // (3, 2, 1)
    yield shades.astype(np.uint8)
    yield np.clip(shades / 2 + chance.normal(0, 4, noise.shape), 0, 255).astype(np.uint8)
    spans = chance.integers(1, 200, 400)  # runs of every length, across rows
    spread: _Pixels = np.repeat(chance.integers(0, 256, (400, 3), np.uint8), spans, axis=0)
    yield spread[: noise.size // 3].reshape(noise.shape)
    yield np.where(noise[..., :1] < 40, noise[:1, :1], noise)  # runs and noise mixed
    yield np.where(noise[..., :1] < 128, np.uint8(0), np.uint8(255)).repeat(3, axis=2)
