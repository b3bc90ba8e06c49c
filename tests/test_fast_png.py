"""The fast encoders keep every pixel, are chosen rightly, and are done without where they fail."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Callable

import fpng
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from imagegen import fast_png
from imagegen.fast_png import Encoder, fast_encoder, find_fault

Pixels = NDArray[np.uint8]
NOISE = np.random.default_rng(1).integers(0, 256, (300, 200, 3), np.uint8)
FLAT = np.full_like(NOISE, 200)
TYPE = np.where(NOISE[..., :1] < 40, np.uint8(0), np.uint8(255)).repeat(3, axis=2)
CHECKERS = np.where(np.indices(NOISE.shape)[:2].sum(axis=0) % 2, np.uint8(0), np.uint8(255))


def fast() -> Encoder:
    encoder = fast_encoder()
    assert encoder is not None
    return encoder


def decoded(png: bytes) -> Pixels:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture)


def encoded(encoder: Encoder, pixels: Pixels) -> bytes:
    height, width, _ = pixels.shape
    return encoder(pixels.tobytes(), width, height)


def by_pillow(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


@st.composite
def pictures(draw: st.DrawFn) -> Pixels:
    """Noise of any share, runs of any length, any size: what encoders stumble over."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 400))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    colours = draw(st.sampled_from([1, 2, 3, 17, 256]))
    longest = draw(st.sampled_from([1, 2, 5, 86, 87, 300, 5_000]))
    palette = chance.integers(0, 256, (colours, 3), np.uint8)
    spans = chance.integers(1, longest + 1, 1 + 2 * height * width // longest)
    runs = np.repeat(palette[chance.integers(0, colours, len(spans))], spans, axis=0)
    pixels = np.resize(runs, (height, width, 3))
    noisy = chance.random((height, width, 1)) < draw(st.sampled_from([0, 0.01, 0.5, 1]))
    return np.where(noisy, chance.integers(0, 256, pixels.shape, np.uint8), pixels)


@settings(deadline=None, max_examples=60)
@given(pictures())
def test_every_pixel_survives_every_encoder(pixels: Pixels) -> None:
    for encoder in (fast(), fast_png._fpng(), fast_png._isal()):
        assert np.array_equal(decoded(encoded(encoder, pixels)), pixels)


@pytest.mark.parametrize("pixels", [NOISE, FLAT, TYPE], ids=["noise", "flat", "type"])
def test_the_same_pixels_give_the_same_file(pixels: Pixels) -> None:
    assert encoded(fast(), pixels) == encoded(fast(), pixels.copy())


def test_noise_goes_to_fpng_and_what_packs_well_to_isal() -> None:
    assert encoded(fast(), NOISE) == encoded(fast_png._fpng(), NOISE)
    for pixels in (FLAT, TYPE, CHECKERS):
        assert encoded(fast(), pixels) == encoded(fast_png._isal(), pixels)


def test_files_are_at_most_twice_pillows_where_fpngs_would_be_more() -> None:
    grain = np.random.default_rng(2).normal(0, 4, (256, 256, 3))
    across, down = np.arange(256) - 90.0, np.arange(256) * 0.7 - 60
    shades = np.hypot.outer(down, across)[..., None] / (1.1, 1.4, 2)
    grey = (shades[..., :1] + grain[..., :1]).repeat(3, axis=2)
    dots = shades + grain * (grain > 3)
    by_fpng = []
    for kind in (shades, grey, TYPE, shades + grain, dots, NOISE):
        pixels = np.clip(kind, 0, 255).astype(np.uint8)
        pillows = len(by_pillow(pixels))
        assert len(encoded(fast(), pixels)) <= 2 * pillows
        by_fpng.append(len(encoded(fast_png._fpng(), pixels)) / pillows)
    assert [ratio > 1.9 for ratio in by_fpng] == [True, True, True, False, False, False]


def swapped(pixels: bytes, width: int, height: int) -> bytes:
    return fast()(pixels, height, width)


def darker(pixels: bytes, width: int, height: int) -> bytes:
    """Changes one pixel of large pictures alone."""
    spoilt = bytearray(pixels)
    spoilt[-1] ^= len(pixels) > 50_000
    return fast()(bytes(spoilt), width, height)


def grey(pixels: bytes, width: int, height: int) -> bytes:
    return by_pillow(np.frombuffer(pixels, np.uint8).reshape(height, width, 3)[..., 0])


def wrong_checksum(pixels: bytes, width: int, height: int) -> bytes:
    png = fast()(pixels, width, height)
    return png[:-16] + bytes(4) + png[-12:]


@pytest.mark.parametrize(
    ("encoder", "fault"),
    [
        (swapped, "changed pixels of a picture of 251x97"),
        (darker, "changed pixels of a picture of 251x97"),
        (grey, "changed pixels of a picture of 251x97"),
        (wrong_checksum, "failed at a picture of 251x97"),
        (lambda *_: b"", "failed at a picture of 251x97"),
        (lambda *_: 1 // 0, "failed at a picture of 251x97: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_an_encoder_that_does_not_keep_a_picture_is_found_out(encoder: Encoder, fault: str) -> None:
    assert (find_fault(encoder) or "").startswith(fault)


def test_those_that_ship_have_no_fault() -> None:
    assert find_fault(fast_png._fpng()) is None
    assert find_fault(fast_png._isal()) is None


@pytest.fixture
def afresh() -> Callable[[], Encoder | None]:
    """Chooses as a process does at its first picture."""
    return fast_encoder.__wrapped__


@pytest.mark.parametrize("name", ["fpng", "isal"])
def test_without_an_encoder_pillow_does_it_and_the_log_says_so(
    name: str,
    afresh: Callable[[], Encoder | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert afresh() is None
    [line] = caplog.messages
    assert line.startswith("PNG files will be encoded by Pillow, slowly: ")
    assert name in line


def test_an_encoder_with_a_fault_is_not_used(
    afresh: Callable[[], Encoder | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(isal_zlib, "compress", lambda data, level: data.tobytes())
    assert afresh() is None
    assert "isal failed at a picture of" in caplog.text


def test_where_fpng_gives_up_isal_does_it(
    afresh: Callable[[], Encoder | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = afresh()
    assert encoder is not None
    monkeypatch.setattr(fpng, "from_bytes", lambda *_: b"")
    assert encoded(encoder, NOISE) == encoded(fast_png._isal(), NOISE)


def test_nothing_is_said_where_all_is_well(
    afresh: Callable[[], Encoder | None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="imagegen")
    assert afresh() is not None
    assert caplog.messages == []


def test_a_start_imports_no_encoder() -> None:
    code = "import sys, imagegen.wsgi; print(*({'fpng', 'isal'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
