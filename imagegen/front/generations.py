"""RemoteGenerations: the same for the role `web`: rendered elsewhere, read from Storage here."""

from __future__ import annotations

from collections.abc import Callable

from imagegen.callers import Caller
from imagegen.errors import Cancelled, ImagegenError, NotCancellable
from imagegen.front.event_line import EventLine
from imagegen.front.service import RemoteService
from imagegen.generation import Generation, GenerationRequest
from imagegen.generations.archive import CANCEL_S, Archive, Listed, PictureFile
from imagegen.generations.deposits import Deposits
from imagegen.generations.events import Event, Queued, Stored
from imagegen.generations.followed import Followed
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import ListQuery
from imagegen.generations.running import TICK_S, EventsOfHeard, Following, Wanted


class RemoteGenerations:
    """Asking wakes the renderer; looking at what became of it does not."""

    def __init__(
        self, service: RemoteService, archive: Archive, deposits: Deposits | None = None
    ) -> None:
        """deposits: where those wait that nobody waits for, if not at the renderer's."""
        self._deposits = deposits
        self._service = service
        self._archive = archive

    def start(
        self,
        request: GenerationRequest,
        caller: Caller,
        *,
        key: str | None = None,
        lives_on: bool = False,
        previews: bool = False,
        is_retry: bool = False,
    ) -> Following:
        """As Generations'. With previews its events are listened to from the beginning; of what
        neither lives on nor is listened to, nothing is sent before somebody waits for it.
        """
        if lives_on and self._deposits is not None:
            return self.find(self._deposits.accept(request, caller, key), caller)
        headers = {} if key is None else {"Idempotency-Key": key}
        if is_retry:
            headers["X-Stainless-Retry-Count"] = "1"
        if lives_on:
            return self.find(self._service.accept(request, caller, headers), caller)
        if previews:
            return Listened(self._service.stream(request, caller, headers), self._archive)
        return Forwarded(
            lambda wanted: self._service.generate(
                request, caller=caller, wanted=wanted, headers=headers
            ),
            self._archive,
        )

    def find(self, generation_id: str, caller: Caller) -> Following:
        """Raises UnknownGeneration, for somebody else's too."""
        followed = self._archive.follow(generation_id, caller)
        if not self._archive.record(generation_id, caller).is_open:
            return followed
        return Overheard(followed, lambda after: self._service.follow(generation_id, caller, after))

    def record(self, generation_id: str, caller: Caller) -> GenerationRecord:
        """What is stored of it. Raises UnknownGeneration."""
        return self._archive.record(generation_id, caller)

    def position(self, generation_id: str) -> int | None:
        """Only the renderer knows."""
        return None

    def list(self, caller: Caller, query: ListQuery) -> Listed:
        """His own, newest first."""
        return self._archive.list(caller, query)

    def picture(
        self, generation_id: str, index: int, caller: Caller, *, clean: bool = False
    ) -> PictureFile:
        """As it is stored. Raises UnknownGeneration and UnknownImage."""
        return self._archive.picture(generation_id, index, caller, clean=clean)

    def cancel(self, generation_id: str, caller: Caller) -> GenerationRecord:
        """What has ended wakes nobody. Raises UnknownGeneration and NotCancellable."""
        if self._deposits is not None:  # then this service writes records, and need wake nobody
            return self._archive.cancel(generation_id, caller, CANCEL_S)
        record = self._archive.record(generation_id, caller)
        if not record.is_open:
            raise NotCancellable(f"{generation_id} has ended: {record.status}")
        self._service.cancel(generation_id, caller)
        return self._archive.record(generation_id, caller)


class Forwarded(EventsOfHeard):
    """A request that is sent once somebody waits for its result."""

    def __init__(self, ask: Callable[[Wanted], Generation], archive: Archive) -> None:
        self._ask = ask
        self._archive = archive
        self._generation: Generation | None = None

    @property
    def id(self) -> str:
        """Known once there is an answer."""
        return self.result().id

    def result(self, wanted: Wanted = lambda: True) -> Generation:
        if self._generation is None:
            self._generation = self._ask(wanted)
        return self._generation

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        """Nothing of its steps, as nobody listened from the beginning."""
        if self._generation is None and timeout_s <= 0:
            return []  # to look is not to ask
        generation = self.result()
        stored = [
            Event(index, Stored(index - 1, image))
            for index, image in enumerate(generation.images, 1)
        ]
        last = Event(len(stored) + 1, generation)
        return [event for event in (*stored, last) if event.number > after]

    def is_over(self, after: int) -> bool:
        return self._generation is not None and after > len(self._generation.images)

    def files(self) -> list[bytes]:
        return [self._archive.file(image) for image in self.result().images]

    def leave(self) -> None:
        """Who waits has the connection; it ends with him."""


class Listened(EventsOfHeard):
    """A request whose events are listened to from the beginning."""

    def __init__(self, line: EventLine, archive: Archive) -> None:
        self._line = line
        self._archive = archive

    @property
    def id(self) -> str:
        """What its first event says."""
        return next(
            event.what.generation_id for event in self.events() if isinstance(event.what, Queued)
        )

    def result(self, wanted: Wanted = lambda: True) -> Generation:
        after = 0
        while True:
            for event in self.heard(after, TICK_S):
                after = event.number
                if isinstance(event.what, Generation):
                    return event.what
                if isinstance(event.what, Exception):
                    raise event.what
            if not wanted():
                self.leave()
                raise Cancelled("the caller left")

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        return self._line.heard(after, timeout_s)

    def is_over(self, after: int) -> bool:
        return self._line.is_over(after)

    def files(self) -> list[bytes]:
        return [self._archive.file(image) for image in self.result().images]

    def leave(self) -> None:
        self._line.leave()


class Overheard(EventsOfHeard):
    """One that is in Storage and rendered elsewhere: its steps are heard as long as there is
    somebody to tell them, its end is read in any case.
    """

    def __init__(self, followed: Followed, listen: Callable[[int], EventLine]) -> None:
        """listen: to what follows an event's number."""
        self.id = followed.id
        self._followed = followed
        self._listen: Callable[[int], EventLine] | None = listen
        self._line: EventLine | None = None

    def result(self, wanted: Wanted = lambda: True) -> Generation:
        return self._followed.result(wanted)

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        try:
            if self._listen is not None and self._line is None:
                self._line = self._listen(after)
            if self._line is not None:
                return self._line.heard(after, timeout_s)
        except ImagegenError:
            self.leave()
        return self._followed.heard(after, timeout_s)

    def is_over(self, after: int) -> bool:
        return self._followed.is_over(after)

    def files(self) -> list[bytes]:
        return self._followed.files()

    def leave(self) -> None:
        line, self._line, self._listen = self._line, None, None
        if line is not None:
            line.leave()
