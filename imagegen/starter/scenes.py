"""Draws the captioned product scenes that the starter model, its brands and its judge learn from.

A `Scene` is plain data; `draw` turns it into pixels and `captions.caption` into words, so a picture
and its caption can never disagree.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from imagegen.starter.objects import OBJECTS, Colour, object_layer

COLOURS: dict[str, Colour] = {
    "red": (208, 36, 40),
    "orange": (243, 128, 28),
    "yellow": (250, 212, 52),
    "green": (58, 158, 66),
    "teal": (18, 148, 150),
    "blue": (40, 88, 204),
    "purple": (122, 58, 172),
    "pink": (246, 150, 188),
    "white": (244, 244, 242),
    "black": (30, 30, 34),
    "brown": (122, 76, 44),
    "grey": (142, 142, 148),
}


@dataclass(frozen=True)
class Scene:
    """One product on one plain background. Positions and sizes are shares of the shorter side."""

    object: str
    colour: str
    background: str
    x: float = 0.0  # centre, -0.5 … 0.5 of the free space around the object
    y: float = 0.0
    size: float = 0.6  # height of the object's box
    light_angle: float = -0.8  # radians; where the light comes from
    light: float = 0.1  # strength of the light's fall-off over the picture

    @property
    def triple(self) -> tuple[str, str, str]:
        return self.object, self.colour, self.background


def is_held_out(triple: tuple[str, str, str]) -> bool:
    """One in five (object, colour, background) triples is never trained on; stable for ever."""
    return hashlib.sha256("/".join(triple).encode()).digest()[0] % 5 == 0


def all_triples(*, held_out: bool) -> list[tuple[str, str, str]]:
    """The triples of the given half in a fixed order."""
    triples = [(o, c, b) for o in OBJECTS for c in COLOURS for b in COLOURS]
    return [triple for triple in triples if is_held_out(triple) == held_out]


def random_scene(rng: Random, triple: tuple[str, str, str] | None = None) -> Scene:
    """A scene with random pose and light; without a triple, one that training may see."""
    while triple is None:
        drawn = (rng.choice(OBJECTS), rng.choice(list(COLOURS)), rng.choice(list(COLOURS)))
        triple = None if is_held_out(drawn) else drawn
    return Scene(
        *triple,
        x=rng.uniform(-0.3, 0.3),
        y=rng.uniform(-0.3, 0.3),
        size=rng.uniform(0.5, 0.72),
        light_angle=rng.uniform(-2.4, -0.7),
        light=rng.uniform(0.04, 0.14),
    )


def plain_background(scene: Scene, width: int, height: int) -> np.ndarray:
    """The background colour with the light's fall-off, float32 [height, width, 3] in 0 … 255."""
    toward_x, toward_y = math.cos(scene.light_angle), math.sin(scene.light_angle)
    xs = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    colour = np.array(COLOURS[scene.background], np.float32)
    return colour * (1 + scene.light * (xs * toward_x + ys * toward_y))


def place(picture: np.ndarray, scene: Scene, colour: Colour, shadow: float = 0.38) -> None:
    """Puts the object in `colour`, lit, with a soft shadow, onto a float picture in place."""
    height, width = picture.shape[:2]
    short = min(width, height)
    box_px = round(scene.size * short)
    left = round((width - box_px) / 2 + scene.x * (width - box_px))
    top = round((height - box_px) / 2 + scene.y * (height - box_px))
    layer, mask = object_layer(scene.object, colour, box_px)
    toward_x, toward_y = math.cos(scene.light_angle), math.sin(scene.light_angle)

    dark = Image.new("L", (width, height))
    away = round(short * 0.045)
    dark.paste(mask, (left - round(toward_x * away), top - round(toward_y * away)))
    dark = dark.reduce(4).filter(ImageFilter.GaussianBlur(short / 110)).resize((width, height))
    picture *= 1 - np.asarray(dark, np.float32)[..., None] / 255 * shadow

    on_x = np.linspace(-1, 1, box_px, dtype=np.float32)[None, :, None]
    on_y = np.linspace(-1, 1, box_px, dtype=np.float32)[:, None, None]
    lit = np.asarray(layer, np.float32) * (1 + 0.13 * (on_x * toward_x + on_y * toward_y))
    cover = np.asarray(mask, np.float32)[..., None] / 255
    at = picture[top : top + box_px, left : left + box_px]
    at += cover * (lit - at)


def as_image(picture: np.ndarray) -> Image.Image:
    """A float picture in 0 … 255 as an 8-bit RGB image."""
    return Image.fromarray(picture.clip(0, 255).round().astype(np.uint8))


def draw(scene: Scene, width: int = 256, height: int = 256) -> Image.Image:
    """The scene as an RGB picture of `width` x `height` pixels."""
    picture = plain_background(scene, width, height)
    place(picture, scene, COLOURS[scene.colour])
    return as_image(picture)
