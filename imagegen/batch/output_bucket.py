"""A batch's folder in a bucket, shared by the tasks of a job: each writes its own rows only."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from pydantic import ValidationError

from imagegen.batch.output import RowResult, is_whole
from imagegen.errors import OutputInUse
from imagegen.storage.bucket_folder import ABSENT, BucketFolder, FoundObject

_ROWS = "rows/"  # an object a row, for nothing can be added to an object as to a journal
_READERS = 16
_TRIES = 30
_LONGEST_PAUSE_S = 2.0


class OutputBucket:
    """`gs://bucket/folder`. Nothing locks it: two runs at once would only do the same work twice.

    Every task publishes what all tasks have done so far, so the last one to end leaves the whole.
    """

    def __init__(self, folder: BucketFolder) -> None:
        self._folder = folder
        self._found: dict[str, FoundObject] = {}
        self._results: dict[str, RowResult] = {}

    def __enter__(self) -> OutputBucket:
        self._look()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def result(self, key: str) -> RowResult | None:
        return self._results.get(_record(key))

    def finished(self, key: str) -> bool:
        return is_whole(self.result(key), self._size_bytes)

    def write(self, name: str, data: bytes) -> None:
        self._found[name] = self._folder.write(name, data)

    def record(self, result: RowResult) -> None:
        name = _record(result.key)
        self._results[name] = result
        self.write(name, result.model_dump_json(exclude_none=True).encode())

    def publish(self, make: Callable[[], Mapping[str, bytes]]) -> None:
        """Looks, makes and writes, and does so again where another task wrote in between.

        So whoever writes last has seen the rows of all who wrote before. Raises OutputInUse when
        others are quicker every time, as a hundred tasks that end together would not be.
        """
        for attempt in range(_TRIES):
            self._look()
            files = make()
            if all(
                self._folder.replace(name, data, self._found.get(name, ABSENT))
                for name, data in files.items()
            ):
                return
            longest_s = min(_LONGEST_PAUSE_S, 0.05 * 2**attempt)
            time.sleep(random.uniform(0, longest_s))  # noqa: S311 - so that tasks do not march in step
        raise OutputInUse(f"others never stop writing to {self._folder.url}; run this once more")

    def _size_bytes(self, name: str) -> int | None:
        return self._found[name].size_bytes if name in self._found else None

    def _look(self) -> None:
        """Learns what is there now, reading only the records that it has not read as they are."""
        found = self._folder.look()
        records = [name for name in found if name.startswith(_ROWS)]
        unread = [name for name in records if self._found.get(name) != found[name]]
        known = self._results.keys() & set(records) - set(unread)
        self._results = {name: self._results[name] for name in known} | self._read(unread)
        self._found = found

    def _read(self, names: Sequence[str]) -> dict[str, RowResult]:
        """The results in some records; one that is unreadable counts as never written."""
        with ThreadPoolExecutor(_READERS) as pool:
            contents = list(pool.map(self._folder.read, names))
        results = {}
        for name, content in zip(names, contents, strict=True):
            with contextlib.suppress(ValidationError):
                results[name] = RowResult.model_validate_json(content or b"")
        return results


def _record(key: str) -> str:
    return f"{_ROWS}{key}.json"
