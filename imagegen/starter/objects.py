"""The twelve products of the starter's scenes, drawn as flat shapes with a few tones."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SUPERSAMPLING = 3


def tone(colour: Colour, factor: float) -> Colour:
    """A darker (factor < 1) or lighter (> 1) tone that stays visible on black and on white."""
    luminance = (0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]) / 255
    if luminance < 0.2 and factor < 1:
        factor = 1 + (1 - factor) * 0.6
    elif luminance > 0.85 and factor > 1:
        factor = 1 - (factor - 1) * 0.5
    if factor <= 1:
        mixed = [channel * factor for channel in colour]
    else:
        share = min(factor - 1, 1.0)
        mixed = [channel + (255 - channel) * share for channel in colour]
    return round(mixed[0]), round(mixed[1]), round(mixed[2])


class Pen:
    """Draws in an object's own box (x, y from -1 to 1) on a colour layer and its mask."""

    def __init__(self, box_px: int, colour: Colour) -> None:
        self.half = box_px / 2
        self.colour = colour
        self.layer = Image.new("RGB", (box_px, box_px), colour)
        self.mask = Image.new("L", (box_px, box_px), 0)
        self._ink, self._cover = ImageDraw.Draw(self.layer), ImageDraw.Draw(self.mask)

    def _px(self, points: list[Point]) -> list[Point]:
        return [((x + 1) * self.half, (y + 1) * self.half) for x, y in points]

    def polygon(self, points: list[Point], shade: float = 1.0) -> None:
        self._ink.polygon(self._px(points), fill=tone(self.colour, shade))
        self._cover.polygon(self._px(points), fill=255)

    def rectangle(
        self, box: tuple[float, float, float, float], shade: float = 1.0, radius: float = 0.0
    ) -> None:
        (x0, y0), (x1, y1) = self._px([(box[0], box[1]), (box[2], box[3])])
        self._ink.rounded_rectangle(
            (x0, y0, x1, y1), radius * self.half, fill=tone(self.colour, shade)
        )
        self._cover.rounded_rectangle((x0, y0, x1, y1), radius * self.half, fill=255)

    def ellipse(self, box: tuple[float, float, float, float], shade: float = 1.0) -> None:
        (x0, y0), (x1, y1) = self._px([(box[0], box[1]), (box[2], box[3])])
        self._ink.ellipse((x0, y0, x1, y1), fill=tone(self.colour, shade))
        self._cover.ellipse((x0, y0, x1, y1), fill=255)

    def ring(
        self, box: tuple[float, float, float, float], width: float, shade: float = 1.0
    ) -> None:
        (x0, y0), (x1, y1) = self._px([(box[0], box[1]), (box[2], box[3])])
        wide = max(1, round(width * self.half))
        self._ink.ellipse((x0, y0, x1, y1), outline=tone(self.colour, shade), width=wide)
        self._cover.ellipse((x0, y0, x1, y1), outline=255, width=wide)

    def line(self, points: list[Point], width: float, shade: float = 1.0) -> None:
        wide = max(1, round(width * self.half))
        self._ink.line(self._px(points), fill=tone(self.colour, shade), width=wide, joint="curve")
        self._cover.line(self._px(points), fill=255, width=wide, joint="curve")


def _mug(pen: Pen) -> None:
    pen.ring((0.12, -0.42, 0.95, 0.46), 0.19, 0.9)
    pen.rectangle((-0.72, -0.7, 0.46, 0.8), radius=0.14)
    pen.ellipse((-0.72, -0.86, 0.46, -0.54), 1.25)
    pen.ellipse((-0.64, -0.81, 0.38, -0.59), 0.6)


def _bottle(pen: Pen) -> None:
    pen.polygon(
        [(-0.15, -0.8), (0.15, -0.8), (0.15, -0.5), (0.44, -0.18), (-0.44, -0.18), (-0.15, -0.5)]
    )
    pen.rectangle((-0.44, -0.24, 0.44, 0.97), radius=0.12)
    pen.rectangle((-0.2, -0.98, 0.2, -0.74), 0.6, radius=0.05)
    pen.rectangle((-0.44, 0.12, 0.44, 0.62), 1.45)


def _box(pen: Pen) -> None:
    pen.polygon([(0, -0.85), (0.88, -0.45), (0, -0.05), (-0.88, -0.45)], 1.3)
    pen.polygon([(-0.88, -0.45), (0, -0.05), (0, 0.92), (-0.88, 0.5)])
    pen.polygon([(0.88, -0.45), (0, -0.05), (0, 0.92), (0.88, 0.5)], 0.72)


def _t_shirt(pen: Pen) -> None:
    half = [(0.26, -0.8), (0.5, -0.72), (0.98, -0.3), (0.7, 0.0), (0.52, -0.16), (0.52, 0.85)]
    pen.polygon(half + [(-x, y) for x, y in reversed(half)])
    pen.ellipse((-0.26, -0.96, 0.26, -0.56), 0.65)
    pen.polygon([(-0.3, -1.0), (0.3, -1.0), (0.26, -0.8), (-0.26, -0.8)], 0.65)
    pen.mask.paste(0, (0, 0, pen.mask.width, round(pen.half * 0.2)))


def _phone(pen: Pen) -> None:
    pen.rectangle((-0.5, -0.97, 0.5, 0.97), 0.75, radius=0.18)
    pen.rectangle((-0.45, -0.92, 0.45, 0.92), radius=0.14)
    pen.rectangle((-0.36, -0.83, 0.12, -0.33), 0.7, radius=0.12)
    for y in (-0.7, -0.46):
        pen.ellipse((-0.3, y - 0.1, -0.1, y + 0.1), 0.3)


def _star(pen: Pen) -> None:
    radii = (1.0, 0.42)
    pen.polygon([
        (radii[i % 2] * math.sin(i * math.pi / 5), 0.06 - radii[i % 2] * math.cos(i * math.pi / 5))
        for i in range(10)
    ])  # fmt: skip


def _heart(pen: Pen) -> None:
    turn = [i * math.pi / 40 for i in range(80)]
    waves = ((1, 13), (2, -5), (3, -2), (4, -1))
    pen.polygon([
        (math.sin(t) ** 3, -0.06 - sum(k * math.cos(n * t) for n, k in waves) / 17)
        for t in turn
    ])  # fmt: skip


def _leaf(pen: Pen) -> None:
    along = [i / 24 for i in range(25)]
    upper = [_along_leaf(t, 0.42 * math.sin(math.pi * t) ** 0.8) for t in along]
    lower = [_along_leaf(t, -0.42 * math.sin(math.pi * t) ** 0.8) for t in reversed(along)]
    pen.line([(-0.95, 0.95), (-0.5, 0.5)], 0.09, 0.6)
    pen.polygon(upper + lower)
    pen.line([_along_leaf(0.0, 0.0), _along_leaf(0.9, 0.0)], 0.06, 0.6)
    for t in (0.25, 0.45, 0.65):
        for side in (0.27, -0.27):
            pen.line([_along_leaf(t, 0.0), _along_leaf(t + 0.14, side)], 0.035, 0.7)


def _along_leaf(t: float, side: float) -> Point:
    """A point `t` of the way along the leaf's diagonal rib and `side` away from it."""
    return -0.72 + 1.6 * t + side * 0.7, 0.72 - 1.6 * t + side * 0.7


def _house(pen: Pen) -> None:
    pen.rectangle((0.34, -0.85, 0.56, -0.3), 0.6)
    pen.rectangle((-0.7, -0.15, 0.7, 0.92))
    pen.polygon([(-0.95, -0.1), (0, -0.92), (0.95, -0.1)], 0.6)
    pen.rectangle((-0.17, 0.35, 0.17, 0.92), 0.5)
    for x in (-0.5, 0.26):
        pen.rectangle((x, 0.05, x + 0.24, 0.3), 1.6)


def _book(pen: Pen) -> None:
    pen.rectangle((-0.68, -0.86, 0.76, 0.92), 1.75, radius=0.05)
    pen.rectangle((-0.74, -0.92, 0.66, 0.84), radius=0.06)
    pen.rectangle((-0.74, -0.92, -0.5, 0.84), 0.65, radius=0.06)
    pen.rectangle((-0.28, -0.6, 0.46, -0.44), 1.6)
    pen.rectangle((-0.28, -0.32, 0.26, -0.2), 1.6)


def _balloon(pen: Pen) -> None:
    pen.line([(0.0, 0.5), (0.06, 0.66), (-0.05, 0.82), (0.02, 0.99)], 0.045, 0.6)
    pen.polygon([(0, 0.34), (0.13, 0.56), (-0.13, 0.56)], 0.75)
    pen.ellipse((-0.62, -0.98, 0.62, 0.44))
    pen.ellipse((-0.36, -0.76, -0.06, -0.36), 1.4)


def _lamp(pen: Pen) -> None:
    pen.rectangle((-0.06, -0.1, 0.06, 0.86), 0.5)
    pen.ellipse((-0.46, 0.72, 0.46, 0.98), 0.6)
    pen.polygon([(-0.36, -0.95), (0.36, -0.95), (0.76, 0.02), (-0.76, 0.02)])
    pen.polygon([(-0.74, -0.06), (0.74, -0.06), (0.78, 0.05), (-0.78, 0.05)], 1.45)


_DRAWN_BY = {
    "mug": _mug,
    "bottle": _bottle,
    "box": _box,
    "t-shirt": _t_shirt,
    "phone": _phone,
    "star": _star,
    "heart": _heart,
    "leaf": _leaf,
    "house": _house,
    "book": _book,
    "balloon": _balloon,
    "lamp": _lamp,
}


OBJECTS = tuple(_DRAWN_BY)


def object_layer(name: str, colour: Colour, box_px: int) -> tuple[Image.Image, Image.Image]:
    """The object's colours (RGB) and its coverage (L), both `box_px` square."""
    pen = Pen(box_px * SUPERSAMPLING, colour)
    _DRAWN_BY[name](pen)
    return pen.layer.reduce(SUPERSAMPLING), pen.mask.reduce(SUPERSAMPLING)
