"""Composing: logo and words are laid on a finished picture. The same in, the same bytes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from imagegen.branding.colours import Bytes, Floats, luminance, rgb_of
from imagegen.branding.grounds import Mark, Tone, best_tone, seen_share, strength_needed
from imagegen.branding.kit import READABLE, VISIBLE, BrandKit
from imagegen.branding.layout import Box, Layout
from imagegen.branding.lettering import Block
from imagegen.branding.logos import LogoFile

_FADE, _LEAST_FADE = 0.9, 0.08  # how far a scrim runs out, in heights of its box or shorter sides
_WIDER = 2  # times as far to the sides: what is behind words is wide, and must not look like a box


@dataclass(frozen=True)
class _Piece:
    """Something that is laid on: the logo, or a block of words."""

    box: Box
    block: Block | None  # None: the logo


class Composer:
    """Lays one layout on any number of pictures of its size."""

    def __init__(self, kit: BrandKit, layout: Layout) -> None:
        self._kit = kit
        self._edges = [edge for edge in _edges(kit, layout) if edge]
        self._inks = {Tone.LIGHT: kit.light, Tone.DARK: kit.dark}

    def room(self, pixels: Bytes) -> float | None:
        """How much of logo and words is seen on a picture before anything helps: 0 to 1, a mean.

        None where nothing is laid on it.
        """
        shares = [
            seen_share(pixels, mark, tone)
            for edge in self._edges
            for tone, marks in [self._toned(pixels, edge)]
            for mark in marks
        ]
        return sum(shares) / len(shares) if shares else None

    def compose(self, pixels: Bytes) -> Bytes:
        """The picture, height x width x 3, with all of it; the one given stays as it is.

        What stands on one edge has one tone. Where it is not seen, the ground gets what it needs of
        the other tone's colour, running out softly.
        """
        composed = pixels.copy()
        for edge in self._edges:
            tone, marks = self._toned(pixels, edge)
            scrim = self._inks[tone.other]
            for mark in marks:
                strength = strength_needed(composed, mark, tone, scrim)
                _lay_scrim(composed, mark.box, scrim, strength)
            for piece in edge:
                _lay(composed, piece.box, *self._inked(piece, tone))
        return composed

    def _toned(self, pixels: Bytes, edge: Sequence[_Piece]) -> tuple[Tone, list[Mark]]:
        marks = [self._mark(piece) for piece in edge]
        return best_tone(pixels, marks), marks

    def _mark(self, piece: _Piece) -> Mark:
        if piece.block is None:
            lightness = {tone: file.luminance for tone, file in self._files.items()}
            return Mark(piece.box, max(2, piece.box.height // 3), lightness, VISIBLE)
        lightness = {
            tone: float(luminance(np.array(rgb_of(ink), np.uint8)))
            for tone, ink in self._inks.items()
        }
        return Mark(piece.box, max(2, round(piece.block.px / 2)), lightness, READABLE)

    def _inked(self, piece: _Piece, tone: Tone) -> tuple[Bytes, Bytes]:
        """Colours, and how much they cover."""
        if piece.block is None:
            scaled = self._files[tone].scaled(piece.box.width, piece.box.height)
            return scaled[..., :3], scaled[..., 3]
        return np.array(rgb_of(self._inks[tone]), np.uint8), piece.block.mask()

    @property
    def _files(self) -> dict[Tone, LogoFile]:
        logo = self._kit.logo
        assert logo is not None, "only a logo has a box for one"
        files = {Tone.LIGHT: logo.light, Tone.DARK: logo.dark}
        return {tone: file for tone, file in files.items() if file is not None}


def _edges(kit: BrandKit, layout: Layout) -> Iterator[list[_Piece]]:
    """What stands at the top, and what at the bottom."""
    logo = [] if layout.logo is None else [_Piece(layout.logo, None)]
    headline, legal = (
        [] if placed is None else [_Piece(placed[1], placed[0])]
        for placed in (layout.headline, layout.legal)
    )
    if kit.corner.is_top:
        yield from (logo, [*headline, *legal])
    else:
        yield from (headline, [*logo, *legal])


def _lay(pixels: Bytes, box: Box, colours: Bytes, covered: Bytes) -> None:
    """Over the pixels in the box, in place; covered: 0 to 255 for each of them."""
    region = pixels[box.top : box.bottom, box.left : box.right]
    share = covered[..., None].astype(np.float32) / 255
    region[...] = np.rint(region + (colours - region.astype(np.float32)) * share)


def _lay_scrim(pixels: Bytes, box: Box, scrim: str, strength: float) -> None:
    """Behind all of the box, in place, then running out on all sides."""
    if not strength:
        return
    height, width = pixels.shape[:2]
    fade = round(max(_FADE * box.height, _LEAST_FADE * min(height, width)))
    rows = slice(max(0, box.top - fade), min(height, box.bottom + fade))
    columns = slice(max(0, box.left - _WIDER * fade), min(width, box.right + _WIDER * fade))
    down = _beyond(rows, box.top, box.bottom, fade)[:, None]
    across = _beyond(columns, box.left, box.right, _WIDER * fade)[None, :]
    away = np.minimum(1, np.sqrt(down * down + across * across))
    share = (strength * (1 - away * away * (3 - 2 * away)))[..., None]
    region = pixels[rows, columns]
    region[...] = np.rint(region + (np.array(rgb_of(scrim), np.float32) - region) * share)


def _beyond(span: slice, first: int, last: int, fade: int) -> Floats:
    """How far each row or column is from those from `first` up to `last`, in fades."""
    at = np.arange(span.start, span.stop, dtype=np.float32)
    beyond: Floats = np.maximum(0, np.maximum(first - at, at - (last - 1))) / np.float32(fade)
    return beyond
