"""Kits for tests: a square mark, white for dark grounds and black for light ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sample_brands import logo_file

from imagegen.branding.kit import BrandKit, Corner, Logo, plain_kit
from imagegen.branding.logos import LogoFile

LOGO = Logo(
    light=LogoFile("light.svg", "light", logo_file("#ffffff")),
    dark=LogoFile("dark.svg", "dark", logo_file("#000000")),
    corner=Corner.BOTTOM_RIGHT,
    height=0.1,
    clear_space=0.5,
    min_px=16,
)
_OF_LOGO = ("light", "dark", "corner", "height", "clear_space", "min_px")


def kit_with(*, logo: bool = True, **fields: Any) -> BrandKit:
    """A kit that differs from the plain one, and its logo from LOGO, in `fields`."""
    own = {name: fields.pop(name) for name in _OF_LOGO if name in fields and logo}
    return replace(plain_kit(), logo=replace(LOGO, **own) if logo else None, **fields)
