"""Books: what is written of a generation while it is rendered, so that a promise outlives us.

What was acknowledged before its end (202, an event, a key) is in Storage before that, under a
lease. Whoever waits on his connection is promised nothing until he is answered: his generation is
written once, when it ends.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from imagegen.errors import Cancelled, StorageUnavailable
from imagegen.generation import GenerationRequest
from imagegen.generations.records import GenerationRecord, Lease
from imagegen.generations.register import Change, Held, Register

LEASE_S = 15.0  # a holder that has been silent for so long has died
RENEW_S = 5.0
_log = logging.getLogger(__name__)


class Taken(Cancelled):
    """Another request has made the generation of this key meanwhile: this one is not needed."""


class Lost(Exception):
    """Another instance holds it now, or it has ended there."""


class Books(Protocol):
    """Used by the generation's thread. Methods raise StorageUnavailable."""

    def accepted(self, record: GenerationRecord, request: GenerationRequest) -> None:
        """There is a place for it. Raises Taken."""
        ...

    def ended(self, record: GenerationRecord, change: Change) -> GenerationRecord:
        """`change` is its last one; record: as it is known here. What is stored from now on."""
        ...


class WrittenOnce:
    """Of a generation that ends with its caller."""

    def __init__(self, register: Register) -> None:
        self._register = register

    def accepted(self, record: GenerationRecord, request: GenerationRequest) -> None:
        """Nothing is promised yet."""

    def ended(self, record: GenerationRecord, change: Change) -> GenerationRecord:
        ended = change(record)
        self._register.create(ended)
        return ended


class KeptThroughout:
    """Of a generation that lives on, held under a lease by this instance."""

    def __init__(self, register: Register, holder: str, held: Held | None = None) -> None:
        """held: where it was adopted."""
        self._register = register
        self._holder = holder
        self._lock = threading.Lock()  # one change at a time: guards `_held`
        self._held = held

    @property
    def is_kept(self) -> bool:
        """Whether it is in Storage: then its end has to be, too."""
        return self._held is not None

    def accepted(self, record: GenerationRecord, request: GenerationRequest) -> None:
        """Whoever is told of it now can rely on it. Raises Taken."""
        if self._held is not None:
            return
        leased = record.model_copy(update={"lease": self._lease()})
        with self._lock:
            self._register.keep_inputs(leased.id, request)
            self._register.open(leased.id)
            self._held = self._register.create(leased)
        if self._held is None:
            raise Taken

    def ended(self, record: GenerationRecord, change: Change) -> GenerationRecord:
        """Raises Settled where it has ended already, and what `change` raises."""
        ended = self._change(change)
        try:
            self._register.close(ended.id, has_inputs=ended.has_inputs)
        except StorageUnavailable as error:  # whoever looks for something to do will find it
            _log.warning("%s has ended and counts as open: %s", ended.id, error)
        return ended

    def renew(self, known: GenerationRecord) -> GenerationRecord:
        """Still here. known: as it is here. Returns what is stored. Raises Settled and Lost."""
        is_running = known.status == "running"

        def renewed(record: GenerationRecord) -> GenerationRecord:
            mine = self.mine(record).renewed(self._lease().until)
            return mine.begun() if is_running else mine

        return self._change(renewed)

    def release(self, after_s: float, *, unharmed: bool) -> None:
        """Another instance may go on, `after_s` from now on. Raises Settled and Lost."""
        again_at = time.time() + after_s
        released = self._change(
            lambda record: self.mine(record).released(again_at, unharmed=unharmed)
        )
        self._register.ring(released.id)

    def mine(self, record: GenerationRecord) -> GenerationRecord:
        """The record. Raises Lost where somebody else holds it."""
        if record.is_open and not record.is_held_by(self._holder):
            raise Lost
        return record

    def _lease(self) -> Lease:
        return Lease(holder=self._holder, until=time.time() + LEASE_S)

    def _change(self, change: Change) -> GenerationRecord:
        with self._lock:
            assert self._held is not None, "it is kept"
            self._held = self._register.change(self._held, change)
            return self._held.record
