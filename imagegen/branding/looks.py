"""Looks: which colours a picture has and where, to compare new ones with approved ones."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from imagegen.branding.colours import Bytes, Floats, oklab

_MAX_PX = 5_000_000
_FORMATS = ("PNG", "JPEG", "WEBP")
_LOOKED_AT = 96  # pixels a side
_PLACES = 8  # rows and columns of a layout
_BINS = (8, 8, 8)  # of lightness, green to red, blue to yellow
_RANGES = ((0.0, 1.0), (-0.3, 0.3), (-0.3, 0.3))  # sRGB's colours in OKLab lie within
_FAR = 0.30  # a root mean square distance of OKLab colours at which nothing is alike any more


@dataclass(frozen=True)
class Look:
    """A picture, or several on average, as far as this looks: which colours, and where."""

    colours: Floats  # shares of the bins, their sum is 1
    places: Floats  # 8 x 8 x 3, OKLab

    @classmethod
    def of(cls, pixels: Bytes) -> Look:
        """pixels: height x width x 3."""
        small = np.asarray(shrunk(pixels, _LOOKED_AT))
        lab = oklab(small)
        counts, _ = np.histogramdd(
            np.clip(lab.reshape(-1, 3), [low for low, _ in _RANGES], [high for _, high in _RANGES]),
            bins=_BINS, range=_RANGES,
        )  # fmt: skip
        colours = _softened(counts.astype(np.float32) / counts.sum())
        side = _LOOKED_AT // _PLACES
        places = lab.reshape(_PLACES, side, _PLACES, side, 3).mean(axis=(1, 3))
        return cls(colours, places)

    @classmethod
    def of_file(cls, data: bytes) -> Look:
        """Raises ValueError for what is no PNG, JPEG or WebP picture, or too large."""
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                pixels = picture.width * picture.height
                small = None if pixels > _MAX_PX else np.asarray(picture.convert("RGB"))
        except Exception as error:  # decoders raise all kinds of things at hostile bytes
            reason = " ".join(str(error).split())[:120]
            raise ValueError(f"is no picture that can be read: {reason}") from None
        if small is None:
            raise ValueError(f"has {pixels:,} pixels; {_MAX_PX:,} are plenty to be compared with")
        return cls.of(small)

    @classmethod
    def mean(cls, looks: Iterable[Look]) -> Look:
        all_ = list(looks)
        return cls(
            np.mean([look.colours for look in all_], axis=0),
            np.mean([look.places for look in all_], axis=0),
        )

    def likeness(self, other: Look) -> float:
        """0 to 1: half for the colours that both have, half for where light and colours are.

        Histogram intersection (Swain & Ballard 1991, eq. 1), and a distance of 8 x 8 mean colours.
        Neither knows what a picture shows.
        """
        common = float(np.minimum(self.colours, other.colours).sum())
        apart = float(np.sqrt(((self.places - other.places) ** 2).sum(axis=-1).mean()))
        return 0.5 * common + 0.5 * max(0.0, 1 - apart / _FAR)


def shrunk(pixels: Bytes, side: int) -> Image.Image:
    """The picture at side x side pixels, each the mean of those it stands for."""
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX, reducing_gap=None)


def _softened(histogram: Floats) -> Floats:
    """A part of each bin goes to its neighbours: colours at a border are not strangers."""
    for axis in range(3):
        ahead, behind = (np.roll(histogram, step, axis) for step in (1, -1))
        edge = [slice(None)] * 3
        edge[axis] = slice(0, 1)
        ahead[tuple(edge)] = histogram[tuple(edge)]
        edge[axis] = slice(-1, None)
        behind[tuple(edge)] = histogram[tuple(edge)]
        histogram = 0.5 * histogram + 0.25 * ahead + 0.25 * behind
    return histogram
