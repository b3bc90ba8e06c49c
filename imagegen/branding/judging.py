"""Judging: a finished picture's brand score, from a small version of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from imagegen.branding.colours import Bytes, Floats, oklab, rgb_of
from imagegen.branding.looks import Look, shrunk
from imagegen.branding.score import BrandScore

_LOOKED_AT = 48  # pixels a side
_FAR = 0.25  # the distance from the palette that scores 0


def palette_distance(pixels: Bytes, palette: Sequence[str]) -> float:
    """How far a picture's colours are from a palette, in OKLab, where black to white is 1.

    The mean, over the picture, of the distance to the nearest colour and of that to the nearest
    mixture of two: shades between the palette's colours are better than strangers, not as good as
    the colours themselves.
    """
    colours = oklab(np.array([rgb_of(colour) for colour in palette], np.uint8))
    lab = oklab(np.asarray(shrunk(pixels, _LOOKED_AT))).reshape(-1, 1, 3)
    nearest = np.sqrt(((lab - colours) ** 2).sum(axis=-1)).min(axis=1)
    return float((nearest + _to_mixtures(lab, colours, nearest)).mean() / 2)


def _to_mixtures(lab: Floats, colours: Floats, nearest: Floats) -> Floats:
    """Distances to the nearest segment between two of the colours."""
    for first, second in itertools.combinations(colours, 2):
        along = second - first
        share = np.clip(((lab[:, 0] - first) @ along) / max(float(along @ along), 1e-9), 0, 1)
        apart = lab[:, 0] - first - share[:, None] * along
        nearest = np.minimum(nearest, np.sqrt((apart * apart).sum(axis=-1)))
    return nearest


def judge(
    pixels: Bytes, palette: Sequence[str], approved: Look | None, room: float | None
) -> BrandScore | None:
    """The score of a picture, height x width x 3, without logo and words.

    approved: what approved pictures have in common. room: how well logo and words are seen on it,
    0 to 1. None: nothing is known of that. Where nothing at all is known, neither is there a score.
    """
    return BrandScore.of(
        palette=(100 * max(0.0, 1 - palette_distance(pixels, palette) / _FAR))
        if palette else None,
        contrast=None if room is None else 100 * room,
        similarity=None if approved is None else 100 * Look.of(pixels).likeness(approved),
    )  # fmt: skip
