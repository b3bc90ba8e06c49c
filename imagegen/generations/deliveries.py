"""Deliveries: the queue calls for a generation, and is answered once it has ended.

A queue delivers twice, late, out of order, and again because our answer was lost. None of that
matters: who renders is decided by the lease in Storage, and what has ended has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from imagegen.callers import Deliverer
from imagegen.errors import Cancelled, Draining, ImagegenError, QueueFull
from imagegen.generations.followed import POLL_S
from imagegen.generations.records import Failure, GenerationRecord
from imagegen.generations.register import Held, Register
from imagegen.generations.running import Running, Wanted

NEW_BRAND_S = 300.0  # after a brand of the bucket's is at the pages, it must be here too
_AGAIN_S = 5.0


class Deliveries:
    """Used by the threads of those who call."""

    def __init__(
        self,
        deliverer: Deliverer,
        register: Register,
        here: Callable[[str], Running | None],
        take: Callable[[Held], bool],
        closed: Callable[[], bool],
        knows: Callable[[str], bool],
    ) -> None:
        """deliverer: who may call. here: one that this instance renders. take: has it rendered
        here, if there is room and nobody is quicker. closed: this instance ends. knows: a brand.
        """
        self.deliverer = deliverer
        self._register = register
        self._here = here
        self._take = take
        self._closed = closed
        self._knows = knows

    def deliver(self, generation_id: str, wanted: Wanted, *, is_last: bool) -> None:
        """Returns once it has ended, in whatever way, or if nobody knows it.

        Raises what may pass: deliver it again, unless this was the last time; then that is what it
        failed with. Raises Cancelled once `wanted` says no; it goes on all the same.
        """
        try:
            while (held := self._open(generation_id)) is not None:
                self._advance(held, wanted)
        except Cancelled:
            raise
        except ImagegenError as error:
            if not is_last:
                raise
            self._give_up(generation_id, error)

    def _open(self, generation_id: str) -> Held | None:
        held = self._register.find(generation_id)
        return None if held is None or not held.record.is_open else held

    def _advance(self, held: Held, wanted: Wanted) -> None:
        """Waits for its end here, or has it rendered here, or waits a moment for who has it."""
        record = held.record
        if (running := self._here(record.id)) is not None:
            self._wait_for(running, wanted)
        elif self._closed():
            raise Draining("this instance is shutting down; ask again", retry_after_s=1)
        elif not wanted():
            raise Cancelled("the queue waits no longer")
        elif record.is_held(time.time()):
            time.sleep(POLL_S)
        elif self._is_ahead(record):
            raise QueueFull(f"the brand {record.request.brand} is not here yet", _AGAIN_S)
        elif not self._take(held) and self._is_as_it_was(held):
            raise QueueFull("there is no room here just now", _AGAIN_S)

    def _is_ahead(self, record: GenerationRecord) -> bool:
        """Accepted by pages that have had a look at the brands' bucket since this instance has."""
        age_s = time.time() - record.created_at.timestamp()
        return age_s < NEW_BRAND_S and not self._knows(record.request.brand)

    def _wait_for(self, running: Running, wanted: Wanted) -> None:
        """Raises what it was given back with; what it failed with is in its record."""
        try:
            running.outcome(wanted)
        except ImagegenError:
            if not running.has_ended or self._open(running.id) is not None:
                raise

    def _is_as_it_was(self, seen: Held) -> bool:
        """Or somebody else was quicker."""
        now = self._register.find(seen.record.id)
        return now is not None and now.version == seen.version

    def _give_up(self, generation_id: str, error: ImagegenError) -> None:
        """What another instance has meanwhile is left to it."""
        held = self._open(generation_id)
        if held is None:
            return
        said = f"{error.detail} (it was tried until the queue's last delivery)"
        failure = Failure(code=error.code, detail=said)

        def failed(record: GenerationRecord) -> GenerationRecord:
            is_somebodys = not record.is_open or record.is_held(time.time())
            return record if is_somebodys else record.failed(failure)

        ended = self._register.change(held, failed).record
        if not ended.is_open:
            self._register.close(ended.id, has_inputs=ended.has_inputs)
