"""Door: who is inside, whether anybody new may come in, and how long it takes to leave."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from imagegen.errors import Draining

_MARGIN = 1.25
_REMEMBERED = 20  # of the last ways out


class Door:
    """Counts requests in flight. Once closed it stays closed."""

    def __init__(self, keep_s: float = 0.0) -> None:
        """keep_s: what it takes to store a picture, as far as that is known at the start."""
        self._lock = threading.Lock()
        self._inside = 0
        self._closed = False
        self._answers_by: float | None = None
        self._keep_s = deque([keep_s], _REMEMBERED)
        self._record_s = deque([keep_s], _REMEMBERED)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def inside(self) -> int:
        """Requests that have not been answered yet."""
        return self._inside

    @property
    def keep_s(self) -> float:
        """What a picture may take from the renderer to the store, and the record of it all after
        that: no longer than the last ones.

        And a quarter more: the next upload may be the slowest.
        """
        return (max(self._keep_s) + max(self._record_s)) * _MARGIN

    def close(self, answers_by: float | None = None) -> None:
        """From now on every new request is refused; those inside go on.

        answers_by: monotonic; no picture begins its way to the store that would not be there then.
        """
        with self._lock:
            self._closed = True
            if answers_by is not None:
                self._answers_by = answers_by

    def check_open(self) -> None:
        """For whoever waits, not inside, for what happens elsewhere. Raises Draining."""
        if self._closed:
            raise _draining()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """A request is in flight within. Raises Draining."""
        with self._lock:
            if self._closed:
                raise _draining()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """A picture is encoded and stored within. Raises Draining where there is no time for it."""
        began = time.monotonic()
        if self._answers_by is not None and began + self.keep_s > self._answers_by:
            raise _draining()
        yield
        self._keep_s.append(time.monotonic() - began)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """What became of a request is written within."""
        began = time.monotonic()
        yield
        self._record_s.append(time.monotonic() - began)


def _draining() -> Draining:
    return Draining("this instance is shutting down; ask again", retry_after_s=1)
