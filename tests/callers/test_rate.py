"""Token buckets."""

from __future__ import annotations

import pytest

from imagegen.callers.rate import TokenBuckets


def test_a_caller_may_ask_as_often_as_was_said_and_then_at_that_pace() -> None:
    buckets = TokenBuckets(6)
    assert [buckets.take("ann", 0.0) for _ in range(7)] == [0.0] * 6 + [pytest.approx(10.0)]
    assert buckets.take("bob", 0.0) == 0.0, "each has his own"
    assert buckets.take("ann", 4.0) == pytest.approx(6.0)
    assert buckets.take("ann", 10.01) == 0.0
    assert buckets.take("ann", 10.01) > 0


def test_silence_saves_no_more_than_a_minute_s() -> None:
    buckets = TokenBuckets(2)
    buckets.take("ann", 0.0)
    assert [buckets.take("ann", 9_000.0) > 0 for _ in range(3)] == [False, False, True]


def test_many_callers_do_not_fill_the_memory() -> None:
    buckets = TokenBuckets(1)
    for number in range(20_000):
        buckets.take(str(number), 0.0)
    assert len(buckets._left) == 10_000
    assert buckets.take("19999", 0.0) > 0
