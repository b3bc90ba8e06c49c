"""A batch's folder in a bucket, shared by the tasks of a job: each writes its own rows only."""

from __future__ import annotations

import contextlib
import io
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import BinaryIO

from pydantic import ValidationError

from imagegen.batch.output import OpenFile, RowResult, Status, status_of
from imagegen.errors import OutputInUse
from imagegen.storage.bucket_folder import ABSENT, BucketFolder, FoundObject

_ROWS = "rows/"  # an object a row, for nothing can be added to an object as to a journal
_ID = "batch-id"
_READERS = 16
_WRITERS = 16
_TRIES = 30
_LONGEST_PAUSE_S = 2.0


class OutputBucket:
    """`gs://bucket/folder`. Nothing locks it: two runs at once would only do the same work twice.

    Every task publishes what all tasks have done so far, so the last one to end leaves the whole.
    """

    def __init__(self, folder: BucketFolder) -> None:
        self._folder = folder
        self.id = ""
        self._found: dict[str, FoundObject] = {}
        self._records: dict[str, bytes] = {}  # as written: a fifth of what parsed ones take

    def __enter__(self) -> OutputBucket:
        self._look()
        self.id = self._settle_id()
        self._writers = ThreadPoolExecutor(_WRITERS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writers.shutdown()

    def result(self, key: str) -> RowResult | None:
        record = self._records.get(_record(key))
        return None if record is None else RowResult.model_validate_json(record)

    def results(self) -> Iterator[RowResult]:
        """What is there now, for who only looks."""
        self._look()
        return map(RowResult.model_validate_json, self._records.values())

    def status(self, key: str) -> Status | None:
        result = self.result(key)
        return None if result is None else status_of(result, self._size_of)

    def write(self, name: str, data: bytes) -> None:
        self._found[name] = self._folder.write(name, data)

    def record(self, results: Sequence[RowResult]) -> None:
        list(self._writers.map(self._record, results))

    def publish(self, write: Callable[[OpenFile], None]) -> None:
        """Looks, makes and writes, and does so again where another task wrote in between.

        So whoever writes last has seen the rows of all who wrote before. Raises OutputInUse when
        others are quicker every time, as a hundred tasks that end together would not be.
        """
        for attempt in range(_TRIES):
            self._look()
            files: dict[str, bytes] = {}
            write(partial(_kept, files))
            if all(
                self._folder.replace(name, data, self._found.get(name, ABSENT))
                for name, data in files.items()
            ):
                return
            longest_s = min(_LONGEST_PAUSE_S, 0.05 * 2**attempt)
            time.sleep(random.uniform(0, longest_s))  # noqa: S311 - so that tasks do not march in step
        raise OutputInUse(f"others never stop writing to {self._folder.url}; run this once more")

    def _settle_id(self) -> str:
        """The folder's id: whoever of a job's tasks comes first makes it."""
        self._folder.replace(_ID, secrets.token_hex(8).encode(), ABSENT)
        return (self._folder.read(_ID) or b"").decode()

    def _record(self, result: RowResult) -> None:
        name, data = _record(result.key), result.model_dump_json(exclude_none=True).encode()
        self.write(name, data)
        self._records[name] = data

    def _size_of(self, name: str) -> int | None:
        return self._found[name].size_bytes if name in self._found else None

    def _look(self) -> None:
        """Learns what is there now, reading only the records that it has not read as they are."""
        found = self._folder.look()
        records = [name for name in found if name.startswith(_ROWS)]
        unread = [name for name in records if self._found.get(name) != found[name]]
        known = self._records.keys() & set(records) - set(unread)
        self._records = {name: self._records[name] for name in known} | self._read(unread)
        self._found = found

    def _read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Some records; one that is unreadable counts as never written."""
        with ThreadPoolExecutor(_READERS) as pool:
            contents = list(pool.map(self._folder.read, names))
        records = {}
        for name, content in zip(names, contents, strict=True):
            with contextlib.suppress(ValidationError):
                RowResult.model_validate_json(content or b"")
                records[name] = content or b""
        return records


@contextlib.contextmanager
def _kept(files: dict[str, bytes], name: str) -> Iterator[BinaryIO]:
    content = io.BytesIO()
    yield content
    files[name] = content.getvalue()


def _record(key: str) -> str:
    return f"{_ROWS}{key}.json"
