"""A linear look at latents: how much red, green and blue each channel stands for."""

from __future__ import annotations

import json
import math
from pathlib import Path

from imagegen.errors import InvalidModel

Factors = tuple[tuple[float, float, float], ...]  # a row a channel, the last one for every pixel

FILE = "preview.json"


def read_preview_map(folder: Path, factors: Factors, channels: int) -> Factors:
    """`preview.json` of a model's folder, or `factors`: [channels + 1, 3], to colours -1 … 1.

    The file is a list of as many rows of three numbers. Raises InvalidModel for anything else, and
    where there is no file and `factors` are of another number of channels.
    """
    path = folder / FILE
    if path.exists():
        factors = _parse(path)
    if len(factors) != channels + 1:
        raise InvalidModel(
            f"the latents have {channels} channels: {path} must hold {channels + 1} rows of three"
            " numbers, red, green and blue of each channel and of every pixel"
        )
    return factors


def _parse(path: Path) -> Factors:
    try:
        rows = tuple(
            (float(red), float(green), float(blue))
            for red, green, blue in json.loads(path.read_bytes())
        )
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InvalidModel(f"{path} holds no rows of three numbers: {error}") from None
    if not all(math.isfinite(number) for row in rows for number in row):
        raise InvalidModel(f"{path} holds a value that is no finite number")
    return rows
