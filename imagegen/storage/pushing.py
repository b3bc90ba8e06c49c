"""Pushing: a folder becomes a published version; readers see it when all of it is there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from imagegen.errors import InvalidSettings
from imagegen.storage.bucket_folder import ABSENT, BucketFolder
from imagegen.storage.manifest import NAME, FileEntry, FolderManifest, read_manifest
from imagegen.storage.paths import check_path

_UPLOADS = 4  # at once
_HASHES = 2

OnFile = Callable[[FileEntry, bool], None]  # a file is in the bucket; whether it had to be sent


@dataclass(frozen=True)
class Pushed:
    """What a push has done."""

    version: str  # of the manifest: SHA-256, hex
    files: int
    sent_files: int
    sent_bytes: int
    changed: bool  # whether a new version was published


class Push:
    """A folder as it is now. Sends what the bucket has not, then, last of all, the manifest."""

    def __init__(self, folder: Path) -> None:
        """Reads and hashes all files but hidden ones. Raises InvalidSettings where there is none,
        or one that no bucket can hold."""
        self._folder = folder
        paths = _files_of(folder)
        self._seen = {path: _state(folder / path) for path in paths}
        with ThreadPoolExecutor(_HASHES) as pool:
            entries = list(pool.map(self._entry, paths))
        try:
            self.manifest = FolderManifest.of(entries)
        except ValidationError as error:
            raise InvalidSettings(f"{folder}: {error.errors()[0]['msg']}") from None

    def run(self, target: BucketFolder, on_file: OnFile) -> Pushed:
        """Publishes it. on_file is called on several threads, once for each file.

        Raises InvalidSettings when a file changed meanwhile or somebody else published.
        """
        there = target.look()
        seen = there.get(NAME, ABSENT)
        sent: list[FileEntry] = []

        def put(entry: FileEntry) -> None:
            found = there.get(entry.object_name, ABSENT)
            missing = found.size_bytes != entry.size_bytes or found == ABSENT
            if missing:
                with (self._folder / entry.path).open("rb") as file:
                    target.upload(entry.object_name, file, entry.size_bytes, found)
                self._check_unchanged(entry, target)
                sent.append(entry)
            on_file(entry, missing)

        with ThreadPoolExecutor(_UPLOADS) as pool:
            list(pool.map(put, _one_of_each(self.manifest)))
        data = self.manifest.to_bytes()
        changed = target.read(NAME) != data
        if changed and not target.replace(NAME, data, seen):
            now = read_manifest(target)
            if now is None or now[0].version != self.manifest.version:
                raise InvalidSettings(f"somebody else published at {target.url} meanwhile")
        return Pushed(
            version=self.manifest.version,
            files=len(self.manifest.files),
            sent_files=len(sent),
            sent_bytes=sum(entry.size_bytes for entry in sent),
            changed=changed,
        )

    def _entry(self, path: str) -> FileEntry:
        file = self._folder / path
        with file.open("rb") as reader:
            digest = hashlib.file_digest(reader, "sha256")
        return FileEntry(path=path, size_bytes=self._seen[path][0], sha256=digest.hexdigest())

    def _check_unchanged(self, entry: FileEntry, target: BucketFolder) -> None:
        """What went up under a hash must have that hash; a file being written has not."""
        if _state(self._folder / entry.path) != self._seen[entry.path]:
            target.remove(entry.object_name)
            raise InvalidSettings(f"{self._folder / entry.path} changed while it was sent")


def _files_of(folder: Path) -> list[str]:
    """Relative paths of all files; what begins with a dot is somebody's bookkeeping."""
    if not folder.is_dir():
        raise InvalidSettings(f"{folder} is not a folder")
    paths = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = [Path(place, name) for name in names if not name.startswith(".")]
        paths += [file.relative_to(folder).as_posix() for file in files if file.is_file()]
    if not paths:
        raise InvalidSettings(f"{folder} holds no files")
    for path in paths:
        try:
            check_path(path)
        except ValueError as error:
            raise InvalidSettings(f"{folder}: {error}") from None
    return paths


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _one_of_each(manifest: FolderManifest) -> list[FileEntry]:
    return list({entry.sha256: entry for entry in manifest.files}.values())
