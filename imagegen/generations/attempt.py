"""Attempt: one instance's try at a generation, from its place in the queue to its last word."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from imagegen.callers import Caller
from imagegen.errors import (
    Cancelled,
    Draining,
    ImagegenError,
    ModelFailed,
    ModelLoading,
    QueueFull,
    StorageUnavailable,
)
from imagegen.generation import Generation, GenerationRequest
from imagegen.generations.books import KeptThroughout, Lost
from imagegen.generations.records import MAX_ATTEMPTS, Failure, GenerationRecord, Settled
from imagegen.generations.register import Change, Register
from imagegen.generations.running import Running
from imagegen.reception import Identity, Reception
from imagegen.service import ImageService

AGAIN_S = 5.0  # until something else than this instance's end may have passed
_LEAST_S = 0.001  # of a deadline that is over
_UNHARMED = (Draining, QueueFull)  # not the generation's fault: another instance goes on
_PASSING = (*_UNHARMED, StorageUnavailable, ModelFailed, ModelLoading)
_log = logging.getLogger(__name__)
Follow = Callable[[str, Caller], Generation]


class Attempt:
    """Runs on a thread of its own; whatever happens, whoever waits is told."""

    def __init__(
        self,
        running: Running,
        caller: Caller,
        service: ImageService,
        register: Register,
        follow: Follow,
    ) -> None:
        """follow: waits for the end of one that another instance has."""
        self._running = running
        self._caller = caller
        self._service = service
        self._register = register
        self._follow = follow

    def run(self, *, previews: bool, position: Callable[[str], int | None]) -> None:
        """position: pictures before it. Returns once everybody is told."""
        running, record = self._running, self._running.record

        def accept(preset_version: str) -> None:
            known = running.note(lambda known: known.prepared(preset_version))
            running.books.accepted(known, running.request)
            running.place_found(position(record.id) or 0)
            self._list(known)

        try:
            generation = self._service.generate(
                _with_time_left(running.request, record),
                caller=self._caller,
                wanted=lambda: running.stopped is None,
                on_image=running.keep,
                on_event=running.hear,
                previews=previews,
                reception=Reception(Identity(record.id, record.created_at), accept),
            )
            self._end(generation, lambda record: record.succeeded(generation))
        except Exception as error:
            self._end_badly(error)

    def _list(self, record: GenerationRecord) -> None:
        """While its first steps are made."""
        try:
            self._register.index(record)
        except StorageUnavailable as error:
            _log.warning("%s is not in its owner's list: %s", record.id, error)

    def _end_badly(self, error: Exception) -> None:
        """Every way but success."""
        running = self._running
        books = running.books if isinstance(running.books, KeptThroughout) else None
        if not running.accepted.is_set() and not (books is not None and books.is_kept):
            running.refuse(error)
        elif running.stopped == "lost":
            self._end_as_elsewhere()
        elif books is not None and self._goes_on(error):
            self._release(books, error)
        elif books is None and isinstance(error, (Draining, StorageUnavailable)):
            running.end(error, running.record.failed(Failure.of(error)))  # as good as refused
        elif isinstance(error, Cancelled):
            self._end(error, lambda record: self._mine(record).cancelled())
        else:
            self._end(error, lambda record: self._mine(record).failed(Failure.of(error)))

    def _goes_on(self, error: Exception) -> bool:
        """Whether it may end better at another instance, or later."""
        if self._running.stopped == "given back" or isinstance(error, _UNHARMED):
            return True
        return isinstance(error, _PASSING) and self._running.record.attempt < MAX_ATTEMPTS

    def _release(self, books: KeptThroughout, error: Exception) -> None:
        given_back = self._running.stopped == "given back"
        if given_back:
            error = Draining("this instance is shutting down; ask again", retry_after_s=1)
        unharmed = given_back or isinstance(error, _UNHARMED)
        after_s = 0.0 if isinstance(error, Draining) else AGAIN_S
        try:
            books.release(after_s, unharmed=unharmed)
        except (Lost, Settled):
            self._end_as_elsewhere()
            return
        except StorageUnavailable as unavailable:  # its lease will run out
            _log.warning("%s is not given back: %s", self._running.id, unavailable)
        self._running.end(error, self._running.record)

    def _end(self, outcome: Generation | Exception, change: Change) -> None:
        """Written first, then told."""
        running, record = self._running, self._running.record
        try:
            with self._service.door.recording():
                ended = running.books.ended(record, change)
        except (Lost, Settled):
            self._end_as_elsewhere()
        except StorageUnavailable as error:
            _log.warning("%s: its end is not kept: %s", running.id, error)
            known = record if running.lives_on else change(record)  # its lease will run out
            running.end(outcome if isinstance(outcome, Exception) else error, known)
        else:
            running.end(outcome, ended)

    def _end_as_elsewhere(self) -> None:
        """Another instance has it, or had: whoever waits here is told what becomes of it there."""
        running = self._running
        try:
            generation = self._follow(running.id, self._caller)
        except ImagegenError as error:
            outcome: Generation | Exception = error
        else:
            outcome = generation
        held = self._register.find(running.id)
        running.end(outcome, running.record if held is None else held.record)

    def _mine(self, record: GenerationRecord) -> GenerationRecord:
        books = self._running.books
        return books.mine(record) if isinstance(books, KeptThroughout) else record


def _with_time_left(request: GenerationRequest, record: GenerationRecord) -> GenerationRequest:
    """A deadline that the caller set counts from when he asked, whoever goes on with it."""
    if request.deadline_s is None or record.term == 0:
        return request
    left_s = request.deadline_s - (time.time() - record.created_at.timestamp())
    return request.model_copy(update={"deadline_s": max(left_s, _LEAST_S)})
