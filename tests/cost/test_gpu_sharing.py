"""Pictures that share a GPU's steps, by hand and by hypothesis."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegen.cost.gpu import SharedGpu


def ends(gpu: SharedGpu, arrivals: list[tuple[float, int]]) -> dict[int, float]:
    """When each caller's picture is done; `arrivals` are (seconds, caller), in order."""
    done: dict[int, float] = {}
    waiting = list(arrivals)
    while waiting or gpu.due_s < math.inf:
        now_s = min(gpu.due_s, waiting[0][0] if waiting else math.inf)
        done |= dict.fromkeys(gpu.take_done(now_s), now_s)
        while waiting and waiting[0][0] <= now_s:
            gpu.add(waiting.pop(0)[1], now_s)
    return done


def test_a_picture_alone_takes_its_time():
    gpu = SharedGpu(10, 0.5, 8)
    assert ends(gpu, [(3, 1)]) == {1: 13}
    assert gpu.rendering_s == 10
    assert gpu.due_s == math.inf


def test_two_together_take_one_and_a_half_times_as_long():
    assert ends(SharedGpu(10, 0.5, 8), [(0, 1), (0, 2)]) == {1: 15, 2: 15}


def test_one_who_joins_half_way_slows_the_first_and_ends_alone():
    # 5 s alone; then 5 s of work at 1.5 times the time: 12.5; the second's other half alone: 17.5
    assert ends(SharedGpu(10, 0.5, 8), [(0, 1), (5, 2)]) == {1: 12.5, 2: 17.5}


def test_behind_a_lock_one_goes_after_another():
    assert ends(SharedGpu(10, 1, 1), [(0, 1), (0, 2), (4, 3)]) == {1: 10, 2: 20, 3: 30}


def test_the_third_waits_where_two_fit():
    assert ends(SharedGpu(10, 0, 2), [(0, 1), (1, 2), (2, 3)]) == {1: 10, 2: 11, 3: 20}


@given(
    st.lists(st.floats(0, 500), min_size=1, max_size=30).map(sorted),
    st.floats(0.1, 50), st.floats(0, 1), st.integers(1, 8),
)  # fmt: skip
def test_all_are_done_in_order_and_the_gpu_is_never_faster_than_its_batch(
    times_s, picture_s, marginal, max_batch
):
    gpu = SharedGpu(picture_s, marginal, max_batch)
    done = ends(gpu, [(at_s, number) for number, at_s in enumerate(times_s)])
    assert sorted(done) == list(range(len(times_s)))
    assert list(done.values()) == sorted(done.values())
    assert all(done[n] - at_s >= picture_s - 1e-4 for n, at_s in enumerate(times_s))
    work_s = len(times_s) * picture_s
    full_batch = (1 + (max_batch - 1) * marginal) / max_batch
    assert work_s * full_batch - 1e-3 <= gpu.rendering_s <= work_s + 1e-3


def test_marginal_pictures_are_the_batch_that_was_published():
    gpu = SharedGpu(8, 0.77, 8)
    ends(gpu, [(0, number) for number in range(8)])
    assert 8 * 8 / gpu.rendering_s == pytest.approx(1.25, abs=0.005)
