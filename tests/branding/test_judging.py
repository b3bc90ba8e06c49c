"""The brand score: its parts are what they say, and a fall of it is noticed."""

from __future__ import annotations

import io
from random import Random

import numpy as np
import pytest
from PIL import Image

from imagegen.branding.colours import Bytes, rgb_of
from imagegen.branding.drift import drift_of
from imagegen.branding.judging import judge, palette_distance
from imagegen.branding.looks import Look
from imagegen.branding.score import BrandScore

NIGHT = ("#0b1d3a", "#19c6a6", "#7b4dff")


def mosaic(*colours: str) -> Bytes:
    """Stripes of equal width."""
    row = np.array([rgb_of(colour) for colour in colours], np.uint8).repeat(48, axis=0)
    return np.broadcast_to(row, (96, *row.shape)).copy()


def test_a_picture_of_the_palette_alone_has_all_points() -> None:
    assert palette_distance(mosaic(*NIGHT), NIGHT) == pytest.approx(0, abs=1e-3)
    score = judge(mosaic(*NIGHT), NIGHT, None, None)
    assert score == BrandScore(total=100, palette=100)


def test_shades_between_its_colours_are_nearer_than_strangers() -> None:
    blend = np.linspace(rgb_of(NIGHT[0]), rgb_of(NIGHT[1]), 256).astype(np.uint8)
    shades = np.broadcast_to(blend, (96, *blend.shape)).copy()
    strangers = mosaic("#e3262e", "#f5d10d")
    assert 0 < palette_distance(shades, NIGHT) < 0.5 * palette_distance(strangers, NIGHT)


def test_a_stranger_is_as_far_as_it_is() -> None:
    assert palette_distance(mosaic("#ffffff"), ("#000000",)) == pytest.approx(1, abs=1e-3)
    assert palette_distance(mosaic("#ffffff"), ("#000000", "#000000")) == pytest.approx(1, abs=1e-3)


def test_the_total_is_weighted_over_the_parts_there_are() -> None:
    of = BrandScore.of
    assert of(palette=50, contrast=None, similarity=None) == BrandScore(total=50, palette=50)
    both = of(palette=50, contrast=100, similarity=None)
    assert both is not None
    assert both.total == pytest.approx((0.6 * 50 + 0.2 * 100) / 0.8, abs=0.05)
    every = of(palette=50, contrast=100, similarity=0)
    assert every is not None
    assert every.total == 50
    assert of(palette=None, contrast=None, similarity=None) is None
    assert of(palette=None, contrast=0, similarity=None) == BrandScore(total=0, contrast=0)


def test_what_looks_alike_is_alike() -> None:
    night, day = Look.of(mosaic(*NIGHT)), Look.of(mosaic("#f3ecd9", "#8fae6b"))
    turned = Look.of(mosaic(*reversed(NIGHT)))
    assert night.likeness(night) == pytest.approx(1, abs=1e-3)
    assert night.likeness(day) == pytest.approx(day.likeness(night))
    assert night.likeness(day) < 0.2 < night.likeness(turned) < 0.9, "its colours, elsewhere"
    assert Look.mean([night]).likeness(night) == pytest.approx(1, abs=1e-3)
    assert Look.mean([night, day]).likeness(night) > night.likeness(day)


def test_another_size_or_format_of_a_picture_looks_the_same() -> None:
    picture = Image.fromarray(mosaic(*NIGHT))
    file = io.BytesIO()
    picture.resize((288, 192)).save(file, "JPEG", quality=95)
    look = Look.of_file(file.getvalue())
    assert look.likeness(Look.of(np.asarray(picture))) > 0.93


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"<svg/>"])
def test_what_is_no_picture_has_no_look(data: bytes) -> None:
    with pytest.raises(ValueError, match="no picture that can be read"):
        Look.of_file(data)


def test_a_huge_picture_is_not_opened_to_be_compared() -> None:
    file = io.BytesIO()
    Image.new("L", (5_000, 1_001)).save(file, "PNG")
    with pytest.raises(ValueError, match="5,005,000 pixels"):
        Look.of_file(file.getvalue())


def series(count: int, mean: float, spread: float, seed: int) -> list[float]:
    rng = Random(seed)
    return [min(100.0, max(0.0, rng.gauss(mean, spread))) for _ in range(count)]


def test_a_fall_is_noticed_and_a_rise_is_none() -> None:
    for seed in range(20):
        before = series(80, 82, 6, seed)
        fallen = drift_of([*before, *series(20, 70, 6, seed + 100)])
        assert fallen.drifts
        assert fallen.sigmas is not None
        assert fallen.sigmas < -3
        assert not drift_of([*before, *series(20, 94, 3, seed + 100)]).drifts


def test_a_steady_brand_is_left_alone() -> None:
    assert not any(drift_of(series(100, 82, 6, seed)).drifts for seed in range(300))


def test_a_drop_that_nobody_sees_is_none_however_sure() -> None:
    drift = drift_of([80.0] * 80 + [78.5] * 20)
    assert drift.sigmas is not None
    assert drift.sigmas < -3
    assert not drift.drifts


def test_too_few_pictures_say_nothing() -> None:
    assert drift_of([80.0] * 39 + [1.0] * 20).model_dump() == {
        "pictures": 59, "recent": None, "earlier": None, "sigmas": None, "drifts": False
    }  # fmt: skip
    assert drift_of([]).pictures == 0
    known = drift_of([80.0] * 40 + [1.0] * 20)
    assert (known.recent, known.earlier, known.drifts) == (1.0, 80.0, True)
