"""Lettering: a text as large as fits into a box, in balanced lines, as a mask of its pixels."""

from __future__ import annotations

import functools
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from imagegen.branding.colours import Bytes
from imagegen.branding.svg import draw_svg
from imagegen.branding.typefaces import Line, Typeface

_WORTH_A_LINE = 1.25  # times as large a text must become for one more line
_JUST_BELOW = 0.9999  # so that rounding up stays inside
_MOST_LINES = 3
_KEPT = 32  # masks: those of a request, and of the next ones with the same words


@dataclass(frozen=True)
class Style:
    """How a kind of text is set."""

    typeface: Typeface
    largest_px: float  # of the em
    smallest_px: float
    leading: float  # from baseline to baseline, in ems
    to_the_right: bool = False  # lines end at one edge instead of beginning at one


@dataclass(frozen=True)
class Block:
    """A text, set: what is inked lies within width x height pixels, from (0, 0) at the top left."""

    lines: tuple[str, ...]
    px: float  # of the em
    width: int
    height: int
    style: Style

    def mask(self) -> Bytes:
        """How much of each pixel is inked, height x width, 0 to 255."""
        return _mask(self)

    @property
    def scale(self) -> float:
        return self.px / self.style.typeface.units

    def placed(self) -> Iterator[tuple[Line, float, float]]:
        """Each line with where its origin stands, in pixels."""
        lines = [self.style.typeface.line(text) for text in self.lines]
        top = lines[0].box[3] * self.scale
        for number, line in enumerate(lines):
            left, _, right, _ = (edge * self.scale for edge in line.box)
            x = self.width - right if self.style.to_the_right else -left
            yield line, x, top + number * self.style.leading * self.px


@functools.lru_cache(_KEPT)
def _mask(block: Block) -> Bytes:
    paths = " ".join(
        f'<path transform="translate({x:.2f} {y:.2f}) scale({block.scale:.6f} '
        f'{-block.scale:.6f})" d="{line.outlines}"/>'
        for line, x, y in block.placed()
    )
    size = f'width="{block.width}" height="{block.height}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{paths}</svg>'
    with Image.open(io.BytesIO(draw_svg(svg.encode(), block.width, block.height))) as picture:
        return np.asarray(picture.convert("RGBA"))[..., 3]


def fit(text: str, style: Style, width: int, height: int) -> Block | None:
    """The text as large as it fits into so many pixels; None where it does not at its smallest.

    Words are never broken. Lines are few where that costs little size, and as even as can be.
    """
    words = [word for word in text.split(" ") if word]  # other spaces do not break
    best: Block | None = None
    for count in range(1, min(_MOST_LINES, len(words)) + 1):
        lines = _broken(words, style.typeface, count)
        wide, high = _ems(lines, style)
        px = min(style.largest_px, *(_JUST_BELOW * room / ems for room, ems in
                                     ((width, wide), (height, high)) if ems > 0))  # fmt: skip
        if px >= style.smallest_px and (best is None or px > _WORTH_A_LINE * best.px):
            width_px, height_px = (max(1, math.ceil(ems * px)) for ems in (wide, high))
            best = Block(lines, px, width_px, height_px, style)
    return best


def _ems(lines: Sequence[str], style: Style) -> tuple[float, float]:
    """Width and height of what is inked, in ems."""
    units = style.typeface.units
    boxes = [style.typeface.line(line).box for line in lines]
    wide = max(right - left for left, _, right, _ in boxes) / units
    lowest = min(box[1] / units - number * style.leading for number, box in enumerate(boxes))
    return wide, boxes[0][3] / units - lowest


def _broken(words: Sequence[str], typeface: Typeface, count: int) -> tuple[str, ...]:
    """So many lines, of which the longest is as short as can be."""
    space = typeface.width(" ")
    ends = list(itertools.accumulate((typeface.width(word) + space for word in words), initial=0.0))

    def longest(cuts: Iterable[int]) -> float:
        return max(ends[b] - ends[a] for a, b in itertools.pairwise(cuts))

    ways = (
        (0, *cuts, len(words)) for cuts in itertools.combinations(range(1, len(words)), count - 1)
    )
    return tuple(" ".join(words[a:b]) for a, b in itertools.pairwise(min(ways, key=longest)))
