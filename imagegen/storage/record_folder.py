"""FolderRecords: records as files of a folder, replaced in one step under a lock."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

from imagegen.storage.local import DRAFTS, file_in, reaching, sync_folder, write_draft
from imagegen.storage.paths import check_path
from imagegen.storage.records import StoredRecord

_LOCKS = 64  # writers of other records seldom wait for each other


class FolderRecords:
    """For processes of one machine. A version is the content's hash.

    So a record that was changed and changed back counts as unchanged, which it is.
    """

    def __init__(self, folder: str | Path) -> None:
        self._root = Path(folder).absolute()
        self._drafts = self._root / DRAFTS

    def read(self, path: str) -> StoredRecord | None:
        file = file_in(self._root, path)
        with reaching(f"cannot read {path}"):
            data = _content(file)
        return None if data is None else StoredRecord(data, _version(data))

    def write(self, path: str, data: bytes, seen: str | None) -> str | None:
        file = file_in(self._root, path)
        with reaching(f"cannot write {path}"):
            self._drafts.mkdir(parents=True, exist_ok=True)
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = self._drafts / f"{uuid.uuid4().hex}.part"
            try:
                write_draft(draft, data)
                with self._locked(path):
                    there = _content(file)
                    if (None if there is None else _version(there)) != seen:
                        return None
                    draft.replace(file)
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(file.parent)
        return _version(data)

    def remove(self, path: str) -> None:
        file = file_in(self._root, path)
        with reaching(f"cannot remove {path}"):
            self._drafts.mkdir(parents=True, exist_ok=True)
            with self._locked(path):
                file.unlink(missing_ok=True)

    def names(self, folder: str, after: str = "", limit: int = 1_000) -> list[tuple[str, str]]:
        place = file_in(self._root, folder)
        with reaching(f"cannot list {folder}"):
            try:
                names = sorted(name for name in os.listdir(place) if name > after)  # noqa: PTH208
            except FileNotFoundError:
                return []
            found = ((name, _content(place / name)) for name in names[:limit])
            return [(name, _version(data)) for name, data in found if data is not None]

    @contextlib.contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        """Alone among all processes; a lock ends with the process that holds it."""
        number = zlib.crc32(check_path(path).encode()) % _LOCKS
        descriptor = os.open(self._drafts / f"records-{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
