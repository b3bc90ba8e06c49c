"""Running: a generation that this instance renders, and what any one that is followed can do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from imagegen.engine.process import Preview, Progress
from imagegen.errors import Cancelled
from imagegen.generation import MAX_SEED, GeneratedImage, Generation, GenerationRequest
from imagegen.generations.books import Books, KeptThroughout
from imagegen.generations.events import Event, EventLog, Look, Queued, Stored
from imagegen.generations.records import GenerationRecord

TICK_S = 0.15  # how often somebody who waits looks whether his caller is still there
Wanted = Callable[[], bool]
Stop = Literal["left", "cancelled", "lost", "given back"]


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

    def is_over(self, after: int) -> bool:
        """Whether nothing follows event `after`."""
        ...

    def leave(self) -> None:
        """Whoever asked for it waits no more. If nobody else does and it was not to live on, it
        is cancelled: its pictures leave the batch within one step.
        """
        ...

    def files(self) -> list[bytes]:
        """The pictures' files, once it has succeeded."""
        ...


class EventsOfHeard:
    """`events`, for whoever has `heard`."""

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        raise NotImplementedError

    def events(self, after: int = 0) -> Iterator[Event]:
        while True:
            for event in self.heard(after, 10.0):
                yield event
                after = event.number
                if event.is_last:
                    return


class Running(EventsOfHeard):
    """Shared by the thread that renders it and by all who wait for it."""

    def __init__(
        self,
        record: GenerationRecord,
        request: GenerationRequest,
        read: Callable[[GeneratedImage], bytes],
        books: Books,
    ) -> None:
        """request: with the pictures that were sent. read: a stored picture's file."""
        self.id = record.id
        self.request = request
        self.books = books
        self.log = EventLog(record.term)
        self.accepted = threading.Event()  # there is a place for it, or there was none
        self.refusal: Exception | None = None  # why there was none
        self.record = record  # as far as this instance knows; the stored one may be behind
        self._read = read
        self._lock = threading.Lock()  # guards what follows
        self._waiting = 1
        self._stopped: Stop | None = None
        self._files: dict[str, bytes] = {}  # by URI
        self._outcome: Generation | Exception | None = None
        self._ended = threading.Event()

    @property
    def lives_on(self) -> bool:
        """It is rendered though nobody waits for it."""
        return isinstance(self.books, KeptThroughout)

    @property
    def stopped(self) -> Stop | None:
        """Why its pictures shall leave the batch: the caller left, somebody cancelled it, another
        instance has it now (lost), or shall have it (given back).
        """
        return self._stopped

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    def join(self) -> bool:
        """Somebody else waits too; False where it is too late for that."""
        with self._lock:
            if self._stopped or self._ended.is_set():
                return False
            self._waiting += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._waiting -= 1
            if self._waiting <= 0 and not self.lives_on:
                self._stopped = "left"

    def stop(self, why: Stop) -> None:
        """Whoever waits for it is told; its pictures leave the batch within one step."""
        with self._lock:
            self._stopped = self._stopped or why

    def wait_ended(self, timeout_s: float) -> bool:
        return self._ended.wait(timeout_s)

    def result(self, wanted: Wanted = lambda: True) -> Generation:
        try:
            return self.outcome(wanted)
        except Cancelled:
            if not self.has_ended:
                self.leave()
            raise

    def outcome(self, wanted: Wanted) -> Generation:
        """The same for somebody on whom nothing depends."""
        while not self._ended.wait(TICK_S):
            if not wanted():
                raise Cancelled("the caller left")
        if isinstance(self._outcome, Generation):
            return self._outcome
        assert self._outcome is not None, "it has ended"
        raise self._outcome

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        return self.log.after(after, timeout_s)

    def is_over(self, after: int) -> bool:
        return self.log.is_over(after)

    def files(self) -> list[bytes]:
        generation = self.outcome(lambda: True)
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
        self.log.add(Look(event.index, event) if isinstance(event, Preview) else event)

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
        """record: its last state, or an open one: it goes on elsewhere."""
        self.record, self._outcome = record, outcome
        if record.is_open and self.refusal is None:
            self.log.cut()
        else:
            self.log.add(outcome)
        self._ended.set()
        self.accepted.set()


class Onlooker(EventsOfHeard):
    """Somebody who follows what others wait for: whether he leaves makes no difference."""

    def __init__(self, running: Running) -> None:
        self.id = running.id
        self._running = running

    def result(self, wanted: Wanted = lambda: True) -> Generation:
        return self._running.outcome(wanted)

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        return self._running.heard(after, timeout_s)

    def is_over(self, after: int) -> bool:
        return self._running.is_over(after)

    def files(self) -> list[bytes]:
        return self._running.files()

    def leave(self) -> None:
        """Nothing hangs on it."""
