"""Fetching: a published folder in parallel parts; a killed fetch goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path

from imagegen.errors import InvalidSettings
from imagegen.storage.bucket_folder import BucketFolder
from imagegen.storage.manifest import FileEntry, FolderManifest

PART_BYTES = 16 << 20
PARTS_AT_ONCE = 8  # which is also how many are in memory
FILES_AT_ONCE = 4
_UNFINISHED = ".parts"  # no file of a manifest can be called so
_FETCHED = b"1"

FindTwin = Callable[[FileEntry], Path | None]  # a file on this disk that should be the same


class Fetch:
    """One version of a folder on its way into `into`, which one process at a time fills.

    A file appears under its name only when its SHA-256 is the manifest's. Until then it lies, as
    large as it will be, beside a journal of one byte for each part that has arrived.
    """

    def __init__(
        self, source: BucketFolder, manifest: FolderManifest, into: Path, find_twin: FindTwin
    ) -> None:
        self._source = source
        self._into = into
        self._unfinished = into / _UNFINISHED
        self._find_twin = find_twin
        self._same: defaultdict[str, list[FileEntry]] = defaultdict(list)
        for entry in manifest.files:
            self._same[entry.sha256].append(entry)

    def run(self) -> None:
        """Raises InvalidSettings for a damaged file or a full disk, StorageUnavailable."""
        with keeping(self._source.url, self._into.parent):
            self._unfinished.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(PARTS_AT_ONCE) as parts, ThreadPoolExecutor(FILES_AT_ONCE) as files:
            waiting = [files.submit(self._file, same, parts) for same in self._same.values()]
            try:
                for future in as_completed(waiting):
                    future.result()
            except BaseException:
                files.shutdown(wait=False, cancel_futures=True)
                parts.shutdown(wait=False, cancel_futures=True)
                raise
        for left in self._unfinished.iterdir():
            left.unlink()
        self._unfinished.rmdir()

    def _file(self, same: list[FileEntry], parts: ThreadPoolExecutor) -> None:
        """Fetches one content and puts it under each of its names."""
        first, *others = same
        with keeping(self._source.url, self._into.parent):
            place = self._place(first)
            if not _is_there(place, first):  # under its name it has been verified
                self._verified(first, parts).replace(place)
            for other in others:
                if not _is_there(self._place(other), other):
                    _link(place, self._place(other))

    def _verified(self, entry: FileEntry, parts: ThreadPoolExecutor) -> Path:
        draft = self._unfinished / entry.sha256
        journal = draft.with_suffix(f".{PART_BYTES}")
        before = draft.exists()
        twin = None if before else self._find_twin(entry)
        if twin is not None:
            with contextlib.suppress(OSError):  # it may be gone, or on another disk
                _link(twin, draft)
        if not draft.exists() or journal.exists():
            self._download(entry, draft, journal, parts)
        if _sha256(draft) != entry.sha256 and (before or twin is not None):
            # what lay here was no good, whoever is to blame: a power cut, a touched cache
            draft.unlink()
            journal.unlink(missing_ok=True)
            self._download(entry, draft, journal, parts)
        if (found := _sha256(draft)) != entry.sha256:
            draft.unlink()
            journal.unlink(missing_ok=True)
            raise InvalidSettings(
                f"{self._source.url}: {entry.path} is damaged: its sha256 is {found[:16]}…, "
                f"the manifest says {entry.sha256[:16]}…; remove {entry.object_name} and push again"
            )
        return draft

    def _download(
        self, entry: FileEntry, draft: Path, journal: Path, parts: ThreadPoolExecutor
    ) -> None:
        count = -(-entry.size_bytes // PART_BYTES)
        with _opened(draft) as data, _opened(journal) as arrived:
            os.truncate(data, entry.size_bytes)
            marks = os.pread(arrived, count, 0).ljust(count, b"\0")
            waiting: list[Future[None]] = [
                parts.submit(self._part, entry, index, data, arrived)
                for index in range(count)
                if marks[index : index + 1] != _FETCHED
            ]
            try:
                for future in waiting:
                    future.result()
            finally:
                # Nobody may write to a number that has become another file's. A cancelled future
                # is not waited for: where the pool was shut down, nobody ever says that it ended.
                wait([future for future in waiting if not future.cancel()])

    def _part(self, entry: FileEntry, index: int, data: int, arrived: int) -> None:
        start = index * PART_BYTES
        size_bytes = min(PART_BYTES, entry.size_bytes - start)
        piece = memoryview(self._source.read_range(entry.object_name, start, size_bytes))
        while piece:
            written = os.pwrite(data, piece, start)
            piece, start = piece[written:], start + written
        os.pwrite(arrived, _FETCHED, index)

    def _place(self, entry: FileEntry) -> Path:
        place = self._into / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


@contextlib.contextmanager
def keeping(what: str, where: Path) -> Iterator[None]:
    """The bucket's failures have their own class by now: what is left is the disk's.

    Raises InvalidSettings.
    """
    try:
        yield
    except OSError as error:
        raise InvalidSettings(
            f"cannot keep {what} in {where}: {error.strerror or error}"
        ) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_there(place: Path, entry: FileEntry) -> bool:
    return place.is_file() and place.stat().st_size == entry.size_bytes


def _link(existing: Path, name: Path) -> None:
    name.unlink(missing_ok=True)
    name.hardlink_to(existing)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
