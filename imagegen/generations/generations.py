"""Generations: the one way to pictures for every front door, and to what became of them."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from imagegen.callers import Caller, Deliverer
from imagegen.errors import NotCancellable, StorageUnavailable
from imagegen.generation import GenerationRequest
from imagegen.generations.acceptance import check_same, digest_of, new_record
from imagegen.generations.archive import CANCEL_S, Archive, Listed, PictureFile, is_his
from imagegen.generations.attempt import Attempt
from imagegen.generations.books import Books, KeptThroughout, Taken, WrittenOnce
from imagegen.generations.deliveries import Deliveries
from imagegen.generations.deposits import Deposits
from imagegen.generations.events import EventLog
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import Held, ListQuery
from imagegen.generations.running import Following, Onlooker, Running
from imagegen.generations.watch import Watch
from imagegen.service import ImageService
from imagegen.tracing import current_trace, follow_generation, following

_RECENT = 200  # ended generations whose events can still be heard
_TRIES = 50  # of a key, against others that come under it at the same moment
_SOON_S = 0.02
_Twin = tuple[str, str, bool]


class Generations:
    """Each is rendered by a thread of its own; whoever asked waits for it, or does not."""

    def __init__(
        self,
        service: ImageService,
        archive: Archive,
        room: Callable[[], int],
        deposits: Deposits | None = None,
    ) -> None:
        """room: how many pictures of others this instance may take over just now. deposits: where
        those wait that nobody waits for, if not here.
        """
        self._deposits = deposits
        self._service = service
        self._archive = archive
        self._register = archive.register
        self._holder = secrets.token_hex(8)
        self._lock = threading.Lock()  # guards the next three
        self._running: dict[str, Running] = {}  # in the order of their acceptance
        self._twins: dict[_Twin, Running] = {}
        self._recent: OrderedDict[str, EventLog] = OrderedDict()
        self.watch = Watch(self._register, self._holder, self._living_on, self._adopt, room)
        self.joined = 0

    def __len__(self) -> int:
        """Those that have not ended."""
        return len(self._running)

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
        """Returns once there is a place for it. Raises what refuses it: nothing is kept of that.

        key: under the same one a caller gets the same generation, for ever and at any instance;
        IdempotencyConflict for another request. lives_on: it is rendered though nobody waits for
        it, by another instance if need be; one with a key is, too. previews: whether whoever
        follows its events gets looks; of what lives on he does. is_retry: whoever asks says that
        he has asked before, and perhaps is not known to have left yet: then he gets the same
        generation, as does whoever asks for the same seed.
        """
        if lives_on and self._deposits is not None:
            return self.find(self._deposits.accept(request, caller, key), caller)
        if key is not None:
            return self._start_under(key, request, caller)
        twin = (caller.name, digest_of(request), lives_on)
        if (is_retry or request.seed is not None) and (running := self._joined(twin)) is not None:
            return _admitted(running)
        record = new_record(request, caller)
        books: Books = WrittenOnce(self._register)
        if lives_on:
            books = KeptThroughout(self._register, self._holder)
        return self._begin(record, request, caller, books, previews=previews, twin=twin)

    def find(self, generation_id: str, caller: Caller) -> Following:
        """Raises UnknownGeneration, for somebody else's too."""
        running = self._running.get(generation_id)
        if running is not None and is_his(running.record, caller):
            return Onlooker(running)
        return self._archive.follow(generation_id, caller, self._recent.get(generation_id))

    def deliveries(
        self,
        deliverer: Deliverer,
        closed: Callable[[], bool],
        knows: Callable[[str], bool],
    ) -> Deliveries:
        """For a queue that calls. closed: this instance ends. knows: a brand."""
        return Deliveries(deliverer, self._register, self._here, self.watch.take, closed, knows)

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

    def picture(
        self, generation_id: str, index: int, caller: Caller, *, clean: bool = False
    ) -> PictureFile:
        """A stored picture and its file. Raises UnknownGeneration and UnknownImage."""
        return self._archive.picture(generation_id, index, caller, clean=clean)

    def cancel(self, generation_id: str, caller: Caller) -> GenerationRecord:
        """What it is then: cancelled, unless another instance takes its time to hear of it.

        Raises UnknownGeneration, and NotCancellable once it has ended.
        """
        running = self._running.get(generation_id)
        if running is None or not is_his(running.record, caller):
            return self._archive.cancel(generation_id, caller, CANCEL_S)
        running.stop("cancelled")
        running.wait_ended(CANCEL_S)
        if running.record.status not in ("cancelled", "queued", "running"):
            raise NotCancellable(f"{generation_id} has ended: {running.record.status}")
        return running.record

    def give_back(self) -> None:
        """This instance ends: what lives on and has not begun goes on elsewhere, at once."""
        self.watch.rest()
        for running in self._living_on().values():
            if running.record.status == "queued":
                running.stop("given back")

    def _here(self, generation_id: str) -> Running | None:
        """One that this instance renders, whoever it belongs to."""
        running = self._running.get(generation_id)
        return None if running is None or running.stopped == "lost" else running

    def _start_under(self, key: str, request: GenerationRequest, caller: Caller) -> Following:
        """The id derives from the key: of several who make its record one succeeds."""
        record = new_record(request, caller, key)
        for _ in range(_TRIES):
            books = KeptThroughout(self._register, self._holder)
            try:
                if (found := self._again(record, caller)) is not None:
                    self.joined += 1
                    return found
                return self._begin(record, request, caller, books, previews=True)
            except Taken:
                time.sleep(_SOON_S)  # its record is there now, or it has been refused
        raise StorageUnavailable(f"{record.id} can neither be made nor found", _SOON_S)

    def _again(self, record: GenerationRecord, caller: Caller) -> Following | None:
        """What was asked for under the same key before; None if nothing was, or in vain."""
        running = self._running.get(record.id)
        if running is not None:
            check_same(running.record, record)
            if running.join():
                return _admitted(running)
        held = self._register.find(record.id)
        if held is None:
            return None
        check_same(held.record, record)
        if held.record.is_open:
            self._register.open(record.id)  # whoever accepted it may have died over that
        return self.find(record.id, caller)

    def _joined(self, twin: _Twin) -> Running | None:
        with self._lock:
            running = self._twins.get(twin)
            if running is None or not running.join():
                return None
            self.joined += 1
            return running

    def _begin(
        self,
        record: GenerationRecord,
        request: GenerationRequest,
        caller: Caller,
        books: Books,
        *,
        previews: bool,
        twin: _Twin | None = None,
    ) -> Running:
        """Raises what refuses it, and Taken where another one has its id."""
        asked = request.model_copy(update={"seed": record.request.seed})
        running = Running(record, asked, self._archive.file, books)
        with self._lock:
            there = self._running.get(record.id)
            if there is not None and there.stopped != "lost":
                raise Taken
            self._running[record.id] = running
            if twin is not None:
                self._twins[twin] = running
        self._render(running, caller, previews=previews or running.lives_on)
        return _admitted(running)

    def _render(self, running: Running, caller: Caller, *, previews: bool) -> None:
        """On a thread of its own. Returns at once."""
        trace = current_trace()
        attempt = Attempt(
            running,
            caller,
            self._service,
            self._register,
            lambda name, caller: self._archive.follow(name, caller).result(),
        )

        def run() -> None:
            with following(trace):
                try:
                    attempt.run(previews=previews, position=self.position)
                finally:
                    self._forget(running)

        threading.Thread(target=run, name=running.id, daemon=True).start()

    def _adopt(self, held: Held) -> None:
        """The record is held by this instance already."""
        record = held.record
        request = self._register.inputs(record)
        books = KeptThroughout(self._register, self._holder, held)
        running = Running(record, request, self._archive.file, books)
        with self._lock:
            self._running[record.id] = running
        caller = Caller(record.caller, owner=record.owner)  # his brands were checked when he asked
        self._render(running, caller, previews=True)

    def _living_on(self) -> Mapping[str, Running]:
        with self._lock:
            return {
                name: running
                for name, running in self._running.items()
                if running.lives_on and running.stopped != "lost"
            }

    def _forget(self, running: Running) -> None:
        with self._lock:
            if self._running.get(running.id) is running:
                del self._running[running.id]
            self._twins = {key: one for key, one in self._twins.items() if one is not running}
            if not running.record.is_open and running.stopped != "lost":
                self._recent[running.id] = running.log
                if len(self._recent) > _RECENT:
                    self._recent.popitem(last=False)


def _admitted(running: Running) -> Running:
    """What the log says of the request, on this thread too, it says of this generation."""
    running.accepted.wait()
    follow_generation(running.id)
    if running.refusal is not None:
        raise running.refusal
    return running
