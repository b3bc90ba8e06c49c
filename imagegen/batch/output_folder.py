"""A batch's folder: pictures, a journal that survives any death, a lock against a second batch."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from pydantic import ValidationError

from imagegen.batch.output import RowResult, is_whole
from imagegen.errors import OutputInUse

JOURNAL = "journal.jsonl"
_UNFINISHED = ".part"


class OutputFolder:
    """Entered, it is this process's alone; raises OutputInUse while another batch has it.

    Pictures appear wholly or not at all, and are on the disk before the journal speaks of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._results: dict[str, RowResult] = {}

    def __enter__(self) -> OutputFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / ".lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise OutputInUse(
                f"another batch is writing to {self.path}; wait for it or choose another folder: -o"
            ) from None
        for unfinished in self.path.glob(f".*{_UNFINISHED}"):
            unfinished.unlink()
        self._journal = self._open_journal()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._journal.close()
        self._lock.close()  # gives the lock back; so does any death of the process

    def result(self, key: str) -> RowResult | None:
        return self._results.get(key)

    def finished(self, key: str) -> bool:
        return is_whole(self._results.get(key), self._size_bytes)

    def record(self, result: RowResult) -> None:
        """Adds a line to the journal and waits until the disk has it."""
        # First, so that a Ctrl-C while the disk is waited for does not hide it from the manifest.
        self._results[result.key] = result
        self._journal.write(result.model_dump_json(exclude_none=True).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def write(self, name: str, data: bytes) -> None:
        unfinished = self.path / f".{name}{_UNFINISHED}"
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path / name)

    def publish(self, make: Callable[[], Mapping[str, bytes]]) -> None:
        for name, data in make().items():
            self.write(name, data)

    def _size_bytes(self, name: str) -> int | None:
        # A journal is a file like any other: a name in it must not lead out of the folder.
        path = self.path / Path(name).name
        return path.stat().st_size if path.is_file() else None

    def _open_journal(self) -> IO[bytes]:
        """Reads the journal and opens it for more; a line torn by a sudden death is cut off.

        A line that is whole but unreadable counts as never written: its row runs again.
        """
        journal = (self.path / JOURNAL).open("a+b")
        journal.seek(0)
        data = journal.read()
        whole = data.rfind(b"\n") + 1
        journal.truncate(whole)
        for line in data[:whole].splitlines():
            try:
                result = RowResult.model_validate_json(line)
            except ValidationError:
                continue
            self._results[result.key] = result
        return journal
