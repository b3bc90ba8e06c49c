"""MarkBook: where marks are kept, so that any instance shows the same.

marks/{id}.json        the history of a generation's pictures; it is the truth
marked/{owner}/{…}     an empty object for each entry, whose name says all of it, newest first:
                       a list of thousands of pictures need not read their histories
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from pydantic import ValidationError

from imagegen.errors import StorageUnavailable
from imagegen.generations.records import inverted_ms
from imagegen.generations.register import newest_names
from imagegen.library.marks import Mark, MarkHistory, Marking, PictureMarks
from imagegen.storage.records import RecordStore

ROOT = "imagegen-library"  # all that a service without a renderer writes lies in it
_NAME = re.compile(r"([0-9]{13})\.(gen_[0-9a-f]{20})\.([0-9]+)\.([0-9]+)\.([a-z]+)\.([0-9a-f]{16})")
_TRIES = 20  # against others who mark at the same moment


@dataclass(frozen=True)
class Marked:
    """One entry, as its name in the list says it."""

    place: str  # sorts the newest first
    generation_id: str
    index: int
    revision: int
    mark: Mark
    by: str  # `person_key` of who said it


class MarkBook:
    """Keeps no state. Methods raise StorageUnavailable."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def history(self, generation_id: str) -> MarkHistory:
        """Empty where nothing was said. generation_id: of a generation that there is."""
        return self._read(generation_id)[0]

    def mark(
        self, generation_id: str, index: int, owner: str, marking: Marking, by: str | None
    ) -> PictureMarks:
        """Says it; of several at the same moment each sees what the one before has said.

        owner: whose picture it is. Raises what MarkHistory.marked raises.
        """
        for _ in range(_TRIES):
            before, version = self._read(generation_id)
            after = before.marked(index, marking, by, datetime.now().astimezone())
            if after is not before:
                data = after.model_dump_json().encode()
                if self._store.write(_path(generation_id), data, version) is None:
                    continue
            marks = after.of(index)
            if marks.history:  # again too: who has had no answer asks again, and mends the list
                self._list(generation_id, index, owner, marks)
            return marks
        raise StorageUnavailable(f"the marks of {generation_id} cannot be changed", 1.0)

    def newest(self, owner: str) -> Iterator[Marked]:
        """Every entry about an owner's pictures, the newest first."""
        for name in newest_names(self._store, _list_of(owner)):
            if (match := _NAME.fullmatch(name)) and match[5] in get_args(Mark):
                yield Marked(
                    match[1], match[2], int(match[3]), int(match[4]),
                    match[5], match[6],  # type: ignore[arg-type]
                )  # fmt: skip

    def _list(self, generation_id: str, index: int, owner: str, marks: PictureMarks) -> None:
        last = marks.history[-1]
        name = (
            f"{inverted_ms(last.at)}.{generation_id}.{index}.{marks.revision}.{last.mark}."
            f"{person_key(last.by or '')}"
        )
        self._store.write(f"{_list_of(owner)}/{name}", b"", None)

    def _read(self, generation_id: str) -> tuple[MarkHistory, str | None]:
        stored = self._store.read(_path(generation_id))
        if stored is None:
            return MarkHistory(), None
        try:
            return MarkHistory.model_validate_json(stored.data), stored.version
        except ValidationError:
            raise StorageUnavailable(
                f"{_path(generation_id)} is no history of this version", 60.0
            ) from None


def person_key(name: str) -> str:
    """For names of objects: what people are called is not theirs to choose."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _path(generation_id: str) -> str:
    return f"{ROOT}/marks/{generation_id}.json"


def _list_of(owner: str) -> str:
    return f"{ROOT}/marked/{person_key(owner)}"
