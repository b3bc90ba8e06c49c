"""A logo's file becomes pixels: SVG or PNG, what is transparent around it cut off."""

from __future__ import annotations

import functools
import hashlib
import io
import time
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from imagegen.branding.colours import Bytes, luminance
from imagegen.branding.svg import draw_svg, svg_faults

ENDINGS = (".svg", ".png")
_MAX_PNG_BYTES, _MAX_PNG_PX = 4 << 20, 4_096
_SMALL_PX, _LARGE_PX = 256, 512  # an SVG is drawn so high, or twice as wide
_LONGEST = 8  # times as wide as high, or as high as wide
_LONGEST_S = 1.0  # a hundred times what a plain drawing takes
_KEPT = 32  # logos whose pixels stay in memory


@dataclass(frozen=True)
class LogoFile:
    """A checked file of the kit."""

    name: str
    sha256: str
    data: bytes = field(repr=False, compare=False)

    @property
    def aspect(self) -> float:
        """Its width over its height. Raises ValueError where it was not checked."""
        width, height = _small(self).size
        return width / height

    @property
    def luminance(self) -> float:
        """WCAG's, of its opaque parts on average."""
        return _luminance(self)

    def scaled(self, width: int, height: int) -> Bytes:
        """RGBA, height x width x 4."""
        return _scaled(self, width, height)


def logo_faults(name: str, data: bytes) -> list[str]:
    """What is wrong with a logo's file; hostile ones cost no more than their size allows."""
    faults = svg_faults(data) if name.lower().endswith(".svg") else _png_faults(data)
    return faults or _look(LogoFile(name, hashlib.sha256(data).hexdigest(), data))


def _png_faults(data: bytes) -> list[str]:
    if len(data) > _MAX_PNG_BYTES:
        return [f"has {len(data):,} bytes; a logo may have {_MAX_PNG_BYTES:,}"]
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            if max(picture.size) > _MAX_PNG_PX:
                width, height = picture.size
                return [f"is {width} x {height} pixels; {_MAX_PNG_PX:,} a side are the most"]
            if getattr(picture, "is_animated", False):
                return ["is animated"]
            if not picture.has_transparency_data:
                return ["has no transparency: it would lie on the picture as a box"]
            picture.load()
    except Exception as error:  # decoders raise all kinds of things at hostile bytes
        return [f"is no PNG picture that can be read: {' '.join(str(error).split())[:120]}"]
    return []


def _look(logo: LogoFile) -> list[str]:
    """Draws it once, small."""
    began = time.monotonic()
    try:
        aspect = logo.aspect
    except ValueError as error:
        return [str(error)]
    if (took_s := time.monotonic() - began) > _LONGEST_S:
        return [f"takes {took_s:.0f} s to be drawn"]
    if not 1 / _LONGEST <= aspect <= _LONGEST:
        return [f"is {aspect:.2g} times as wide as high; {_LONGEST} times is the most"]
    return []


def _decoded(logo: LogoFile, px: int) -> Image.Image:
    data = logo.data
    if logo.name.lower().endswith(".svg"):
        data = draw_svg(data, 2 * px, px)
    with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
        return picture.convert("RGBA")


def _cut(picture: Image.Image) -> Image.Image:
    """Raises ValueError where nothing is to be seen."""
    box = picture.getchannel("A").point([0] * 8 + [255] * 248).getbbox()
    if box is None:
        raise ValueError("draws nothing that can be seen")
    return picture.crop(box)


@functools.lru_cache(_KEPT)
def _small(logo: LogoFile) -> Image.Image:
    """To be looked at. Raises ValueError for what cannot be drawn."""
    return _cut(_decoded(logo, _SMALL_PX))


@functools.lru_cache(_KEPT)
def _large(logo: LogoFile) -> Image.Image:
    """To be laid on pictures."""
    try:
        return _cut(_decoded(logo, _LARGE_PX))
    except ValueError:  # resvg gives up on some shapes at some sizes
        return _small(logo)


@functools.lru_cache(_KEPT)
def _scaled(logo: LogoFile, width: int, height: int) -> Bytes:
    return np.asarray(_large(logo).resize((width, height), Image.Resampling.LANCZOS))


@functools.lru_cache(_KEPT)
def _luminance(logo: LogoFile) -> float:
    pixels = np.asarray(_small(logo).resize((64, 64), Image.Resampling.BOX))
    weight = pixels[..., 3].astype(np.float32)
    return float((luminance(pixels[..., :3]) * weight).sum() / weight.sum())
