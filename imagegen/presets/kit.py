"""A brand's kit: what preset.yaml says about it, and its files, read and distrusted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from imagegen.branding import logos, typefaces
from imagegen.branding.colours import contrast_of
from imagegen.branding.kit import READABLE, BrandKit, Corner, Logo, SafeArea, inks_of, plain_kit
from imagegen.branding.logos import LogoFile
from imagegen.branding.looks import Look
from imagegen.branding.typefaces import Typeface
from imagegen.presets.entries import (
    COVER_ENDINGS,
    Colour,
    Entry,
    FormatName,
    ending_with,
    inside,
    names_a_file_below,
)
from imagegen.presets.marked_yaml import Place

_LARGEST = 16 << 20  # bytes that are read of any file of a kit
_ALIKE = 0.03  # how far apart two variants' shapes may be
Share = Annotated[float, Field(ge=0, le=0.4, allow_inf_nan=False)]
Faults = list[tuple[Place, str]]

LogoName = Annotated[str, AfterValidator(inside), AfterValidator(ending_with(*logos.ENDINGS))]
FontName = Annotated[str, AfterValidator(inside), AfterValidator(ending_with(*typefaces.ENDINGS))]
PictureName = Annotated[str, AfterValidator(inside), AfterValidator(ending_with(*COVER_ENDINGS))]


class LogoEntry(Entry):
    """The logo's files and where it stands; `light` is for dark pictures, `dark` for light ones."""

    light: LogoName | None = None
    dark: LogoName | None = None
    corner: Annotated[Corner, Field(strict=False)] = Corner.BOTTOM_RIGHT
    height: float = Field(default=0.11, ge=0.02, le=0.3, allow_inf_nan=False)
    clear_space: float = Field(default=0.5, ge=0, le=2, allow_inf_nan=False)
    min_px: int = Field(default=20, ge=8, le=1_000)


class FontsEntry(Entry):
    """The fonts of words over pictures; what is not named is set in Manrope, which ships."""

    headline: FontName | None = None
    legal: FontName | None = None


class InksEntry(Entry):
    """The colours of words: `light` over dark pictures, `dark` over light ones."""

    light: Colour
    dark: Colour


class SafeAreaEntry(Entry):
    """What a channel covers or cuts off: shares of the picture's sides that are kept free."""

    top: Share
    right: Share
    bottom: Share
    left: Share


class KitEntry(Entry):
    """The key `kit` of preset.yaml."""

    logo: LogoEntry | None = None
    fonts: FontsEntry = FontsEntry()
    inks: InksEntry | None = None
    safe_areas: dict[FormatName, SafeAreaEntry] = Field(default={}, max_length=32)
    approved: list[PictureName] = Field(default=[], max_length=24)

    def contradictions(self, formats: list[str]) -> Faults:
        """formats: the names there are."""
        found: Faults = []
        if self.logo is not None and self.logo.light is None and self.logo.dark is None:
            found.append((("kit", "logo"), "names no file: say light, dark, or both"))
        if self.inks is not None and contrast_of(self.inks.light, self.inks.dark) < READABLE:
            ratio = contrast_of(self.inks.light, self.inks.dark)
            message = f"light and dark have a contrast of {ratio:.1f}; words need {READABLE}"
            found.append((("kit", "inks"), message))
        found += [
            (("kit", "safe_areas", name), f"no format {name!r}; there are {', '.join(formats)}")
            for name in self.safe_areas
            if name not in formats
        ]
        return found


@dataclass(frozen=True)
class KitFiles:
    """A kit's files by their names."""

    data: dict[str, bytes] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)  # of approved pictures, in their place

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of those that show on a picture."""
        return {name: _sha256(data) for name, data in self.data.items()}

    def logo(self, name: str) -> LogoFile:
        return LogoFile(name, _sha256(self.data[name]), self.data[name])

    def typeface(self, name: str) -> Typeface:
        return Typeface(name, _sha256(self.data[name]), self.data[name])


def read_kit(
    folder: Path, is_inside: Callable[[Path], bool], said: object, found: Faults
) -> KitFiles:
    """The files that a kit names, by their names; notes what is wrong with them.

    said: the value of `kit`, whatever it is: what the schema refuses is passed over here.
    """
    files = KitFiles()
    for place, name in _named(said):
        if not names_a_file_below(name):
            continue
        path = folder / name
        if not is_inside(path):
            found.append((place, f"{name!r} leaves the brand's folder"))
        elif not path.is_file():
            found.append((place, f"there is no file {name!r} in the brand's folder"))
        else:
            found += [(place, f"{name}: {fault}") for fault in _read(path, name, place[1], files)]
    return files


def differing_shapes(kit: KitEntry, files: KitFiles) -> Faults:
    """Light and dark stand in one place: they must be alike but for their colours."""
    if kit.logo is None or kit.logo.light is None or kit.logo.dark is None:
        return []
    light, dark = (files.logo(name).aspect for name in (kit.logo.light, kit.logo.dark))
    if abs(light / dark - 1) <= _ALIKE:
        return []
    message = f"light and dark have different shapes: {light:.2f} and {dark:.2f} times as wide as"
    return [(("kit", "logo"), f"{message} high, what is transparent around them left out")]


def kit_of(entry: KitEntry | None, files: KitFiles, palette: tuple[str, ...]) -> BrandKit:
    """The kit, from files that are in order."""
    plain = plain_kit(palette)
    if entry is None:
        return plain
    light, dark = inks_of(palette)
    if entry.inks is not None:
        light, dark = entry.inks.light, entry.inks.dark
    fonts = entry.fonts
    return BrandKit(
        logo=None if entry.logo is None else _logo(entry.logo, files),
        headline=plain.headline if fonts.headline is None else files.typeface(fonts.headline),
        legal=plain.legal if fonts.legal is None else files.typeface(fonts.legal),
        light=light,
        dark=dark,
        safe_areas={
            name: SafeArea(area.top, area.right, area.bottom, area.left)
            for name, area in entry.safe_areas.items()
        },
        approved=Look.mean(files.looks.values()) if files.looks else None,
    )


def _named(said: object) -> Iterator[tuple[Place, str]]:
    """Every file that is named, and where."""
    kit = said if isinstance(said, dict) else {}
    for group, keys in (("logo", ("light", "dark")), ("fonts", ("headline", "legal"))):
        table = kit.get(group)
        if isinstance(table, dict):
            yield from ((("kit", group, key), table[key]) for key in keys
                        if isinstance(table.get(key), str))  # fmt: skip
    approved = kit.get("approved")
    for index, name in enumerate(approved if isinstance(approved, list) else ()):
        if isinstance(name, str):
            yield ("kit", "approved", index), name


def _read(path: Path, name: str, group: object, files: KitFiles) -> list[str]:
    """Adds the file to the others; what is wrong with it."""
    with path.open("rb") as file:
        data = file.read(_LARGEST + 1)
    if group == "approved":
        try:
            files.looks[name] = Look.of_file(data)
        except ValueError as error:
            return [str(error)]
        return []
    files.data[name] = data
    return logos.logo_faults(name, data) if group == "logo" else typefaces.font_faults(data)


def _logo(entry: LogoEntry, files: KitFiles) -> Logo:
    return Logo(
        light=None if entry.light is None else files.logo(entry.light),
        dark=None if entry.dark is None else files.logo(entry.dark),
        corner=entry.corner,
        height=entry.height,
        clear_space=entry.clear_space,
        min_px=entry.min_px,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
