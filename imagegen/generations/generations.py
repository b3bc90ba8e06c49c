"""Generations: the one way to pictures for every front door, and to what became of them."""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
from collections import OrderedDict

from imagegen.callers import Caller
from imagegen.errors import Cancelled, StorageUnavailable
from imagegen.generation import MAX_SEED, GenerationRequest
from imagegen.generations.archive import Archive, Listed, is_his
from imagegen.generations.events import EventLog
from imagegen.generations.records import Failure, GenerationRecord, without_pictures
from imagegen.generations.register import ListQuery
from imagegen.generations.running import Following, Running
from imagegen.reception import Identity, Reception
from imagegen.service import ImageService
from imagegen.tracing import Trace, current_trace, following

_RECENT = 200  # ended generations whose events can still be heard
_log = logging.getLogger(__name__)


class Generations:
    """Each is rendered by a thread of its own; whoever asked waits for it, or does not."""

    def __init__(self, service: ImageService, archive: Archive) -> None:
        self._service = service
        self._archive = archive
        self._register = archive.register
        self._lock = threading.Lock()  # guards the next three
        self._running: dict[str, Running] = {}  # in the order of their acceptance
        self._twins: dict[tuple[str, str], Running] = {}
        self._recent: OrderedDict[str, EventLog] = OrderedDict()
        self.joined = 0

    def __len__(self) -> int:
        """Those that have not ended."""
        return len(self._running)

    def start(
        self,
        request: GenerationRequest,
        caller: Caller,
        *,
        previews: bool = False,
        is_retry: bool = False,
    ) -> Following:
        """Returns once there is a place for it. Raises what refuses it: nothing is kept of that.

        previews: whether whoever follows its events gets looks. is_retry: whoever asks says that
        he has asked before, and perhaps is not known to have left yet: then he gets the same
        generation, as does whoever asks for the same seed.
        """
        twin = (caller.name, _digest(request))
        if (is_retry or request.seed is not None) and (running := self._joined(twin)) is not None:
            return _admitted(running)
        record = _new_record(request, caller)
        asked = request.model_copy(update={"seed": record.request.seed})
        running = Running(record, asked, self._archive.file, lives_on=False)
        with self._lock:
            self._running[running.id] = running
            self._twins[twin] = running
        renders = threading.Thread(
            target=self._render,
            args=(running, caller, previews, current_trace()),
            name=running.id,
            daemon=True,
        )
        renders.start()
        return _admitted(running)

    def find(self, generation_id: str, caller: Caller) -> Following:
        """Raises UnknownGeneration, for somebody else's too."""
        running = self._running.get(generation_id)
        if running is not None and is_his(running.record, caller):
            return running
        return self._archive.follow(generation_id, caller, self._recent.get(generation_id))

    def record(self, generation_id: str, caller: Caller) -> GenerationRecord:
        """What is known of it now. Raises UnknownGeneration."""
        running = self._running.get(generation_id)
        if running is not None and is_his(running.record, caller):
            return running.record
        return self._archive.record(generation_id, caller)

    def position(self, generation_id: str) -> int | None:
        """How many pictures were accepted before it and have not begun; None once it has."""
        before = 0
        with self._lock:
            for running in self._running.values():
                if running.id == generation_id:
                    return before if running.record.status == "queued" else None
                if running.record.status == "queued":
                    before += running.record.request.num_images
        return None

    def list(self, caller: Caller, query: ListQuery) -> Listed:
        """His own, newest first."""
        return self._archive.list(caller, query)

    def _joined(self, twin: tuple[str, str]) -> Running | None:
        with self._lock:
            running = self._twins.get(twin)
            if running is None or not running.join():
                return None
            self.joined += 1
            return running

    def _render(
        self, running: Running, caller: Caller, previews: bool, trace: Trace | None
    ) -> None:
        """On a thread of its own."""
        record = running.record

        def accept(preset_version: str) -> None:
            known = running.note(lambda known: known.prepared(preset_version))
            running.place_found(self.position(record.id) or 0)
            self._register.index(known)  # while its first steps are made

        with following(trace):
            try:
                generation = self._service.generate(
                    running.request,
                    caller=caller,
                    wanted=lambda: not running.is_cancelled,
                    on_image=running.keep,
                    on_event=running.hear,
                    previews=previews,
                    reception=Reception(Identity(record.id, record.created_at), accept),
                )
                ended = running.record.succeeded(generation)
                self._register.create(ended)
                running.end(generation, ended)
            except Exception as error:  # whoever waits is always told
                self._end_badly(running, error)
            finally:
                self._forget(running)

    def _end_badly(self, running: Running, error: Exception) -> None:
        if not running.accepted.is_set():
            running.refuse(error)
            return
        record = running.record
        ended = (
            record.cancelled() if isinstance(error, Cancelled) else record.failed(Failure.of(error))
        )
        if not isinstance(error, StorageUnavailable):  # it would take as long again
            try:
                self._register.create(ended)
            except StorageUnavailable as unavailable:
                _log.warning("%s: what became of it is not kept: %s", record.id, unavailable)
        running.end(error, ended)

    def _forget(self, running: Running) -> None:
        with self._lock:
            del self._running[running.id]
            self._twins = {key: one for key, one in self._twins.items() if one is not running}
            if running.refusal is None:
                self._recent[running.id] = running.log
                if len(self._recent) > _RECENT:
                    self._recent.popitem(last=False)


def _admitted(running: Running) -> Running:
    running.accepted.wait()
    if running.refusal is not None:
        raise running.refusal
    return running


def _new_record(request: GenerationRequest, caller: Caller) -> GenerationRecord:
    seed = secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed
    identity = Identity.new()
    return GenerationRecord(
        id=identity.id,
        owner=caller.owner,
        caller=caller.name,
        request=without_pictures(request).model_copy(update={"seed": seed}),
        created_at=identity.created_at,
    )


def _digest(request: GenerationRequest) -> str:
    """The same for the same request, and for no other."""
    sent = [picture and picture.sha256 for picture in (request.init_image, request.mask)]
    said = without_pictures(request).model_dump_json()
    return hashlib.sha256(f"{said} {sent} {request.strength}".encode()).hexdigest()
