"""Followed: a generation that another instance renders, or that has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from imagegen.door import Door
from imagegen.errors import Cancelled, DeadlineExceeded, ImagegenError
from imagegen.generation import GeneratedImage, Generation
from imagegen.generations.events import NUMBERS_PER_TERM, Event, EventLog, Queued, Stored
from imagegen.generations.records import GenerationRecord
from imagegen.generations.running import TICK_S, EventsOfHeard, Wanted

POLL_S = 0.5  # how often a record is read that another instance may change


class Followed(EventsOfHeard):
    """Known by its record alone: another instance renders it, or it has ended."""

    def __init__(
        self,
        generation_id: str,
        find: Callable[[], GenerationRecord],
        read: Callable[[GeneratedImage], bytes],
        limit_s: float,
        door: Door,
        log: EventLog | None = None,
    ) -> None:
        """find: the record as of now. limit_s: how long to wait for its end; not past the closing
        of this instance's `door`. log: where it ended here a short while ago.
        """
        self.id = generation_id
        self._find = find
        self._read = read
        self._limit_s = limit_s
        self._door = door
        self._log = log
        self._next_look = 0.0

    def leave(self) -> None:
        """It does not depend on us."""

    def result(self, wanted: Wanted = lambda: True) -> Generation:
        until, next_look = time.monotonic() + self._limit_s, 0.0
        while True:
            now = time.monotonic()
            if now >= next_look:
                record, next_look = self._find(), now + POLL_S
                if not record.is_open:
                    return _told(record)
            if not wanted():
                raise Cancelled("the caller left")
            self._door.check_open()
            if now > until:
                raise DeadlineExceeded(f"{self.id} was not ready within {self._limit_s:g} s")
            time.sleep(TICK_S)

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        """Nobody here knows of steps: that it waits, and how it ended."""
        if self._log is not None:
            return self._log.after(after, timeout_s)
        until = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            if now >= self._next_look:
                record, self._next_look = self._find(), now + POLL_S
                if not record.is_open:
                    past = min(after, _last_number(record) - 1)  # see EventLog.after
                    return [event for event in _last_events(record) if event.number > past]
                if after == 0:
                    return [Event(1, Queued(self.id, 0))]
            if now >= until:
                return []
            time.sleep(min(until, self._next_look) - now)

    def is_over(self, after: int) -> bool:
        if self._log is not None:
            return self._log.is_over(after)
        record = self._find()
        return not record.is_open and after >= _last_number(record)

    def files(self) -> list[bytes]:
        return [self._read(image) for image in self.result().images]


def _told(record: GenerationRecord) -> Generation:
    if record.status == "succeeded":
        return record.generation()
    raise _error_of(record)


def _error_of(record: GenerationRecord) -> ImagegenError:
    if record.error is not None:
        return record.error.error()
    return Cancelled("the generation was cancelled")


def _last_events(record: GenerationRecord) -> Iterator[Event]:
    """How an EventLog ends, past all numbers of its term: nobody here knows how far it came."""
    last = _last_number(record)
    for index, image in enumerate(record.images):
        yield Event(last - len(record.images) + index, Stored(index, image))
    yield Event(last, record.generation() if record.status == "succeeded" else _error_of(record))


def _last_number(record: GenerationRecord) -> int:
    return (record.term + 1) * NUMBERS_PER_TERM
