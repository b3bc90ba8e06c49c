"""What is laid on: seen on any ground, the same bytes every time, nothing else touched."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kits import kit_with

from imagegen.branding.colours import Bytes, contrast, contrast_of, luminance, oklab
from imagegen.branding.composing import Composer
from imagegen.branding.finish import Finish, Wanted
from imagegen.branding.kit import Corner, inks_of
from imagegen.branding.layout import Box, lay_out
from imagegen.branding.overlay import Overlay

SIZE = (512, 512)
WORDS = Overlay(headline="Go where it is dark", legal="While stocks last. Terms apply.")


def plain(colour: str, size: tuple[int, int] = SIZE) -> Bytes:
    picture = np.empty((size[1], size[0], 3), np.uint8)
    picture[:] = list(bytes.fromhex(colour))
    return picture


def noise(seed: int = 3) -> Bytes:
    cells = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    return cells.repeat(32, axis=0).repeat(32, axis=1)


def composed(picture: Bytes, overlay: Overlay = WORDS, **kit: object) -> tuple[Bytes, Box]:
    own = kit_with(**kit)
    layout = lay_out(own, overlay, SIZE, "square", "Aurora")
    assert layout.logo is not None
    return Composer(own, layout).compose(picture), layout.logo


def inside(picture: Bytes, box: Box) -> Bytes:
    return picture[box.top : box.bottom, box.left : box.right]


@pytest.mark.parametrize(
    ("ground", "logo"), [("0b1d3a", 255), ("000000", 255), ("f3ecd9", 0), ("ffffff", 0)]
)
@pytest.mark.parametrize("corner", list(Corner))
def test_the_variant_is_the_one_that_is_seen(ground: str, logo: int, corner: Corner) -> None:
    picture, box = composed(plain(ground), Overlay(), corner=corner)
    assert (inside(picture, box) == logo).mean() > 0.98


@pytest.mark.parametrize("corner", list(Corner))
def test_light_and_dark_halves_of_one_picture_have_each_their_variant(corner: Corner) -> None:
    halves = plain("ffffff")
    halves[:, :256] = 0
    picture, box = composed(halves, Overlay(), corner=corner)
    assert (inside(picture, box) == (255 if corner.is_left else 0)).mean() > 0.98


def test_a_calm_ground_is_left_as_it_is() -> None:
    ground = plain("0b1d3a")
    picture, box = composed(ground, Overlay())
    changed = (picture != ground).any(axis=-1)
    changed[box.top : box.bottom, box.left : box.right] = False
    assert not changed.any()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("corner", [Corner.TOP_LEFT, Corner.BOTTOM_RIGHT])
def test_words_are_readable_on_any_ground(seed: int, corner: Corner) -> None:
    """Around the letters, in cells of half of one, the ground has 4.5 : 1 to what is inked."""
    own = kit_with(corner=corner)
    layout = lay_out(own, WORDS, SIZE, "square", "Aurora")
    picture = Composer(own, layout).compose(noise(seed))
    for placed in (layout.headline, layout.legal):
        assert placed is not None
        block, box = placed
        mask = block.mask()
        region = inside(picture, box)
        ink = luminance(region[mask == 255]).mean()
        free = np.where((mask == 0)[..., None], region, 0).astype(np.float32)
        cell = max(2, round(block.px / 2))
        for top in range(0, box.height - cell, cell):
            for left in range(0, box.width - cell, cell):
                part = (slice(top, top + cell), slice(left, left + cell))
                there = (mask[part] == 0).sum()
                if there > cell:
                    mean = free[part].sum(axis=(0, 1)) / there
                    assert contrast(luminance(mean), ink) > 3.9, "4.5 but for where cells begin"


def test_the_logo_is_seen_on_a_ground_of_its_own_colour() -> None:
    """One variant alone: the ground gets what it needs."""
    picture, box = composed(plain("ffffff"), Overlay(), dark=None)
    just_outside = picture[box.top - 2, box.left : box.right]
    assert contrast(luminance(just_outside), 1.0).min() >= 2.9
    assert (inside(picture, box) == 255).mean() > 0.98


def test_the_same_in_the_same_out_in_another_process_too() -> None:
    code = (
        "import hashlib, sys; sys.path[:0] = sys.argv[1:];"
        "from test_composing import composed, noise;"
        "print(hashlib.sha256(composed(noise())[0].tobytes()).hexdigest())"
    )
    here = hashlib.sha256(composed(noise())[0].tobytes()).hexdigest()
    folder = Path(__file__).parent
    command = [sys.executable, "-c", code, str(folder), str(folder.parent)]
    there = subprocess.run(command, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_the_clean_picture_stays_clean() -> None:
    picture = noise()
    before = picture.tobytes()
    finish = Finish("Aurora", kit_with(), (), Wanted(WORDS, True, "square"), SIZE)
    first, second = finish.of(before), finish.of(before)
    assert picture.tobytes() == before
    assert first == second
    assert first.composed is not None
    assert first.composed != before
    assert len(first.composed) == len(before)


def test_room_is_how_much_is_seen_without_help() -> None:
    def room(picture: Bytes) -> float | None:
        own = kit_with(dark=None)
        layout = lay_out(own, Overlay(), SIZE, "square", "Aurora")
        return Composer(own, layout).room(picture)

    assert room(plain("0b1d3a")) == 1
    assert room(plain("ffffff")) == 0
    half = plain("ffffff")
    box = lay_out(kit_with(), Overlay(), SIZE, "square", "Aurora").logo
    assert box is not None
    half[:, : (box.left + box.right) // 2] = 0
    assert room(half) == pytest.approx(0.5, abs=0.2)
    nothing = kit_with(logo=False)
    layout = lay_out(nothing, Overlay(), SIZE, "square", "Aurora")
    assert Composer(nothing, layout).room(plain("ffffff")) is None


def test_figures_of_the_standards() -> None:
    assert contrast_of("#ffffff", "#000000") == pytest.approx(21)
    assert contrast_of("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # WebAIM's
    red = oklab(np.array([255, 0, 0], np.uint8))
    assert red == pytest.approx([0.6280, 0.2249, 0.1258], abs=1e-3)  # Ottosson's
    assert oklab(np.array([255, 255, 255], np.uint8)) == pytest.approx([1, 0, 0], abs=1e-3)


def test_inks_are_the_palettes_where_those_can_be_read() -> None:
    assert inks_of(("#19c6a6", "#0b1d3a", "#7b4dff")) == ("#19c6a6", "#0b1d3a")
    assert inks_of(("#8fae6b", "#c9a66b")) == ("#ffffff", "#111111")
    assert inks_of(()) == ("#ffffff", "#111111")
