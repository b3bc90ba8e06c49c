"""Archive: what Storage knows of generations. It wakes nobody, so every role reads it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from imagegen.callers import Caller
from imagegen.door import Door
from imagegen.errors import NotCancellable, UnknownGeneration, UnknownImage
from imagegen.generation import GeneratedImage, OutputFormat, StoredFile
from imagegen.generations.events import EventLog
from imagegen.generations.followed import Followed
from imagegen.generations.records import GenerationRecord
from imagegen.generations.register import ListQuery, Register
from imagegen.keeping import Order, PictureKeeper
from imagegen.storage import Storage

CANCEL_S = 5.0  # for its pictures to leave the batch, here or elsewhere
_LOOK_S = 0.25
_AT_ONCE = 16  # reads of a page; signed links ask Google for each picture


@dataclass(frozen=True)
class Listed:
    """A page of generations, newest first."""

    records: tuple[GenerationRecord, ...]
    cursor: str | None  # of the next page


@dataclass(frozen=True)
class PictureFile:
    """A stored picture with its file."""

    brand: str
    image: GeneratedImage
    data: bytes

    def name(self, output_format: OutputFormat) -> str:
        """For whoever saves it in that format."""
        return f"{self.brand}-{self.image.seed}.{output_format.extension}"


class Archive:
    """Somebody else's generation does not exist. Methods raise StorageUnavailable."""

    def __init__(
        self,
        register: Register,
        keeper: PictureKeeper,
        storage: Storage,
        deadline_s: float,
        door: Door,
    ) -> None:
        """deadline_s: the longest that anybody follows what another instance renders. door: once
        it is closed nobody waits here for what others do.
        """
        self.register = register
        self._keeper = keeper
        self._storage = storage
        self._deadline_s = deadline_s
        self._door = door

    def record(self, generation_id: str, caller: Caller) -> GenerationRecord:
        """As it is stored, with links that open. Raises UnknownGeneration."""
        held = self.register.find(generation_id)
        if held is None or not is_his(held.record, caller):
            raise _unknown(generation_id)
        return self._linked(held.record)

    def follow(self, generation_id: str, caller: Caller, log: EventLog | None = None) -> Followed:
        """Raises UnknownGeneration. log: its events, where it ended here."""
        self.record(generation_id, caller)
        return Followed(
            generation_id,
            lambda: self.record(generation_id, caller),
            self.file,
            self._deadline_s,
            self._door,
            log,
        )

    def cancel(self, generation_id: str, caller: Caller, timeout_s: float) -> GenerationRecord:
        """Asks whoever holds it, and waits for that; what nobody holds is cancelled at once.

        Returns the record, open still if nobody has heard within `timeout_s`. Raises
        UnknownGeneration and NotCancellable.
        """
        held = self.register.find(generation_id)
        if held is None or not is_his(held.record, caller):
            raise _unknown(generation_id)
        wished = self.register.change(held, _cancelled_or_asked).record
        until = time.monotonic() + timeout_s
        if not wished.is_open:
            self.register.close(generation_id, has_inputs=wished.has_inputs)
            return wished
        self.register.ring(generation_id)
        record = wished
        while record.is_open and time.monotonic() < until and not self._door.closed:
            time.sleep(_LOOK_S)
            record = self.record(generation_id, caller)
        if record.status not in ("cancelled", "queued", "running"):
            raise NotCancellable(f"{generation_id} has ended: {record.status}")
        return record

    def list(self, caller: Caller, query: ListQuery) -> Listed:
        """His own."""
        page = self.register.page(caller.owner, query)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = pool.map(lambda name: self._shown(name, caller), page.ids)
            return Listed(tuple(record for record in found if record is not None), page.cursor)

    def _shown(self, generation_id: str, caller: Caller) -> GenerationRecord | None:
        """None where it was listed and then refused, or is about to be recorded."""
        held = self.register.find(generation_id)
        if held is None or not is_his(held.record, caller):
            return None
        return self._linked(held.record)

    def picture(
        self, generation_id: str, index: int, caller: Caller, *, clean: bool = False
    ) -> PictureFile:
        """clean: without what was laid on it. Raises UnknownGeneration and UnknownImage."""
        record = self.record(generation_id, caller)
        if not 0 <= index < len(record.images):
            raise UnknownImage(f"{generation_id} has no picture {index}")
        image = record.images[index]
        wanted = image.clean if clean and image.clean is not None else image
        return PictureFile(record.request.brand, image, self.file(wanted))

    def file(self, image: GeneratedImage | StoredFile) -> bytes:
        """A stored picture. Raises UnknownImage where somebody has removed it."""
        root = self._storage.uri("x").removesuffix("x")
        stored = self._storage.read(image.storage_uri.removeprefix(root))
        if stored is None:
            raise UnknownImage("the picture's file was removed from the store")
        return stored.data

    def _linked(self, record: GenerationRecord) -> GenerationRecord:
        order = Order(
            record.id, record.request, record.preset_version, record.created_at, record.owner
        )
        images = tuple(
            self._keeper.linked(order, index, image) for index, image in enumerate(record.images)
        )
        return record.model_copy(update={"images": images})


def _cancelled_or_asked(record: GenerationRecord) -> GenerationRecord:
    return record.cancel_asked() if record.is_held(time.time()) else record.cancelled()


def _unknown(generation_id: str) -> UnknownGeneration:
    return UnknownGeneration(f"there is no generation {generation_id[:40]!r}")


def is_his(record: GenerationRecord, caller: Caller) -> bool:
    """Whether it exists for him."""
    return caller.may_see(record.owner) and caller.may_use(record.request.brand)
