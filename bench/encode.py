"""encode: 8-bit pixels of 1024² to a PNG file, against Pillow's default, pixel-identical.

Both sides write the same texts. One thread does the work on either side, so what counts is that
thread's own CPU time: neighbours on the machine do not. The pictures are made on the spot.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from bench.alike import OtherPictures, Pixels
from bench.pairs import Comparison, Goal, Options, in_turn, run_benchmark
from imagegen.encoding import write_png
from imagegen.fast_png import fast_encoder

PHOTO_LIKE = Goal("ratio", ">=", 50)
EVERY = Goal("ratio", ">=", 7)
TEXTS = {"parameters": "a red mug\nSteps: 20, Sampler: DDIM, CFG scale: 5, Seed: 7"}


def photo_like(px: int, grain: float = 4.0) -> Pixels:
    """Soft shapes under the grain of a camera."""
    chance = np.random.default_rng(1)
    shapes = Image.fromarray(chance.integers(0, 256, (12, 12, 3), np.uint8))
    smooth = np.asarray(shapes.resize((px, px), Image.Resampling.BICUBIC))
    return _eight_bits(smooth + chance.normal(0, grain, (px, px, 3)))


def fine_grained(px: int) -> Pixels:
    return photo_like(px, grain=1.5)


def grey_photo(px: int) -> Pixels:
    return photo_like(px)[..., :1].repeat(3, axis=2)


def without_grain(px: int) -> Pixels:
    return photo_like(px, grain=0)


def gradient(px: int) -> Pixels:
    down, across = np.mgrid[0:px, 0:px] * (255 / px)
    return _eight_bits(np.stack([across, down, (across + down) / 2], axis=-1))


def flat_art(px: int) -> Pixels:
    picture = Image.new("RGB", (px, px), "#0b1d3a")
    draw, chance = ImageDraw.Draw(picture), np.random.default_rng(2)
    for number in range(40):
        left, top, size = (int(n) for n in chance.integers(px // 50, px * 3 // 4, 3))
        colour = tuple(int(n) for n in chance.integers(0, 256, 3))
        shape = draw.ellipse if number % 2 else draw.rectangle
        shape((left, top, left + size // 3, top + size // 3), fill=colour)
    return np.asarray(picture)


def text_like(px: int) -> Pixels:
    picture = Image.new("RGB", (px, px), "white")
    draw, chance = ImageDraw.Draw(picture), np.random.default_rng(3)
    for top in range(0, px, 12):
        letters = "".join(map(chr, chance.integers(33, 127, px // 6)))
        draw.text((4, top), letters, fill="black")
    return np.asarray(picture)


def checkerboard(px: int, square: int = 16) -> Pixels:
    down, across = np.mgrid[0:px, 0:px] // square
    return _eight_bits(((down + across) % 2 * 255)[..., None].repeat(3, axis=2))


def fine_checkerboard(px: int) -> Pixels:
    return checkerboard(px, square=1)


def noise(px: int) -> Pixels:
    return np.random.default_rng(4).integers(0, 256, (px, px, 3), np.uint8)


def one_colour(px: int) -> Pixels:
    return np.full((px, px, 3), (25, 198, 166), np.uint8)


PICTURES: Mapping[Callable[[int], Pixels], Goal] = {
    photo_like: PHOTO_LIKE,
    fine_grained: PHOTO_LIKE,
    grey_photo: EVERY,
    without_grain: EVERY,
    gradient: EVERY,
    flat_art: EVERY,
    text_like: EVERY,
    checkerboard: EVERY,
    fine_checkerboard: EVERY,
    noise: EVERY,
    one_colour: EVERY,
}


def measure(options: Options) -> Iterator[Comparison]:
    px = 64 if options.smoke else 1_024
    for make, goal in PICTURES.items():
        yield compare(make.__name__.replace("_", " "), make(px), options.pairs, goal)


def compare(what: str, pixels: Pixels, pairs: int, goal: Goal) -> Comparison:
    """Pictures per second of CPU time."""
    height, width, _ = pixels.shape
    data = pixels.tobytes()
    files: dict[str, bytes] = {}

    def pillow() -> bytes:
        text, file = PngInfo(), io.BytesIO()
        for keyword, value in TEXTS.items():
            text.add_text(keyword, value)
        Image.frombytes("RGB", (width, height), data).save(file, format="PNG", pnginfo=text)
        return file.getvalue()

    def ours() -> bytes:
        return write_png(data, width, height, TEXTS, fast_encoder())

    def side(encode: Callable[[], bytes]) -> Callable[[], float]:
        def run() -> float:
            began = time.thread_time()
            files[encode.__name__] = encode()
            return 1 / (time.thread_time() - began)

        return run

    return Comparison(
        what=what,
        unit="pictures/s",
        other=f"Pillow {metadata.version('pillow')}",
        ours=f"imagegen with fpng {metadata.version('fpng')}, isal {metadata.version('isal')}",
        pairs=in_turn(side(pillow), side(ours), pairs),
        goals=(goal,),
        alike=same_pixels(files["pillow"], files["ours"], pixels),
    )


def same_pixels(pillows: bytes, ours: bytes, pixels: Pixels) -> str:
    """How the files differ, in words. Raises OtherPictures where they do in one pixel or text."""
    for file in (pillows, ours):
        with Image.open(io.BytesIO(file)) as picture:
            if not np.array_equal(np.asarray(picture), pixels):
                raise OtherPictures("a file does not have the pixels that went in")
            if {name: picture.info.get(name) for name in TEXTS} != TEXTS:
                raise OtherPictures("a file does not have the texts that went in")
    ratio = len(ours) / len(pillows)
    return f"every pixel the same, {len(ours) / 1e3:.0f} kB, {ratio:.2f} times Pillow's file"


def _eight_bits(values: NDArray[Any]) -> Pixels:
    eight_bits: Pixels = np.clip(values, 0, 255).astype(np.uint8)
    return eight_bits


if __name__ == "__main__":
    sys.exit(run_benchmark("encode", __doc__, measure))
