"""Layout: where logo and words stand on a picture of a size, before anything is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from imagegen.branding.kit import BrandKit
from imagegen.branding.lettering import Block, Style, fit
from imagegen.branding.overlay import Overlay
from imagegen.branding.typefaces import Typeface, is_set_here
from imagegen.errors import FieldError, InvalidRequest

# Shares of the picture's shorter side, and pixels below which nobody reads it.
_HEADLINE, _HEADLINE_LEAST, _HEADLINE_PX = 0.105, 0.05, 12
_LEGAL, _LEGAL_LEAST, _LEGAL_PX = 0.026, 0.02, 8
_WIDEST = 1.3  # lines, in shorter sides: on a banner's whole width nobody finds the next line
_HEADLINE_SHARE = 0.4  # of the safe area's height
_LOGO_SHARE = 0.45  # of the safe area's width
_GAP = 0.04  # between headline and legal line, in shorter sides


@dataclass(frozen=True)
class Box:
    """Pixels from (left, top) up to, not including, (right, bottom)."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


@dataclass(frozen=True)
class Layout:
    """What is laid on, and where; what is not there is None."""

    logo: Box | None
    headline: tuple[Block, Box] | None
    legal: tuple[Block, Box] | None
    safe: Box
    warnings: tuple[str, ...] = ()


def lay_out(
    kit: BrandKit, overlay: Overlay, size: tuple[int, int], format_: str | None, brand: str
) -> Layout:
    """size: width and height in pixels. brand: its name, for warnings.

    The logo stands in its corner, the headline on the other edge, the legal line at the bottom
    beside the logo. Raises InvalidRequest for words that cannot be set or do not fit.
    """
    return _Setter(kit, size, format_, brand).layout(overlay)


class _Setter:
    def __init__(
        self, kit: BrandKit, size: tuple[int, int], format_: str | None, brand: str
    ) -> None:
        self._kit = kit
        self._width, self._height = size
        self._short = min(size)
        self._brand = brand
        self._warnings: list[str] = []
        self._safe = _safe_box(kit, size, format_)
        self._clear = 0  # pixels around the logo

    def layout(self, overlay: Overlay) -> Layout:
        logo = self._logo() if overlay.logo else None
        legal = self._legal(overlay.legal, logo)
        headline = self._headline(overlay.headline, logo, legal and legal[1])
        return Layout(logo, headline, legal, self._safe, tuple(self._warnings))

    def _logo(self) -> Box | None:
        logo, safe = self._kit.logo, self._safe
        if logo is None:
            self._warnings.append(f"{self._brand} has no logo, so there is none on the picture")
            return None
        height = int(min(
            max(logo.height * self._short, logo.min_px),
            _LOGO_SHARE * safe.width / logo.aspect,
            safe.height / (1 + 2 * logo.clear_space),
        ))  # fmt: skip
        if height < logo.min_px:
            self._warnings.append(
                f"a picture of {self._width} x {self._height} is too small for {self._brand}'s"
                f" logo, which is {logo.min_px} pixels high at least: it was left out"
            )
            return None
        self._clear = round(logo.clear_space * height)
        return self._in_corner(round(height * logo.aspect), height)

    def _in_corner(self, width: int, height: int) -> Box:
        """Within the safe area, and its clear space within the picture."""
        safe, clear, corner = self._safe, self._clear, self._kit.corner
        left = (
            max(safe.left, clear) if corner.is_left
            else min(safe.right, self._width - clear) - width
        )  # fmt: skip
        top = (
            max(safe.top, clear) if corner.is_top
            else min(safe.bottom, self._height - clear) - height
        )  # fmt: skip
        return Box(left, top, left + width, top + height)

    def _legal(self, text: str | None, logo: Box | None) -> tuple[Block, Box] | None:
        """At the bottom: beside the logo, or where it is too narrow there, above it."""
        if text is None:
            return None
        safe, corner = self._safe, self._kit.corner
        style = Style(
            self._typeface("legal", text, self._kit.legal),
            max(_LEGAL * self._short, _LEGAL_PX),
            max(_LEGAL_LEAST * self._short, _LEGAL_PX),
            leading=1.35,
            to_the_right=corner.is_left and not corner.is_top,
        )
        high = safe.height // 4
        if logo is None or corner.is_top:
            block = self._fitted("legal", text, style, (safe.width, high))
            return block, self._at_the_bottom(block, safe.left, safe.right, safe.bottom)
        left = logo.right + self._clear if corner.is_left else safe.left
        right = safe.right if corner.is_left else logo.left - self._clear
        if beside := fit(text, style, self._line_width(right - left), high):
            return beside, self._at_the_bottom(beside, left, right, logo.bottom)
        above = self._fitted("legal", text, style, (safe.width, high))
        bottom = logo.top - self._clear
        return above, self._at_the_bottom(above, safe.left, safe.right, bottom)

    def _at_the_bottom(self, block: Block, left: int, right: int, bottom: int) -> Box:
        x = right - block.width if block.style.to_the_right else left
        return Box(x, bottom - block.height, x + block.width, bottom)

    def _headline(
        self, text: str | None, logo: Box | None, legal: Box | None
    ) -> tuple[Block, Box] | None:
        if text is None:
            return None
        safe = self._safe
        style = Style(
            self._typeface("headline", text, self._kit.headline),
            max(_HEADLINE * self._short, _HEADLINE_PX),
            max(_HEADLINE_LEAST * self._short, _HEADLINE_PX),
            leading=1.08,
        )
        top, bottom = self._free_rows(logo, legal)
        block = self._fitted("headline", text, style, (safe.width, bottom - top))
        y = bottom - block.height if self._kit.corner.is_top else top
        return block, Box(safe.left, y, safe.left + block.width, y + block.height)

    def _free_rows(self, logo: Box | None, legal: Box | None) -> tuple[int, int]:
        """Where a headline may stand: on the edge that the logo leaves, and not beyond its half."""
        safe, gap = self._safe, round(_GAP * self._short)
        most = round(_HEADLINE_SHARE * safe.height)
        if self._kit.corner.is_top:
            bottom = safe.bottom if legal is None else legal.top - gap
            top = safe.top if logo is None else logo.bottom + self._clear
            return max(top, bottom - most), bottom
        bottoms = [safe.bottom, safe.top + most]
        bottoms += [box.top - max(gap, self._clear) for box in (logo, legal) if box is not None]
        return safe.top, min(bottoms)

    def _fitted(self, what: str, text: str, style: Style, room: tuple[int, int]) -> Block:
        block = fit(text, style, self._line_width(room[0]), room[1])
        if block is None:
            raise InvalidRequest(_fault(
                what, f"does not fit on {self._width} x {self._height} pixels; say less"
            ))  # fmt: skip
        return block

    def _line_width(self, room: int) -> int:
        return min(room, round(_WIDEST * self._short))

    def _typeface(self, what: str, text: str, brands: Typeface) -> Typeface:
        """The brand's, or where it lacks a character the one that ships."""
        if not is_set_here(text):
            raise InvalidRequest(_fault(what, "runs from right to left, which is not set here"))
        missing = brands.missing(text)
        if not missing:
            return brands
        shipped = Typeface.shipped("Manrope-ExtraBold.ttf")
        if lacking := shipped.missing(text):
            raise InvalidRequest(_fault(what, f"holds {lacking!r}, which no font here can draw"))
        self._warnings.append(
            f"{self._brand}'s font has no {missing!r}, so its {what} is set in Manrope"
        )
        return shipped


def _safe_box(kit: BrandKit, size: tuple[int, int], format_: str | None) -> Box:
    width, height = size
    area = kit.safe_area(format_, width, height)
    return Box(
        round(area.left * width),
        round(area.top * height),
        width - round(area.right * width),
        height - round(area.bottom * height),
    )


def _fault(what: str, message: str) -> FieldError:
    return FieldError(f"overlay.{what}", message)
