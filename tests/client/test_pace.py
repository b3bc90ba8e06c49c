"""How many requests to have under way: against an engine that is only arithmetic."""

from __future__ import annotations

import pytest

from imagegen.client.pace import MOST, Pace
from imagegen.generation import Timings


def after(pace: Pace, fits: int, rounds: int) -> list[int]:
    """The limit after each round with an engine that draws `fits` requests at once, 1 s each."""
    limits = []
    for _ in range(rounds):
        for _ in range(pace.limit):
            waits = max(0, pace.limit - fits)  # those that find the engine full
            pace.answered(Timings(queue_s=waits / fits, render_s=1.0))
        limits.append(pace.limit)
    return limits


@pytest.mark.parametrize("fits", [1, 4, 8, 16, 50])
def test_it_finds_what_fills_the_engine_and_not_much_more(fits: int) -> None:
    limits = after(Pace(), fits, 60)
    assert all(fits <= limit <= 2 * fits + 1 for limit in limits[30:])


def test_an_engine_without_end_gets_as_many_as_there_may_be() -> None:
    assert after(Pace(), 10_000, 10)[-1] == MOST
    assert after(Pace(most=8), 10_000, 10)[-1] == 8


def test_refusals_of_one_round_count_once_and_never_stop_it() -> None:
    pace = Pace()
    after(pace, 10_000, 10)
    for _ in range(32):
        pace.refused()
    assert pace.limit == MOST // 2
    for _ in range(1_000):
        pace.refused()
    assert pace.limit == 1


def test_a_fixed_one_stays() -> None:
    pace = Pace(7)
    pace.refused()
    after(pace, 1, 5)
    after(pace, 100, 5)
    assert pace.limit == 7
