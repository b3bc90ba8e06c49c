"""RemoteGenerations: the same for the role `web`: rendered elsewhere, read from Storage here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from imagegen.callers import Caller
from imagegen.errors import ImagegenError
from imagegen.front.service import RemoteService
from imagegen.generation import Generation, GenerationRequest
from imagegen.generations.archive import Archive, Listed
from imagegen.generations.events import Event, Stored
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import ListQuery
from imagegen.generations.running import Followed, Wanted


class RemoteGenerations:
    """Asking wakes the renderer; looking at what became of it does not."""

    def __init__(self, service: RemoteService, archive: Archive) -> None:
        self._service = service
        self._archive = archive

    def start(
        self,
        request: GenerationRequest,
        caller: Caller,
        *,
        previews: bool = False,
        is_retry: bool = False,
    ) -> Forwarded:
        """Nothing is sent before somebody waits for the result or its events."""
        return Forwarded(
            lambda wanted: self._service.generate(request, caller=caller, wanted=wanted),
            self._archive,
        )

    def find(self, generation_id: str, caller: Caller) -> Followed:
        """Raises UnknownGeneration, for somebody else's too."""
        return self._archive.follow(generation_id, caller)

    def record(self, generation_id: str, caller: Caller) -> GenerationRecord:
        """What is stored of it. Raises UnknownGeneration."""
        return self._archive.record(generation_id, caller)

    def position(self, generation_id: str) -> int | None:
        """Only the renderer knows."""
        return None

    def list(self, caller: Caller, query: ListQuery) -> Listed:
        """His own, newest first."""
        return self._archive.list(caller, query)


class Forwarded:
    """A request on its way to the renderer."""

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

    def files(self) -> list[bytes]:
        return [self._archive.file(image) for image in self.result().images]

    def heard(self, after: int, timeout_s: float) -> list[Event]:
        if self._generation is None and timeout_s <= 0:
            return []  # to look is not to ask
        return [event for event in self.events() if event.number > after]

    def events(self, after: int = 0) -> Iterator[Event]:
        try:
            generation = self.result()
        except ImagegenError as error:
            yield Event(after + 1, error)
            return
        for index, image in enumerate(generation.images):
            yield Event(index + 1, Stored(index, image))
        yield Event(len(generation.images) + 1, generation)

    def leave(self) -> None:
        """Who waits has the connection; it ends with him."""
