"""RowQueue: which row is asked for next, and when, where the source said "not now"."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from imagegen.batch.script import ScriptRow
from imagegen.errors import Busy

_LONGEST_WAIT_S = 60.0
_SHORTEST_WAIT_S = 0.2


class RowQueue:
    """Plain data; times are monotonic. A refusal holds all rows back, for the others would fare
    no better; an answer lets them go, for it has made room for one.
    """

    def __init__(self, rows: Sequence[ScriptRow], patience_s: float) -> None:
        """patience_s: for how long nothing but refusals is borne."""
        self._rows = deque(rows)
        self._patience_s = patience_s
        self._held_until = 0.0
        self._give_up_at: float | None = None

    @property
    def waits(self) -> bool:
        """Whether there are rows that nobody asks for at the moment."""
        return bool(self._rows)

    def take(self, now: float) -> ScriptRow | None:
        """The next row, if one may be asked for now."""
        return self._rows.popleft() if self._rows and now >= self._held_until else None

    def pause_s(self, now: float) -> float | None:
        """Seconds until `take` may have one; None where only an answer can change that."""
        return max(0.0, self._held_until - now) if self._rows and self._held_until > now else None

    def answered(self) -> None:
        """Some row has been answered, with pictures or with a failure of its own."""
        self._held_until = 0.0
        self._give_up_at = None

    def refused(self, row: ScriptRow, refusal: Busy, now: float) -> bool:
        """Takes the row back. Says whether patience would end before it may be asked for again."""
        self._rows.appendleft(row)
        # Jitter keeps runs that were refused together from coming back together.
        wait_s = max(_SHORTEST_WAIT_S, refusal.retry_after_s) * random.uniform(1, 1.3)  # noqa: S311
        self._held_until = now + min(wait_s, _LONGEST_WAIT_S)
        if self._give_up_at is None:
            self._give_up_at = now + self._patience_s
        return self._held_until > self._give_up_at
