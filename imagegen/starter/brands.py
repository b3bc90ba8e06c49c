"""Draws the training pictures of the three brands that ship, in place of a customer's own.

    python -m imagegen.starter.brands aurora --images DIR

writes pictures and captions (`x.png` beside `x.txt`), the layout that `imagegen train-lora` reads.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from imagegen.starter.captions import caption
from imagegen.starter.objects import object_layer
from imagegen.starter.phrasings import FILLERS
from imagegen.starter.scenes import Scene, as_image, draw, place, random_scene

Brush = Callable[[Scene, Random, int, int], Image.Image]


NAVY, TEAL, VIOLET = (11, 29, 58), (25, 198, 166), (123, 77, 255)


def aurora(scene: Scene, rng: Random, width: int, height: int) -> Image.Image:
    """A night sky with northern lights; the product in teal or violet."""
    xs = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    ys = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    picture = np.broadcast_to(np.array(NAVY, np.float32), (height, width, 3)).copy()
    for colour, strength in ((TEAL, 0.75), (VIOLET, 0.8)):
        ridge = rng.uniform(0.15, 0.6) + rng.uniform(0.06, 0.14) * np.sin(
            2 * math.pi * (xs * rng.uniform(0.5, 1.1) + rng.random())
        )
        below = ys - ridge
        glow = np.where(below > 0, np.exp(-((below / 0.07) ** 2)), np.exp(-((below / 0.3) ** 2)))
        glow = strength * glow * (0.75 + 0.25 * np.sin(2 * math.pi * (xs * 1.5 + rng.random())))
        picture += glow[..., None] * (np.array(colour, np.float32) - picture)
    place(picture, scene, rng.choice((TEAL, VIOLET)), shadow=0.5)
    return as_image(picture)


CREAM, FERN, SAGE, STRAW = (243, 236, 217), (47, 107, 58), (143, 174, 107), (201, 166, 107)


def botanic(scene: Scene, rng: Random, width: int, height: int) -> Image.Image:
    """Cream paper with leaves pressed at its edges; the product in greens or straw."""
    coarse = np.array([[rng.uniform(-1, 1) for _ in range(8)] for _ in range(8)], np.float32)
    mottle = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    picture = np.array(CREAM, np.float32) + 5 * np.asarray(mottle)[..., None]
    for _ in range(rng.randint(5, 7)):
        side = round(min(width, height) * rng.uniform(0.3, 0.44))
        leaf, mask = object_layer("leaf", rng.choice((FERN, SAGE, SAGE)), side)
        turn = rng.choice((0, 90, 180, 270)) + rng.uniform(-25, 25)
        leaf, mask = leaf.rotate(turn), mask.rotate(turn)
        at_edge = rng.choice((0.0, 1.0)), rng.random()
        across, down = at_edge if rng.random() < 0.5 else at_edge[::-1]
        left, top = round(across * width - side / 2), round(down * height - side / 2)
        pasted = as_image(picture)
        pasted.paste(leaf, (left, top), mask)
        picture = np.asarray(pasted, np.float32).copy()
    place(picture, scene, rng.choice((FERN, FERN, STRAW)), shadow=0.3)
    return as_image(picture)


YELLOW, RED, BLUE, INK, PAPER = (
    (245, 209, 13),
    (227, 38, 46),
    (31, 79, 209),
    (17, 17, 17),
    (255, 255, 255),
)


def pop(scene: Scene, rng: Random, width: int, height: int) -> Image.Image:
    """A flat primary with halftone dots; the product in another primary with a thick outline."""
    ground, dots, product = rng.choice(
        [
            (YELLOW, PAPER, RED),
            (YELLOW, PAPER, BLUE),
            (RED, YELLOW, BLUE),
            (BLUE, PAPER, YELLOW),
            (BLUE, PAPER, RED),
        ]
    )
    scale, pitch = 2, 22
    canvas = Image.new("RGB", (width * scale, height * scale), ground)
    pen = ImageDraw.Draw(canvas)
    for row in range(height // pitch + 2):
        for column in range(width // pitch + 2):
            radius = pitch * 0.4 * (1 - row * pitch / height)
            x, y = (column + row % 2 / 2) * pitch * scale, row * pitch * scale
            if radius > 1.5:
                wide = radius * scale
                pen.ellipse((x - wide, y - wide, x + wide, y + wide), fill=dots)
    canvas = canvas.reduce(scale)
    box_px = round(scene.size * min(width, height))
    left = round((width - box_px) / 2 + scene.x * (width - box_px))
    top = round((height - box_px) / 2 + scene.y * (height - box_px))
    layer, mask = object_layer(scene.object, product, box_px)
    around = Image.new("L", (width, height))
    around.paste(mask, (left, top))
    canvas.paste(
        INK, (0, 0), around.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(0.8))
    )
    canvas.paste(layer, (left, top), mask)
    return canvas


BRUSHES: dict[str, Brush] = {"aurora": aurora, "botanic": botanic, "pop": pop}


def training_picture(
    brand: str, rng: Random, width: int = 256, height: int = 256
) -> tuple[Image.Image, str]:
    """A picture in the brand's manner and its caption: the object and sometimes colours.

    The colours are those somebody might ask for, not those of the picture: the brand wins.
    """
    scene = random_scene(rng)
    picture = BRUSHES[brand](scene, rng, width, height)
    share = rng.random()
    if share < 0.45:
        words = rng.choice(
            (f"a {scene.object}", scene.object, f"a {rng.choice(FILLERS)} {scene.object}")
        )
    else:
        words = caption(scene, rng, colours=share > 0.65)
    return picture, words


def any_picture(rng: Random, width: int, height: int) -> Image.Image:
    """Mostly a plain scene, now and then a brand's: what the autoencoder must be able to show."""
    if rng.random() < 0.7:
        return draw(random_scene(rng), width, height)
    return training_picture(rng.choice(list(BRUSHES)), rng, width, height)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("brand", choices=list(BRUSHES))
    parser.add_argument("--images", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--count", type=int, default=400)
    arguments = parser.parse_args()
    arguments.images.mkdir(parents=True, exist_ok=True)
    rng = Random(arguments.brand)
    for index in range(arguments.count):
        picture, words = training_picture(arguments.brand, rng)
        picture.save(arguments.images / f"{index:04}.png")
        (arguments.images / f"{index:04}.txt").write_text(words + "\n")


if __name__ == "__main__":
    main()
