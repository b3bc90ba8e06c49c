"""A batch's folder: pictures, a journal that survives any death, a lock against a second batch."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from pydantic import ValidationError

from imagegen.batch.output import OpenFile, RowResult, Status, status_of
from imagegen.errors import OutputInUse

JOURNAL = "journal.jsonl"
_UNFINISHED = ".part"
_ID = "batch"  # the key of the line that names the folder


class OutputFolder:
    """Entered, it is this process's alone; raises OutputInUse while another batch has it.

    Pictures appear wholly or not at all, and are on the disk before the journal speaks of them.
    The journal is only ever added to, so a row costs as much at the end of a campaign as at its
    beginning; of its lines no more is kept in memory than where each row's latest one stands.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = ""
        # A row's key: offset and length of its line in bytes, and its status
        self._lines: dict[str, tuple[int, int, Status | None]] = {}

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
        self._journal = (self.path / JOURNAL).open("a+b")
        self._size_bytes = self._read_journal()
        if not self.id:
            self.id = secrets.token_hex(8)
            line = json.dumps({_ID: self.id}).encode() + b"\n"
            self._write_lines([line])
            self._size_bytes += len(line)
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
        if key not in self._lines:
            return None
        offset, length, _ = self._lines[key]
        return RowResult.model_validate_json(os.pread(self._journal.fileno(), length, offset))

    def status(self, key: str) -> Status | None:
        return self._lines[key][2] if key in self._lines else None

    def record(self, results: Sequence[RowResult]) -> None:
        """Adds a line for each and waits once until the disk has them all."""
        lines = [one.model_dump_json(exclude_none=True).encode() + b"\n" for one in results]
        self._write_lines(lines)
        # Before the disk is waited for, so that a Ctrl-C then does not hide them from the manifest.
        for result, line in zip(results, lines, strict=True):
            self._lines[result.key] = (self._size_bytes, len(line), result.status)
            self._size_bytes += len(line)
        os.fsync(self._journal.fileno())

    def write(self, name: str, data: bytes) -> None:
        with self._replacing(name) as file:
            file.write(data)

    def publish(self, write: Callable[[OpenFile], None]) -> None:
        write(self._replacing)

    @contextmanager
    def _replacing(self, name: str) -> Iterator[BinaryIO]:
        unfinished = self.path / f".{name}{_UNFINISHED}"
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path / name)

    def _size_of(self, name: str) -> int | None:
        # A journal is a file like any other: a name in it must not lead out of the folder.
        try:
            found = os.stat(f"{self.path}/{os.path.basename(name)}")  # noqa: PTH116, PTH119 - in a third of the time, for every row
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def _write_lines(self, lines: Sequence[bytes]) -> None:
        self._journal.write(b"".join(lines))
        self._journal.flush()

    def _read_journal(self) -> int:
        """Learns where each row's latest line stands. Returns the journal's size in bytes.

        A line torn by a sudden death is cut off; one that is whole but unreadable counts as never
        written: its row runs again.
        """
        offset = 0
        self._journal.seek(0)
        for line in self._journal:
            if not line.endswith(b"\n"):
                self._journal.truncate(offset)
                break
            self._read_line(line, offset)
            offset += len(line)
        return offset

    def _read_line(self, line: bytes, offset: int) -> None:
        try:
            result = RowResult.model_validate_json(line)
            self._lines[result.key] = (offset, len(line), status_of(result, self._size_of))
        except ValidationError:
            if line.startswith(f'{{"{_ID}": "'.encode()):
                self.id = str(json.loads(line)[_ID])


def results_in(path: Path) -> Iterator[RowResult]:
    """What a folder's journal tells, oldest first; a folder that is in use may be looked at."""
    try:
        journal = (path / JOURNAL).open("rb")
    except OSError:
        return
    with journal:
        for line in journal:
            with suppress(ValidationError):
                yield RowResult.model_validate_json(line)
