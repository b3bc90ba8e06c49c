"""Where things stand: within the safe area, out of each other's way, in every corner and format."""

from __future__ import annotations

from pathlib import Path

import pytest
from kits import LOGO, kit_with

from imagegen.branding.kit import CHANNELS, Corner, SafeArea
from imagegen.branding.layout import Box, Layout, lay_out
from imagegen.branding.lettering import Style, fit
from imagegen.branding.overlay import Overlay
from imagegen.branding.typefaces import Typeface
from imagegen.errors import InvalidRequest
from imagegen.presets import PresetCatalog
from imagegen.presets.formats import built_in_formats

ALL = Overlay(headline="Everything must go by Friday", legal="While stocks last. Terms apply.")
SIZES = [
    (px, name, size) for px in (256, 512, 1_024) for name, size in built_in_formats(px).items()
]


def boxes(layout: Layout) -> list[Box]:
    placed = [one[1] for one in (layout.headline, layout.legal) if one is not None]
    return placed if layout.logo is None else [*placed, layout.logo]


def apart(one: Box, other: Box, clear: float = 0) -> bool:
    return (
        one.right + clear <= other.left
        or other.right + clear <= one.left
        or one.bottom + clear <= other.top
        or other.bottom + clear <= one.top
    )


@pytest.mark.parametrize("corner", list(Corner))
@pytest.mark.parametrize(("px", "name", "size"), SIZES, ids=str)
def test_all_of_it_is_in_the_safe_area_and_the_logo_has_its_clear_space(
    corner: Corner, px: int, name: str, size: tuple[int, int]
) -> None:
    kit = kit_with(corner=corner, min_px=8)
    layout = lay_out(kit, ALL, size, name, "Aurora")
    width, height = size
    area = CHANNELS[name][1]
    assert layout.logo is not None
    assert layout.headline is not None
    assert layout.legal is not None
    for box in boxes(layout):
        assert box.left >= round(area.left * width)
        assert box.right <= width - round(area.right * width)
        assert box.top >= round(area.top * height)
        assert box.bottom <= height - round(area.bottom * height)
        assert box.width > 0
        assert box.height > 0
    clear = round(LOGO.clear_space * layout.logo.height)
    for box in (layout.headline[1], layout.legal[1]):
        assert apart(layout.logo, box, clear - 1)
    assert apart(layout.headline[1], layout.legal[1])
    assert min(layout.logo.left, layout.logo.top) >= clear, "the picture's edge counts too"
    assert min(width - layout.logo.right, height - layout.logo.bottom) >= clear
    is_left = layout.logo.left + layout.logo.right < width
    is_top = layout.logo.top + layout.logo.bottom < height
    assert (is_left, is_top) == (corner.is_left, corner.is_top)
    assert layout.warnings == ()


def test_a_picture_too_small_for_the_logo_has_none_and_says_so() -> None:
    layout = lay_out(kit_with(min_px=60), Overlay(), (256, 96), None, "Aurora")
    assert layout.logo is None
    assert layout.warnings == (
        "a picture of 256 x 96 is too small for Aurora's logo, which is 60 pixels high at least:"
        " it was left out",
    )


def test_a_small_picture_has_the_logo_at_its_least_size() -> None:
    layout = lay_out(kit_with(min_px=32), Overlay(), (256, 256), "square", "Aurora")
    assert layout.logo is not None
    assert layout.logo.height == 32


def test_without_a_logo_words_stand_alike_and_a_wish_for_one_is_answered() -> None:
    layout = lay_out(kit_with(logo=False), ALL, (1_024, 1_024), "square", "Aurora")
    assert layout.warnings == ("Aurora has no logo, so there is none on the picture",)
    words = ALL.model_copy(update={"logo": False})
    assert lay_out(kit_with(logo=False), words, (1_024, 1_024), "square", "A").warnings == ()


def test_the_brands_safe_area_counts_before_the_channels() -> None:
    kit = kit_with(safe_areas={"story": SafeArea(0.3, 0.1, 0.3, 0.1)})
    said = lay_out(kit, ALL, (576, 1_024), "story", "Aurora").safe
    assert said == Box(58, 307, 518, 717)
    assert lay_out(kit, ALL, (576, 1_024), None, "Aurora").safe == said, "by its shape"
    assert lay_out(kit, ALL, (576, 1_024), "tall", "Aurora").safe == said, "a format of its own"
    assert lay_out(kit, ALL, (1_024, 1_024), None, "Aurora").safe == Box(51, 51, 973, 973)


@pytest.mark.parametrize(
    ("overlay", "fault"),
    [
        ({"headline": "W" * 120}, "overlay.headline: does not fit on 256 x 256 pixels; say less"),
        ({"legal": "terms " * 50}, "overlay.legal: does not fit on 256 x 256 pixels; say less"),
        ({"headline": "مرحبا"}, "overlay.headline: runs from right to left"),
        ({"legal": "שלום 2026"}, "overlay.legal: runs from right to left"),
        ({"headline": "夏セール"}, "overlay.headline: holds '夏セール', which no font here"),
        ({"headline": "Hot 🔥"}, "overlay.headline: holds '🔥', which no font here can draw"),
    ],
)
def test_words_that_cannot_be_set_are_refused(overlay: dict[str, str], fault: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        lay_out(kit_with(), Overlay(**overlay), (256, 256), "square", "Aurora")
    assert fault in refused.value.detail


def test_a_font_without_a_character_gives_way_to_the_one_that_ships() -> None:
    kit = kit_with(headline=ascii_font())
    layout = lay_out(kit, Overlay(headline="Año nuevo"), (512, 512), "square", "Aurora")
    assert layout.headline is not None
    assert layout.headline[0].style.typeface.name == "Manrope-ExtraBold.ttf"
    assert layout.warnings == ("Aurora's font has no 'ñ', so its headline is set in Manrope",)


def ascii_font() -> Typeface:
    """Pillow's own, which has nothing but ASCII."""
    from PIL import ImageFont

    return Typeface("ascii.ttf", "ascii", ImageFont.load_default(20).path.getvalue())


def test_words_are_never_broken_and_lines_are_even() -> None:
    style = Style(Typeface.shipped("Manrope-SemiBold.ttf"), 40, 10, 1.2)
    block = fit("Only while stocks last and not with other offers", style, 500, 400)
    assert block is not None
    assert block.lines == ("Only while stocks last", "and not with other offers")
    assert block.width <= 500
    assert fit("Donaudampfschifffahrtsgesellschaft", style, 100, 400) is None
    kept = fit("Only while stocks last and with\u00a0no\u00a0other\u00a0offers", style, 500, 400)
    assert kept is not None
    assert kept.lines == ("Only while stocks last", "and with\u00a0no\u00a0other\u00a0offers")
    assert fit("x", style, 0, 400) is None
    assert fit("x", style, 400, -5) is None


def test_kerning_is_the_fonts() -> None:
    face = Typeface.shipped("Manrope-ExtraBold.ttf")
    assert face.width("AVATAR") < sum(map(face.width, "AVATAR")) - 0.2


def test_the_brands_that_ship_have_kits_in_order() -> None:
    brands = PresetCatalog.load(Path(__file__).parents[2] / "brand_presets")
    assert {preset.id: preset.kit.corner.value for preset in brands} == {
        "aurora": "bottom-right",
        "botanic": "bottom-left",
        "pop": "top-right",
    }
    for preset in brands:
        for _, name, size in SIZES:
            layout = lay_out(preset.kit, ALL, size, name, preset.name)
            assert layout.logo is not None, f"{preset.name}, {name} of {size}"
