"""SVG logos, distrusted: what is not plain drawing is refused, so that resvg has little to do.

A brand's folder may come from a bucket. Nothing outside of the file is ever read, nothing moves or
runs, and no small file becomes much work: no entities, no `<use>`, no filters, no nested masks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.parsers import expat

import resvg_py

MAX_BYTES = 64 << 10
MAX_ELEMENTS, MAX_DEPTH = 500, 32
MAX_LAYERS = 16  # each is a picture of its own while it is drawn

_SHAPES = frozenset({"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"})
_TAKEN = _SHAPES | {
    "svg", "g", "defs", "title", "desc", "style", "stop", "linearGradient", "radialGradient",
    "clipPath", "mask",
}  # fmt: skip
_HOLES, _HOLDERS = frozenset({"mask", "clipPath"}), frozenset({"mask", "clip-path"})
_SVG = "http://www.w3.org/2000/svg"
_XLINK_HREF = "http://www.w3.org/1999/xlink href"
_ADDRESS = re.compile(r"url\(\s*['\"]?\s*(?!#)|@import|expression|javascript:|\\", re.IGNORECASE)
_HOLE = re.compile(r"\b(mask|clip-path|filter|stroke-dasharray)\b", re.IGNORECASE)
_LAYER = re.compile(r"(?<!-)\b(opacity|isolation|mix-blend-mode)\b", re.IGNORECASE)
_FAULTS_TOLD = 5


def svg_faults(data: bytes) -> list[str]:
    """What is wrong with a logo, each with its line in the file."""
    if len(data) > MAX_BYTES:
        return [f"has {len(data):,} bytes; a logo may have {MAX_BYTES:,}"]
    reader = _Reader()
    try:
        reader.read(data)
    except _Refused as refusal:
        return [str(refusal)]
    except (expat.ExpatError, LookupError, ValueError) as error:
        return [f"is not XML: {error}"]
    if not reader.faults and not reader.shapes:
        return ["draws nothing: there is no path and no other shape"]
    if reader.layers > MAX_LAYERS:
        return [f"has {reader.layers} masks, clips and opacities; {MAX_LAYERS} are the most"]
    return reader.faults[:_FAULTS_TOLD]


def draw_svg(data: bytes, width: int, height: int) -> bytes:
    """A PNG file that fits into width x height pixels. Raises ValueError if it cannot be drawn.

    data: checked by `svg_faults`, or written here.
    """
    try:
        return resvg_py.svg_to_bytes(
            svg_string=data.decode("utf-8-sig"),
            width=width,
            height=height,
            skip_system_fonts=True,
        )
    except BaseException as error:  # a panic of Rust's is no Exception: numbers beyond all bounds
        if not isinstance(error, ValueError) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"cannot be drawn: {error}") from None


class _Refused(Exception):
    """Nothing more of the file is looked at."""


class _Reader:
    def __init__(self) -> None:
        self.faults: list[str] = []
        self.shapes = 0
        self.layers = 0
        self._elements = 0
        self._open: list[str] = []
        self._parser = expat.ParserCreate(encoding="utf-8", namespace_separator=" ")
        self._parser.buffer_text = True  # a style sheet arrives whole
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.ProcessingInstructionHandler = self._instruction
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def read(self, data: bytes) -> None:
        data.decode("utf-8-sig")  # what expat took for another encoding, resvg would not
        self._parser.Parse(data, True)

    def _fault(self, message: str) -> None:
        self.faults.append(f"line {self._parser.CurrentLineNumber}: {message}")

    def _doctype(self, *_: object) -> None:
        line = self._parser.CurrentLineNumber
        raise _Refused(f"line {line}: <!DOCTYPE> is not read; delete it")

    def _instruction(self, target: str, _data: str) -> None:
        self._fault(f"<?{target}?> is not read")

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise _Refused(f"has more than {MAX_ELEMENTS:,} elements, or {MAX_DEPTH} in each other")
        space, _, local = name.rpartition(" ")
        foreign = space != _SVG
        if foreign and space and self._open:
            local = ""  # an editor's own notes, which resvg passes over
        elif local not in _TAKEN or (foreign and not self._open):
            self._fault(f"<{local or name}> is not taken; a logo is made of paths and other shapes")
        self.shapes += local in _SHAPES
        for attribute, value in attributes.items():
            self.layers += _makes_a_layer(attribute, value)
            self._check(local, attribute, value)
        self._open.append(local)

    def _check(self, element: str, name: str, value: str) -> None:
        if name.lower().startswith("on"):
            self._fault(f"{name} would run a script")
        elif name in ("href", _XLINK_HREF) and not value.strip().startswith("#"):
            self._fault("refers to something outside of the file")
        elif _ADDRESS.search(value) and not name.rpartition(" ")[0]:
            self._fault(f"{name} refers to something outside of the file")
        elif name in ("filter", "stroke-dasharray") or (name == "style" and _HOLE.search(value)):
            self._fault("filters and dashes are not taken, masks and clips only as attributes")
        elif name in _HOLDERS and self._in_a_hole(element):
            self._fault("masks and clips within masks and clips are not taken")

    def _in_a_hole(self, element: str) -> bool:
        return element in _HOLES or not _HOLES.isdisjoint(self._open)

    def _end(self, _name: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if not self._open or self._open[-1] != "style":
            return
        if _ADDRESS.search(text):
            self._fault("the style sheet refers to something outside of the file")
        if found := _HOLE.search(text) or _LAYER.search(text):
            self._fault(f"the style sheet may not say {found[0]}; write it where it is meant")


def _makes_a_layer(attribute: str, value: str) -> bool:
    if attribute == "style":
        return _LAYER.search(value) is not None
    return attribute in _HOLDERS or _LAYER.fullmatch(attribute) is not None
