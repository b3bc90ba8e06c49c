"""BrandKit: what a brand lays on its pictures, and where. Plain data, read from its preset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from imagegen.branding.colours import contrast_of
from imagegen.branding.logos import LogoFile
from imagegen.branding.looks import Look
from imagegen.branding.typefaces import Typeface

READABLE = 4.5  # WCAG 2.2, 1.4.3: text against what is behind it
VISIBLE = 3.0  # WCAG 2.2, 1.4.11: graphics
WHITE, NEARLY_BLACK = "#ffffff", "#111111"


class Corner(StrEnum):
    """Where the logo stands."""

    TOP_LEFT = "top-left"
    TOP_RIGHT = "top-right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM_RIGHT = "bottom-right"

    @property
    def is_top(self) -> bool:
        return self in (Corner.TOP_LEFT, Corner.TOP_RIGHT)

    @property
    def is_left(self) -> bool:
        return self in (Corner.TOP_LEFT, Corner.BOTTOM_LEFT)


@dataclass(frozen=True)
class SafeArea:
    """What a channel's own buttons and crops leave alone: shares of the sides kept free."""

    top: float
    right: float
    bottom: float
    left: float


# The aspect (width over height) and what is kept free. Stories: Meta asks for 14 % above and 20 %
# below. Elsewhere 5 %, the graphics-safe area of EBU R 95; of a banner's short height more.
CHANNELS: Mapping[str, tuple[float, SafeArea]] = {
    "square": (1 / 1, SafeArea(0.05, 0.05, 0.05, 0.05)),
    "portrait": (4 / 5, SafeArea(0.05, 0.06, 0.05, 0.06)),
    "story": (9 / 16, SafeArea(0.14, 0.06, 0.20, 0.06)),
    "landscape": (16 / 9, SafeArea(0.06, 0.05, 0.06, 0.05)),
    "banner": (3 / 1, SafeArea(0.10, 0.04, 0.10, 0.04)),
}


@dataclass(frozen=True)
class Logo:
    """The brand's mark, for dark grounds (`light`) and for light ones (`dark`); one may lack."""

    light: LogoFile | None
    dark: LogoFile | None
    corner: Corner
    height: float  # share of the picture's shorter side
    clear_space: float  # share of the logo's height that nothing else enters, on all its sides
    min_px: int  # smaller it is not shown

    @property
    def aspect(self) -> float:
        """The wider variant's: whichever is chosen, it fits."""
        return max(one.aspect for one in (self.light, self.dark) if one is not None)


@dataclass(frozen=True)
class BrandKit:
    """A brand without one has words, in the fonts that ship, and no logo."""

    logo: Logo | None
    headline: Typeface
    legal: Typeface
    light: str  # the colour of words on dark grounds, and what lightens behind dark ones
    dark: str
    safe_areas: Mapping[str, SafeArea] = field(default_factory=dict)  # by format, over CHANNELS
    approved: Look | None = None  # what approved pictures have in common

    @property
    def corner(self) -> Corner:
        """Words make room for it even where there is no logo: a brand's pictures look alike."""
        return Corner.BOTTOM_RIGHT if self.logo is None else self.logo.corner

    def described(self) -> dict[str, object]:
        """For people: files by their names."""
        logo = self.logo
        return {
            "logo": logo
            and {
                "light": logo.light and logo.light.name,
                "dark": logo.dark and logo.dark.name,
                "corner": logo.corner.value,
                "height": logo.height,
                "clear_space": logo.clear_space,
                "min_px": logo.min_px,
            },
            "fonts": {"headline": self.headline.name, "legal": self.legal.name},
            "inks": {"light": self.light, "dark": self.dark},
            "safe_areas": {
                name: asdict(self.safe_areas.get(name) or CHANNELS[name][1])
                for name in dict.fromkeys((*CHANNELS, *self.safe_areas))
            },
            "has_approved": self.approved is not None,
        }

    def safe_area(self, format_: str | None, width: int, height: int) -> SafeArea:
        """That of a named format, else of the channel whose shape is the most like it."""
        shape = math.log(width / height)
        nearest = min(CHANNELS, key=lambda name: abs(math.log(CHANNELS[name][0]) - shape))
        for name in (format_, nearest):
            if name is not None and name in self.safe_areas:
                return self.safe_areas[name]
            if name is not None and name in CHANNELS:
                return CHANNELS[name][1]
        raise AssertionError("the nearest is a channel")


def inks_of(palette: tuple[str, ...]) -> tuple[str, str]:
    """The palette's lightest and darkest colour; white, nearly black, where words need more."""
    by_light = sorted(palette, key=lambda colour: contrast_of(colour, "#000000"))
    if by_light and contrast_of(by_light[0], by_light[-1]) >= READABLE:
        return by_light[-1], by_light[0]
    return WHITE, NEARLY_BLACK


def plain_kit(palette: tuple[str, ...] = ()) -> BrandKit:
    """That of a brand whose preset says nothing about one."""
    light, dark = inks_of(palette)
    return BrandKit(
        logo=None,
        headline=Typeface.shipped("Manrope-ExtraBold.ttf"),
        legal=Typeface.shipped("Manrope-SemiBold.ttf"),
        light=light,
        dark=dark,
    )
