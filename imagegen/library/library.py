"""Library: what was made, as people look at it. It wakes nobody, so every role has it."""

from __future__ import annotations

from imagegen.callers import Caller
from imagegen.errors import UnknownImage
from imagegen.generations.archive import Archive
from imagegen.generations.records import GenerationRecord
from imagegen.library.mark_book import MarkBook
from imagegen.library.marks import GenerationMarks, Marking, PictureMarks


class Library:
    """Somebody else's picture does not exist. Methods raise StorageUnavailable."""

    def __init__(self, archive: Archive, book: MarkBook) -> None:
        self._archive = archive
        self._book = book

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
        record = self._archive.record(generation_id, caller)
        check_index(record, index)
        return self._book.mark(record.id, index, record.owner, marking, caller.owner or None)


def check_index(record: GenerationRecord, index: int) -> None:
    """Raises UnknownImage."""
    if index >= len(record.images):
        raise UnknownImage(f"{record.id} has no picture {index}")
