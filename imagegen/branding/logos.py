"""A logo's file becomes pixels: SVG or PNG, what is transparent around it cut off."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from imagegen.branding.colours import Bytes, luminance
from imagegen.branding.svg import draw_svg, svg_faults

ENDINGS = (".svg", ".png")
_MAX_PNG_BYTES, _MAX_PNG_PX = 4 << 20, 4_096
_MASTER_PX = 1_024  # high, or twice as wide: so an SVG is drawn once; pictures take it smaller
_LONGEST = 8  # times as wide as high, or as high as wide
_KEPT = 32  # logos whose pixels stay in memory


@dataclass(frozen=True)
class LogoFile:
    """A checked file of the kit."""

    name: str
    sha256: str
    data: bytes = field(repr=False, compare=False)

    @property
    def pixels(self) -> Image.Image:
        """RGBA, as large as it is kept."""
        return _drawn(self)

    @property
    def aspect(self) -> float:
        """Its width over its height."""
        width, height = self.pixels.size
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
    return faults or _look(name, data)


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


def _look(name: str, data: bytes) -> list[str]:
    try:
        width, height = _cut(_decoded(name, data, 256)).size
    except ValueError as error:
        return [str(error)]
    if not 1 / _LONGEST <= width / height <= _LONGEST:
        return [f"is {width / height:.2g} times as wide as high; {_LONGEST} times is the most"]
    return []


def _decoded(name: str, data: bytes, px: int) -> Image.Image:
    if name.lower().endswith(".svg"):
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
def _drawn(logo: LogoFile) -> Image.Image:
    return _cut(_decoded(logo.name, logo.data, _MASTER_PX))


@functools.lru_cache(_KEPT)
def _scaled(logo: LogoFile, width: int, height: int) -> Bytes:
    return np.asarray(logo.pixels.resize((width, height), Image.Resampling.LANCZOS))


@functools.lru_cache(_KEPT)
def _luminance(logo: LogoFile) -> float:
    pixels = np.asarray(logo.pixels.resize((64, 64), Image.Resampling.BOX))
    weight = pixels[..., 3].astype(np.float32)
    return float((luminance(pixels[..., :3]) * weight).sum() / weight.sum())
