"""The judge's plain counts are right about drawings, whose truth is known."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from PIL import Image

from imagegen.starter.brands import BRUSHES, training_picture
from imagegen.starter.judge import background_colour, palette_distance, to_lab
from imagegen.starter.scenes import draw, random_scene

PALETTES = {
    "aurora": ("#0b1d3a", "#19c6a6", "#7b4dff"),
    "botanic": ("#f3ecd9", "#2f6b3a", "#8fae6b", "#c9a66b"),
    "pop": ("#f5d10d", "#e3262e", "#1f4fd1", "#111111", "#ffffff"),
}


def test_the_background_of_a_drawing_is_named() -> None:
    rng = Random(1)
    scenes = [random_scene(rng) for _ in range(300)]
    right = sum(background_colour(draw(scene, 128, 128)) == scene.background for scene in scenes)
    assert right >= 297


def test_lab_of_known_colours() -> None:
    white, red, black = to_lab(np.array([[255, 255, 255], [255, 0, 0], [0, 0, 0]]))
    assert white == pytest.approx([100, 0, 0], abs=0.1)
    assert red == pytest.approx([53.24, 80.09, 67.20], abs=0.1)
    assert black == pytest.approx([0, 0, 0], abs=0.1)


def test_a_palettes_own_colour_is_at_no_distance() -> None:
    assert palette_distance(Image.new("RGB", (8, 8), "#19c6a6"), PALETTES["aurora"]) < 1e-6


@pytest.mark.parametrize("brand", list(BRUSHES))
def test_a_brands_drawings_lie_nearer_to_its_palette_than_plain_scenes(brand: str) -> None:
    rng = Random(2)
    own = [palette_distance(training_picture(brand, rng)[0], PALETTES[brand]) for _ in range(12)]
    plain = [palette_distance(draw(random_scene(rng)), PALETTES[brand]) for _ in range(48)]
    assert np.mean(own) < np.mean(plain) / 2
