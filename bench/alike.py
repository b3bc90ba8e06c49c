"""A speed claim is never about other pictures: those of both sides are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [height, width, 3]

FLOOR_DB = 40.0  # below it two renders of one request are not the same picture


class OtherPictures(Exception):
    """The two sides did not make the same pictures: their speeds cannot be compared."""


def psnr_db(one: Pixels, another: Pixels) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures; infinite where they are the same."""
    if one.shape != another.shape:
        raise OtherPictures(f"one picture is {one.shape}, the other {another.shape}")
    error = float(np.mean((one.astype(np.float64) - another.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def how_alike(others: Sequence[Pixels], ours: Sequence[Pixels], floor_db: float = FLOOR_DB) -> str:
    """The worst pair, in words. Raises OtherPictures below `floor_db`, or where nothing is seen.

    Pictures of one colour would be alike whatever was computed, so they do not count.
    """
    worst = min(psnr_db(one, another) for one, another in zip(others, ours, strict=True))
    flat = [picture for picture in ours if int(picture.max()) - int(picture.min()) < 8]
    if flat:
        raise OtherPictures(f"{len(flat)} of {len(ours)} pictures are of one colour")
    if worst < floor_db:
        raise OtherPictures(f"the pictures of both sides differ: PSNR {worst:.1f} dB")
    if math.isinf(worst):
        return f"{len(ours)} pictures, the same on both sides"
    return f"{len(ours)} pictures, PSNR at least {worst:.1f} dB"
