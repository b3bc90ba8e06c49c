"""Running: a generation that this instance renders. Followed: one that is kept in Storage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from imagegen.engine.process import Preview, Progress
from imagegen.errors import Cancelled, DeadlineExceeded, ImagegenError
from imagegen.generation import MAX_SEED, GeneratedImage, Generation, GenerationRequest
from imagegen.generations.events import Event, EventLog, Queued, Stored
from imagegen.generations.records import GenerationRecord

TICK_S = 0.15  # how often somebody who waits looks whether his caller is still there
POLL_S = 0.5  # how often a record is read that another instance may change
Wanted = Callable[[], bool]


class Following(Protocol):
    """What `Generations.start` and `find` give: the same, wherever it is rendered."""

    @property
    def id(self) -> str: ...
    def result(self, wanted: Wanted = ...) -> Generation:
        """Waits for the end. Raises what it ended with, and Cancelled once `wanted` says no."""
        ...

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        """Events past number `after`; waits for one for up to `timeout_s`."""
        ...

    def events(self, after: int = 0) -> Iterator[Event]:
        """All events past `after` as they come, up to the last one."""
        ...

    def leave(self) -> None:
        """Whoever asked for it waits no more. If nobody else does and it was not to live on, it
        is cancelled: its pictures leave the batch within one step.
        """
        ...

    def files(self) -> list[bytes]:
        """The pictures' files, once it has succeeded."""
        ...


class _Events:
    def heard(self, after: int, timeout_s: float) -> list[Event]:
        raise NotImplementedError

    def events(self, after: int = 0) -> Iterator[Event]:
        while True:
            for event in self.heard(after, 10.0):
                yield event
                after = event.number
                if event.is_last:
                    return


class Running(_Events):
    """Shared by the thread that renders it and by all who wait for it."""

    def __init__(
        self,
        record: GenerationRecord,
        request: GenerationRequest,
        read: Callable[[GeneratedImage], bytes],
        *,
        lives_on: bool,
    ) -> None:
        """request: with the pictures that were sent. read: a stored picture's file. lives_on: it is
        rendered though nobody waits for it.
        """
        self.id = record.id
        self.request = request
        self.lives_on = lives_on
        self.log = EventLog(record.term)
        self.accepted = threading.Event()  # there is a place for it, or there was none
        self.refusal: Exception | None = None  # why there was none
        self.record = record  # as far as this instance knows; the stored one may be behind
        self._read = read
        self._lock = threading.Lock()  # guards what follows
        self._waiting = 1
        self._cancelled = False
        self._files: dict[str, bytes] = {}  # by URI
        self._outcome: Generation | Exception | None = None
        self._ended = threading.Event()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    def join(self) -> bool:
        """Somebody else waits too; False where it is too late for that."""
        with self._lock:
            if self._cancelled or self._ended.is_set():
                return False
            self._waiting += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._waiting -= 1
            if self._waiting <= 0 and not self.lives_on:
                self._cancelled = True

    def cancel(self) -> None:
        """Whoever waits for it is told; its pictures leave the batch within one step."""
        self._cancelled = True

    def result(self, wanted: Wanted = lambda: True) -> Generation:
        while not self._ended.wait(TICK_S):
            if not wanted():
                self.leave()
                raise Cancelled("the caller left")
        if isinstance(self._outcome, Generation):
            return self._outcome
        assert self._outcome is not None, "it has ended"
        raise self._outcome

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        return self.log.after(after, timeout_s)

    def files(self) -> list[bytes]:
        generation = self.result()
        return [
            self._files.get(image.storage_uri) or self._read(image) for image in generation.images
        ]

    def place_found(self, position: int) -> None:
        """position: pictures before it."""
        self.log.open(Queued(self.id, position))
        self.accepted.set()

    def note(self, change: Callable[[GenerationRecord], GenerationRecord]) -> GenerationRecord:
        """Changes what is known of it here."""
        with self._lock:
            self.record = change(self.record)
            return self.record

    def hear(self, event: Progress | Preview) -> None:
        """On the engine's thread."""
        if self.record.status == "queued":
            self.note(lambda record: record.begun() if record.is_open else record)
        self.log.add(event)

    def keep(self, image: GeneratedImage, data: bytes) -> None:
        """A picture is stored."""
        asked = self.record.request.seed
        assert asked is not None, "it is said at acceptance"
        index = (image.seed - asked) % (MAX_SEED + 1)
        self._files[image.storage_uri] = data
        self.log.add(Stored(index, image))

    def refuse(self, refusal: Exception) -> None:
        """There is no place for it; nothing of it is kept."""
        self.refusal = refusal
        self.end(refusal, self.record)

    def end(self, outcome: Generation | Exception, record: GenerationRecord) -> None:
        self.record, self._outcome = record, outcome
        self.log.add(outcome)
        self._ended.set()
        self.accepted.set()


class Followed(_Events):
    """Known by its record alone: another instance renders it, or it has ended."""

    def __init__(
        self,
        generation_id: str,
        find: Callable[[], GenerationRecord],
        read: Callable[[GeneratedImage], bytes],
        limit_s: float,
        log: EventLog | None = None,
    ) -> None:
        """find: the record as of now. limit_s: how long to wait for its end. log: where it ended
        here a short while ago.
        """
        self.id = generation_id
        self._find = find
        self._read = read
        self._limit_s = limit_s
        self._log = log

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
            if now > until:
                raise DeadlineExceeded(f"{self.id} was not ready within {self._limit_s:g} s")
            time.sleep(TICK_S)

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        """Nobody here knows of steps: that it waits, and how it ended.

        The end is told whatever `after` says: numbers of another instance mean nothing here.
        """
        if self._log is not None:
            return self._log.after(after, timeout_s)
        record = self._find()
        if record.is_open and after == 0:
            return [Event(1, Queued(self.id, 0))]
        until = time.monotonic() + timeout_s
        while record.is_open and time.monotonic() < until:
            time.sleep(min(POLL_S, timeout_s))
            record = self._find()
        return [] if record.is_open else list(_last_events(record, after))

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


def _last_events(record: GenerationRecord, after: int) -> Iterator[Event]:
    """What an EventLog would have ended with; the same numbers at every look."""
    number = max(after, 1)
    for index, image in enumerate(record.images):
        number += 1
        yield Event(number, Stored(index, image))
    last = record.generation() if record.status == "succeeded" else _error_of(record)
    yield Event(number + 1, last)
