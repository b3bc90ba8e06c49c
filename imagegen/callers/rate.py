"""TokenBuckets: how often a caller may ask. No clock, no threads."""

from __future__ import annotations

from collections import OrderedDict

_REMEMBERED = 10_000  # callers; who was silent longest is forgotten first, and begins anew


class TokenBuckets:
    """A caller may ask so often a minute, and as often at once as he has been silent for."""

    def __init__(self, per_minute: int) -> None:
        self._most = float(per_minute)
        self._per_s = per_minute / 60
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, as of when

    def take(self, caller: str, now: float) -> float:
        """0 where he may ask; else the seconds until he may, and nothing is taken."""
        tokens, then = self._left.get(caller, (self._most, now))
        tokens = min(self._most, tokens + max(0.0, now - then) * self._per_s)
        wait_s = 0.0 if tokens >= 1 else (1 - tokens) / self._per_s
        self._left[caller] = (tokens if wait_s else tokens - 1, now)
        self._left.move_to_end(caller)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        return wait_s
