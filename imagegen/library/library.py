"""Library: what was made, as people look at it. It wakes nobody, so every role has it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from imagegen.branding.drift import Drift
from imagegen.callers import Caller
from imagegen.errors import UnknownImage
from imagegen.generation import GeneratedImage
from imagegen.generations.archive import Archive
from imagegen.generations.records import GenerationRecord
from imagegen.library.mark_book import MarkBook
from imagegen.library.marks import GenerationMarks, Marking, PictureMarks
from imagegen.library.query import LibraryPage, LibraryQuery, drift_of_brand, page_of
from imagegen.library.shelf import Shelf, Shown
from imagegen.library.thumbnails import Thumbnails

_MOST_SHELVES = 50  # in memory; those that nobody looked at for longest go


class Library:
    """Somebody else's picture does not exist. Methods raise StorageUnavailable."""

    def __init__(
        self,
        archive: Archive,
        book: MarkBook,
        thumbnails: Thumbnails,
        new_shelf: Callable[[str], Shelf],
    ) -> None:
        """new_shelf: of an owner."""
        self.thumbnails = thumbnails
        self._archive = archive
        self._book = book
        self._new_shelf = new_shelf
        self._lock = threading.Lock()  # guards the next one
        self._shelves: OrderedDict[str, Shelf] = OrderedDict()  # by owner

    def page(self, query: LibraryQuery, caller: Caller) -> LibraryPage:
        """His own pictures, and those that are everybody's."""
        return page_of(self._shown(caller), query, caller)

    def drift(self, brand: str, caller: Caller) -> Drift | None:
        """As `page` tells it; None where the brand has no pictures that exist for him."""
        return drift_of_brand(self._shown(caller), brand) if caller.may_use(brand) else None

    def record(self, generation_id: str, index: int, caller: Caller) -> GenerationRecord:
        """Of the generation that picture is of. Raises UnknownGeneration and UnknownImage."""
        record = self._archive.record(generation_id, caller)
        if index >= len(record.images):
            raise UnknownImage(f"{record.id} has no picture {index}")
        return record

    def file(self, image: GeneratedImage) -> bytes:
        """A stored picture. Raises UnknownImage where somebody has removed it."""
        return self._archive.file(image)

    def marks(self, generation_id: str, caller: Caller) -> GenerationMarks:
        """Of all its pictures. Raises UnknownGeneration."""
        record = self._archive.record(generation_id, caller)
        history = self._book.history(record.id)
        return GenerationMarks(images=tuple(history.of(n) for n in range(len(record.images))))

    def mark(
        self, generation_id: str, index: int, marking: Marking, caller: Caller
    ) -> PictureMarks:
        """Raises UnknownGeneration, UnknownImage, MarkedMeanwhile, and InvalidRequest once a
        history is full.
        """
        record = self.record(generation_id, index, caller)
        return self._book.mark(record.id, index, record.owner, marking, caller.signature or None)

    def _shown(self, caller: Caller) -> list[Shown]:
        """What lies on the shelves that he may look at."""
        return [self._shelf(owner).look() for owner in dict.fromkeys((caller.owner, ""))]

    def _shelf(self, owner: str) -> Shelf:
        with self._lock:
            shelf = self._shelves.get(owner)
            if shelf is None:
                shelf = self._shelves[owner] = self._new_shelf(owner)
                if len(self._shelves) > _MOST_SHELVES:
                    self._shelves.popitem(last=False)
            self._shelves.move_to_end(owner)
            return shelf
