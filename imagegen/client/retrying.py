"""Retries: how long to wait before a request is made once more, and when to stop."""

from __future__ import annotations

import random
import time

from imagegen.errors import Busy

_FIRST_S, _LONGEST_S = 0.5, 30.0
_UNANSWERED_TRIES = 5  # an address without a service is told within seconds


class Retries:
    """For one call. A wait is what the service told (Retry-After), plus full jitter on top.

    Full jitter: anything between nothing and a bound that doubles, so that callers who were
    refused together do not come back together.
    """

    def __init__(self, patience_s: float) -> None:
        """patience_s: no wait ends later than so long after the first refusal; 0: no retries."""
        self._patience_s = patience_s
        self._give_up_at: float | None = None
        self._bound_s = _FIRST_S
        self._unanswered = 0

    def wait_s(self, refusal: Busy, *, answered: bool) -> float:
        """Seconds to wait; raises `refusal` when it is not worth asking again.

        answered: whether somebody said so, or nobody answered at all.
        """
        now = time.monotonic()
        if self._give_up_at is None:
            self._give_up_at = now + self._patience_s
        wait_s = random.uniform(0, self._bound_s)  # noqa: S311
        self._bound_s = min(2 * self._bound_s, _LONGEST_S)
        if answered:
            wait_s += refusal.retry_after_s
        else:
            self._unanswered += 1
        if self._unanswered >= _UNANSWERED_TRIES or now + wait_s > self._give_up_at:
            raise refusal
        return wait_s
