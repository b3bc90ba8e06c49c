"""How many rows one denoiser call may have."""

from __future__ import annotations

import math

import pytest
import torch

from imagegen.diffusion.renderer import DiffusersRenderer
from imagegen.diffusion.row_limits import (
    LONGEST_CPU_STEP_S,
    Probe,
    cpu_row_limits,
    cuda_row_limits,
    most_rows,
)
from imagegen.generation import AdapterUse
from imagegen.model_sizes import SideLimits

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("guided_s", "fits", "rows", "tried"),
    [
        (0.01, 64, 64, [64]),
        (0.01, 63, 32, [64, 32]),
        (0.01, 0, 2, [64, 32, 16, 8, 4]),
        (0.04, 64, 32, [32]),  # for want of launches, not of the device's speed: large enough
        (0.25, 64, 8, [8]),
        (0.5, 64, 4, [4]),
        (0.51, 64, 2, []),
        (math.inf, 0, 2, []),
    ],
)
def test_what_one_guided_picture_promises_is_tried_and_halved(
    guided_s: float, fits: int, rows: int, tried: list[int]
) -> None:
    asked: list[int] = []

    def step_s(rows: int) -> float:
        asked.append(rows)
        return 0.9 if rows <= fits else math.inf

    assert most_rows(guided_s, step_s) == rows
    assert asked == tried, "a start waits for each"


def test_on_a_cpu_a_step_is_about_as_much_work_at_any_size() -> None:
    limits = cpu_row_limits(512, guided_step_s=0.2)
    assert [limits.at(side, side) for side in (256, 512, 768, 1024)] == [16, 16, 4, 4]
    assert limits.at(512, 1024) == 8
    assert limits.at(1024, 1032) == 2


def test_brands_may_ask_for_whatever_some_device_draws() -> None:
    most = SideLimits.of(512).max_px ** 2
    assert cpu_row_limits(512, guided_step_s=0.2).probes[-1][0] == most
    assert cuda_row_limits(512, lambda px, rows: 0.1).probes[-1][0] == most


def test_a_big_model_on_a_cpu_gets_fewer_rows() -> None:
    """Stable Diffusion XL takes half a minute a row: 16 would be killed for not moving.

    So would one picture of four times the pixels, which therefore cannot be asked for.
    """
    cases = ((0.99, (16, 8, 4)), (2.0, (8, 4, 2)), (20.0, (2, 2)), (61.0, (2,)))
    for guided_step_s, rows in cases:
        limits = cpu_row_limits(1024, guided_step_s)
        assert tuple(fit for _, fit in limits.probes) == rows
        row_s = guided_step_s / 2
        assert rows[0] == 2 or rows[0] * row_s <= LONGEST_CPU_STEP_S


@pytest.mark.parametrize(
    ("room", "probes"),
    [
        (64 * 1024**2, ((512**2, 64), (1024**2, 64))),
        (2 * 1024**2, ((512**2, 8), (1024**2, 2))),
        (2 * 1024**2 - 1, ((512**2, 4), (896**2, 2))),  # not even one guided picture at 1024
        (2 * 640**2, ((512**2, 2), (640**2, 2))),
        (2 * 520**2, ((512**2, 2),)),
        (0, ((512**2, 2),)),
    ],
)
def test_the_largest_side_is_one_where_a_guided_picture_fits(
    room: int, probes: tuple[tuple[int, int], ...]
) -> None:
    """room: pixels that the device has memory for."""
    limits = cuda_row_limits(512, lambda px, rows: 0.01 if rows * px**2 <= room else math.inf)
    assert limits.probes == probes


def test_a_slow_step_bounds_the_rows_not_the_size() -> None:
    limits = cuda_row_limits(512, lambda px, rows: rows * (px / 512) ** 2 / 4)
    assert limits.probes == ((512**2, 4), (1024**2, 2))


def test_a_probe_steps_that_many_rows_and_decodes_one(
    renderer: DiffusersRenderer, loras: dict[str, AdapterUse]
) -> None:
    family = renderer._family
    seen: list[tuple[int, ...]] = []
    handles = [
        family.unet.register_forward_hook(lambda _m, args, _out: seen.append(args[0].shape)),
        family.vae.decoder.register_forward_hook(lambda _m, _args, out: seen.append(out.shape)),
    ]
    probe = Probe(family, renderer._bank, (loras["aurora"],))
    assert 0 < probe.step(96, 4) < 10
    probe.decode(96)
    for handle in handles:
        handle.remove()
    assert seen == [(4, 4, 12, 12), (1, 3, 96, 96)]


def test_the_probe_is_under_the_brand_with_the_most_numbers(
    renderer: DiffusersRenderer, loras: dict[str, AdapterUse]
) -> None:
    assert renderer._bank.heaviest == tuple(loras.values())


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param([0.4, 0.25], id="the first call of all is slower"),
        pytest.param([0.5, math.nan], id="unless it is long"),
    ],
)
def test_on_a_cpu_the_model_is_timed_when_it_is_loaded(
    renderer: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch, calls: list[float]
) -> None:
    probe = Probe(renderer._family, renderer._bank, ())
    ticks = iter([0.0, calls[0], 10.0, 10.0 + calls[1]])  # of one row at half the native side
    monkeypatch.setattr("imagegen.diffusion.row_limits.time.perf_counter", lambda: next(ticks))
    rows = {0.25: 8, 0.5: 4}[min(calls)]
    limits = probe.row_limits(torch.device("cpu"))
    assert limits.probes == tuple((64**2 * n, max(2, rows // n)) for n in (1, 2, 4))
