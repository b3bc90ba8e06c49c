"""The words that compute something: rows that fit, rows that a picture takes."""

from __future__ import annotations

import pytest

from imagegen.generation import RenderSpec, RowLimits, Scheduler


@pytest.mark.parametrize(
    ("width", "height", "rows"),
    [
        (8, 8, 16),
        (64, 64, 16),
        (72, 64, 6),
        (128, 128, 6),
        (136, 128, 2),
        (256, 256, 2),
        (512, 512, 2),
    ],
)
def test_a_size_gets_the_rows_of_the_smallest_probe_that_holds_it(
    width: int, height: int, rows: int
) -> None:
    limits = RowLimits(((64 * 64, 16), (128 * 128, 6), (256 * 256, 1)))
    assert limits.at(width, height) == rows


def test_the_operator_may_want_fewer_rows_but_never_no_picture() -> None:
    limits = RowLimits(((64 * 64, 16), (128 * 128, 6))).capped(8)
    assert limits == RowLimits(((64 * 64, 8), (128 * 128, 6)))
    assert limits.capped(1).at(8, 8) == RowLimits().at(8, 8) == 2


@pytest.mark.parametrize(("guidance_scale", "rows"), [(0.0, 1), (1.0, 1), (1.01, 2), (7.5, 2)])
def test_guidance_takes_a_second_row(guidance_scale: float, rows: int) -> None:
    spec = RenderSpec("a", "x", "", 8, 8, 1, guidance_scale, Scheduler.DDIM, 1, (), exact=False)
    assert spec.rows == rows
