"""Typefaces: a font's file, checked, and lines of text as outlines of its glyphs.

HarfBuzz shapes: kerning, ligatures and accents are the font's own, and no library or font of the
machine takes part, so a line has the same outlines everywhere. Lines run from left to right.
"""

from __future__ import annotations

import functools
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import uharfbuzz as harfbuzz

ENDINGS = (".ttf", ".otf")
MAX_BYTES = 16 << 20
_KINDS = {b"\0\1\0\0", b"OTTO", b"true"}
_NEEDED = {"cmap", "head", "hhea", "hmtx", "maxp"}
_OUTLINES = {"glyf", "CFF ", "CFF2"}
_FROM_RIGHT_TO_LEFT = {"R", "AL", "AN", "RLE", "RLO", "RLI"}
_OPEN = 32  # fonts whose tables stay in memory
_SHIPPED = Path(__file__).parent / "fonts"


@dataclass(frozen=True)
class Line:
    """One line of text at one unit a font unit, from (0, 0) on its baseline; y grows upwards."""

    outlines: str  # an SVG path
    advance: float
    box: tuple[float, float, float, float]  # left, bottom, right, top of its ink


@dataclass(frozen=True)
class Typeface:
    """A checked file of the kit, or one that ships."""

    name: str
    sha256: str
    data: bytes = field(repr=False, compare=False)

    @classmethod
    def shipped(cls, name: str) -> Typeface:
        """Manrope, by Mikhail Sharanda, under the SIL Open Font License."""
        data = (_SHIPPED / name).read_bytes()
        return cls(name, name, data)

    @property
    def units(self) -> int:
        """Font units to the em."""
        return int(_font(self).face.upem)

    def missing(self, text: str) -> str:
        """The characters that it has no glyph for, each once."""
        font = _font(self)
        return "".join(
            dict.fromkeys(
                character
                for character in text
                if not character.isspace()
                and unicodedata.category(character) != "Cf"
                and font.get_nominal_glyph(ord(character)) is None
            )
        )

    def width(self, text: str) -> float:
        """In ems, from the first glyph's origin to the last one's end."""
        positions = _shaped(self, text).glyph_positions or ()
        return float(sum(one.x_advance for one in positions)) / self.units

    def line(self, text: str) -> Line:
        """The outlines of a text without line ends."""
        return _line(self, text)


def font_faults(data: bytes) -> list[str]:
    """What is wrong with a font's file. It is opened only if its tables lie where it says."""
    fault = _fault_of_tables(data) or _fault_of_glyphs(data)
    return [] if fault is None else [fault]


def _fault_of_tables(data: bytes) -> str | None:
    if len(data) > MAX_BYTES:
        return f"has {len(data):,} bytes; a font may have {MAX_BYTES:,}"
    if data[:4] in (b"wOFF", b"wOF2", b"ttcf"):
        return "is a web font or a collection; take the TTF or OTF of one face"
    if data[:4] not in _KINDS:
        return "is no TrueType or OpenType font"
    try:
        tables = set(_tables(data))
    except (struct.error, ValueError):
        return "is cut short or damaged"
    complete = tables >= _NEEDED and tables & _OUTLINES
    return None if complete else "has no outlines, or lacks a table that every font has"


def _fault_of_glyphs(data: bytes) -> str | None:
    font = harfbuzz.Font(harfbuzz.Face(harfbuzz.Blob(data)))
    if not font.face.glyph_count or font.get_nominal_glyph(ord("A")) is None:
        return "has no letter A: is it a font of symbols?"
    if not 16 <= font.face.upem <= 16_384 or not _draw(font, "A").outlines:  # OpenType's bounds
        return "draws nothing"
    return None


def is_set_here(text: str) -> bool:
    """Whether it runs from left to right."""
    return not any(unicodedata.bidirectional(one) in _FROM_RIGHT_TO_LEFT for one in text)


def _tables(data: bytes) -> Iterator[str]:
    """The tables' tags. Raises ValueError and struct.error where one lies outside of the file."""
    (count,) = struct.unpack_from(">H", data, 4)
    for index in range(count):
        tag, _sum, offset, length = struct.unpack_from(">4sIII", data, 12 + 16 * index)
        if offset + length > len(data):
            raise ValueError("a table lies outside of the file")
        yield tag.decode("latin-1")


@functools.lru_cache(_OPEN)
def _font(typeface: Typeface) -> harfbuzz.Font:
    return harfbuzz.Font(harfbuzz.Face(harfbuzz.Blob(typeface.data)))


def _shaped(typeface: Typeface, text: str) -> harfbuzz.Buffer:
    return _shape(_font(typeface), text)


def _shape(font: harfbuzz.Font, text: str) -> harfbuzz.Buffer:
    buffer = harfbuzz.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "ltr"
    harfbuzz.shape(font, buffer, {})
    return buffer


@functools.lru_cache(256)
def _line(typeface: Typeface, text: str) -> Line:
    return _draw(_font(typeface), text)


def _draw(font: harfbuzz.Font, text: str) -> Line:
    buffer = _shape(font, text)
    pen = _Pen()
    for glyph, at in zip(buffer.glyph_infos or (), buffer.glyph_positions or (), strict=True):
        pen.put(font, glyph.codepoint, at.x_offset, at.y_offset)
        pen.x += at.x_advance
    return pen.line()


class _Pen:
    """Collects outlines, glyph after glyph."""

    def __init__(self) -> None:
        self.x = 0.0
        self._shift = (0.0, 0.0)
        self._path: list[str] = []
        self._xs: list[float] = []
        self._ys: list[float] = []
        self._funcs = harfbuzz.DrawFuncs()
        self._funcs.set_move_to_func(partial(self._add, "M"))
        self._funcs.set_line_to_func(partial(self._add, "L"))
        self._funcs.set_quadratic_to_func(partial(self._add, "Q"))
        self._funcs.set_cubic_to_func(partial(self._add, "C"))
        self._funcs.set_close_path_func(lambda _data: self._path.append("Z"))

    def put(self, font: harfbuzz.Font, glyph: int, x_offset: float, y_offset: float) -> None:
        self._shift = (self.x + x_offset, y_offset)
        font.draw_glyph(glyph, self._funcs, None)

    def line(self) -> Line:
        box = (0.0, 0.0, 0.0, 0.0)
        if self._xs:
            box = (min(self._xs), min(self._ys), max(self._xs), max(self._ys))
        return Line(" ".join(self._path), self.x, box)

    def _add(self, letter: str, *numbers: Any) -> None:
        """numbers: x and y of each point, and HarfBuzz's data, of which there is none."""
        xs = [x + self._shift[0] for x in numbers[:-1:2]]
        ys = [y + self._shift[1] for y in numbers[1:-1:2]]
        self._xs += xs
        self._ys += ys
        points = (f"{x:g} {y:g}" for x, y in zip(xs, ys, strict=True))
        self._path.append(letter + " ".join(points))
