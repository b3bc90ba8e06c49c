"""Finish: what becomes of a brand's rendered pictures: a score each and, if wanted, an overlay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from imagegen.branding.composing import Composer
from imagegen.branding.judging import judge
from imagegen.branding.kit import BrandKit
from imagegen.branding.layout import lay_out
from imagegen.branding.overlay import Overlay
from imagegen.branding.score import BrandScore

_LOGO_ALONE = Overlay()


@dataclass(frozen=True)
class Finished:
    """What was made of one picture."""

    composed: bytes | None = field(repr=False)  # RGB rows like the picture's; None: no overlay
    score: BrandScore | None


@dataclass(frozen=True)
class Wanted:
    """What a request says about it."""

    overlay: Overlay | None
    score: bool
    format: str | None  # the name of the format that it, or its brand, chose


class Finish:
    """For all pictures of one request: what they have in common is made once."""

    def __init__(
        self, brand: str, kit: BrandKit, palette: Sequence[str], wanted: Wanted,
        size: tuple[int, int],
    ) -> None:  # fmt: skip
        """brand: its name. size: width and height in pixels.

        Raises InvalidRequest for words that cannot be set or do not fit.
        """
        self._width, self._height = size
        self._kit, self._palette, self._wanted = kit, tuple(palette), wanted
        self.warnings: tuple[str, ...] = ()
        overlay = wanted.overlay
        # A score asks whether there is room for the logo, though it may not be laid on.
        layout = lay_out(kit, overlay or _LOGO_ALONE, size, wanted.format, brand)
        self._composer = Composer(kit, layout)
        if overlay is not None:
            self.warnings = layout.warnings

    def of(self, pixels: bytes) -> Finished:
        """pixels: RGB rows, height x width x 3, as they were rendered."""
        picture = np.frombuffer(pixels, np.uint8).reshape(self._height, self._width, 3)
        score = None
        if self._wanted.score:
            room = self._composer.room(picture)
            score = judge(picture, self._palette, self._kit.approved, room)
        if self._wanted.overlay is None:
            return Finished(None, score)
        return Finished(self._composer.compose(picture).tobytes(), score)
