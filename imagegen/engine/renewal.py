"""Renewal: another render process in place of one that is well, and the way back if it is not."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from imagegen.engine.messages import Start


@dataclass
class Renewal:
    """Asked for; begun when nothing is in flight any more; over when the next one is ready or not.

    While it lasts nothing is admitted: what is submitted waits.
    """

    start: Start
    before: Start | None = None  # once begun: what is started again if `start` does not load
    ended: Future[str | None] = field(default_factory=Future)  # None, or why it went back

    @property
    def begun(self) -> bool:
        return self.before is not None
