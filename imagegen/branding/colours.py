"""Colours: sRGB, linear light, WCAG's luminance and contrast, OKLab."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def rgb_of(colour: str) -> tuple[int, int, int]:
    """`#rrggbb` as three levels, 0 to 255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def linear(levels: NDArray[Any]) -> Floats:
    """8-bit sRGB levels, whole or in between, as linear light from 0 to 1 (IEC 61966-2-1)."""
    if levels.dtype == np.uint8:
        of_level: Floats = _table()[levels]
        return of_level
    return _linear(np.asarray(levels, np.float32) / np.float32(255))


def luminance(levels: NDArray[Any]) -> Floats:
    """WCAG 2.2's relative luminance of sRGB levels [..., 3], 0 black to 1 white."""
    light: Floats = linear(levels) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return light


def contrast(one: Any, other: Any) -> Any:
    """WCAG 2.2's contrast ratio of two luminances, 1 to 21."""
    light, dark = np.maximum(one, other), np.minimum(one, other)
    return (light + 0.05) / (dark + 0.05)


def contrast_of(one: str, other: str) -> float:
    """The same of two colours like `#0b1d3a`."""
    first, second = (luminance(np.array(rgb_of(colour), np.uint8)) for colour in (one, other))
    return float(contrast(first, second))


def oklab(levels: NDArray[Any]) -> Floats:
    """sRGB levels [..., 3] as OKLab (B. Ottosson 2020, bottosson.github.io/posts/oklab)."""
    cones = np.cbrt(linear(levels) @ _TO_CONES.T)
    lab: Floats = (cones @ _TO_LAB.T).astype(np.float32)
    return lab


_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)


def _linear(share: Floats) -> Floats:
    curved = ((share + 0.055) / 1.055) ** 2.4
    return np.where(share <= 0.04045, share / 12.92, curved).astype(np.float32)


@functools.cache
def _table() -> Floats:
    return _linear(np.arange(256, dtype=np.float32) / np.float32(255))
