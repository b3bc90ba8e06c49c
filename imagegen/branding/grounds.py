"""Grounds: what is behind a logo or words, whether they are seen on it, and what helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image

from imagegen.branding.colours import Bytes, Floats, contrast, luminance, rgb_of
from imagegen.branding.layout import Box

_MOST_CELLS = 48  # in a row or a column
_STRENGTHS = tuple(step / 20 for step in range(1, 21))  # of what is laid behind


class Tone(StrEnum):
    """Light on dark, or dark on light."""

    LIGHT = "light"
    DARK = "dark"

    @property
    def other(self) -> Tone:
        return Tone.DARK if self is Tone.LIGHT else Tone.LIGHT


@dataclass(frozen=True)
class Mark:
    """Something that must be seen: where, how light in each tone it has, and how well."""

    box: Box
    cell_px: int  # what is smaller than this behind it does not hide it
    luminance: Mapping[Tone, float]
    needed: float  # contrast ratio


def cells(pixels: Bytes, mark: Mark) -> Bytes:
    """The ground behind a mark as means of cells, rows x columns x 3."""
    box = mark.box
    behind = pixels[box.top : box.bottom, box.left : box.right]
    rows, columns = (
        min(_MOST_CELLS, max(1, round(length / mark.cell_px))) for length in behind.shape[:2]
    )
    return np.asarray(Image.fromarray(behind).resize((columns, rows), Image.Resampling.BOX))


def seen_share(pixels: Bytes, mark: Mark, tone: Tone) -> float:
    """The share of a mark's ground on which it has the contrast that it needs, 0 to 1."""
    return float((_ratios(cells(pixels, mark), mark, tone) >= mark.needed).mean())


def best_tone(pixels: Bytes, marks: Sequence[Mark]) -> Tone:
    """The tone that all marks have in which they are seen best, by their mean contrast."""
    grounds = [cells(pixels, mark) for mark in marks]

    def seen(tone: Tone) -> float:
        return min(
            float(np.minimum(_ratios(ground, mark, tone) / mark.needed, 1).mean())
            for ground, mark in zip(grounds, marks, strict=True)
        )

    return max((tone for tone in Tone if all(tone in mark.luminance for mark in marks)), key=seen)


def strength_needed(pixels: Bytes, mark: Mark, tone: Tone, scrim: str) -> float:
    """How much of the colour `scrim` behind a mark lets it be seen: 0, nothing, to 1."""
    ground = cells(pixels, mark)
    if _is_seen(ground, mark, tone):
        return 0.0
    colour = np.array(rgb_of(scrim), np.float32)
    for strength in _STRENGTHS:
        if _is_seen(ground * np.float32(1 - strength) + colour * strength, mark, tone):
            return strength
    return 1.0


def _is_seen(ground: Bytes | Floats, mark: Mark, tone: Tone) -> bool:
    return bool((_ratios(ground, mark, tone) >= mark.needed).all())


def _ratios(ground: Bytes | Floats, mark: Mark, tone: Tone) -> Floats:
    ratios: Floats = contrast(luminance(ground), np.float32(mark.luminance[tone]))
    return ratios
