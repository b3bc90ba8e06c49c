"""Deposits: generations are accepted without a renderer, for whichever instance is called for them.

Written first, then put into the queue. Where that takes nothing, instances that are awake find them
in Storage by themselves: what was acknowledged is never left lying.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from imagegen.callers import Caller
from imagegen.cloud_tasks import CloudTasks
from imagegen.errors import ServiceUnreachable, StorageUnavailable
from imagegen.generation import GenerationRequest, ModelInfo
from imagegen.generations.acceptance import check_same, new_record
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import Held, Register
from imagegen.presets import PresetCatalog
from imagegen.tracing import follow_generation

UNHEARD_S = 3_600.0  # after which nobody waits any longer for the queue to call for it
_SOON_S = 1.0
_log = logging.getLogger(__name__)


class Deposits:
    """Used by the threads of those who ask."""

    def __init__(
        self,
        register: Register,
        catalog: PresetCatalog,
        model: Callable[[], ModelInfo | None],
        queue: CloudTasks,
        deadline_s: float,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """model: if it is known. deadline_s: the longest that rendering may take. wake: starts an
        instance that renders, where the queue cannot and this is none.
        """
        self._register = register
        self._catalog = catalog
        self._model = model
        self._queue = queue
        self._deadline_s = deadline_s
        self._wake = wake

    def prepare(self) -> None:
        """Imports what the first caller would have to wait for; returns at once."""
        self._queue.prepare()

    def accept(self, request: GenerationRequest, caller: Caller, key: str | None) -> str:
        """The id of a generation that somebody will render. Under the same key it is the same.

        Raises what is wrong with the request, as far as that is known without the model, and
        StorageUnavailable.
        """
        held = self._kept(request, caller, key)
        follow_generation(held.record.id)
        if held.record.is_open and not held.record.is_held(time.time()):
            self._send(held)
        return held.record.id

    def _checked(self, request: GenerationRequest, caller: Caller) -> str:
        """The preset's version."""
        preset = self._catalog.seen_by(caller).get(request.brand)
        preset.refuse_words(request)
        model = self._model()
        if model is not None and request.init_image is None:  # a picture is opened where it is used
            preset.resolve(request, model)
        return preset.version

    def _kept(self, request: GenerationRequest, caller: Caller, key: str | None) -> Held:
        version = self._checked(request, caller)
        record = new_record(request, caller, key).deposited(version, time.time() + UNHEARD_S)
        held = None if key is None else self._register.find(record.id)
        if held is None:
            self._register.keep_inputs(record.id, request)
            self._register.open(record.id)
            held = self._register.create(record)
            if held is not None:
                self._register.index(record)
                return held
            held = self._register.find(record.id)
        if held is None:
            raise StorageUnavailable(f"{record.id} can neither be made nor found", _SOON_S)
        check_same(held.record, record)
        return held

    def _send(self, held: Held) -> None:
        record = held.record
        longest_s = min(record.request.deadline_s or self._deadline_s, self._deadline_s)
        try:
            self._queue.put(record.id, record.created_at, longest_s)
        except ServiceUnreachable as error:
            _log.error("%s; whichever instance is awake will take it up", error)
            self._register.change(held, _left_to_anybody)
            self._register.ring(record.id)
            self._wake()


def _left_to_anybody(record: GenerationRecord) -> GenerationRecord:
    now = time.time()
    if not record.is_open or record.is_held(now):
        return record  # the task is there all the same, and somebody was called
    return record.released(now, unharmed=False)
