"""The picture formats every brand has."""

from __future__ import annotations

import math

_ASPECTS = {
    "square": 1 / 1,
    "portrait": 4 / 5,
    "story": 9 / 16,
    "landscape": 16 / 9,
    "banner": 3 / 1,
}

BUILT_IN_NAMES = tuple(_ASPECTS)


def built_in_formats(native_px: int) -> dict[str, tuple[int, int]]:
    """Width and height of each, about native_px² pixels in all, for a model of that native side.

    Sides are multiples of what keeps a UNet's skip connections even: 64, less for small models.
    """
    unit = 64 if native_px >= 512 else 32 if native_px >= 256 else 8

    def side(length: float) -> int:
        return max(1, round(length / unit)) * unit

    return {
        name: (side(native_px * math.sqrt(aspect)), side(native_px / math.sqrt(aspect)))
        for name, aspect in _ASPECTS.items()
    }
