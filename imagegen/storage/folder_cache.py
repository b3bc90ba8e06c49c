"""FolderCache: folders of buckets on this disk, bounded, and shared by any number of processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from imagegen.errors import InvalidSettings, StorageUnavailable
from imagegen.storage.bucket_folder import BucketFolder
from imagegen.storage.fetching import Fetch, keeping
from imagegen.storage.gcs import download_prefix
from imagegen.storage.manifest import FileEntry, FolderManifest, read_manifest

MOST_BYTES = 40 << 30  # of all folders together, the largest models being some ten GB

_LOCKS = ".locks"
_REMOVED = ".removed-"
_PARTIAL = ".partial"
_WHAT = "what comes from buckets"
_log = logging.getLogger(__name__)

OnFetched = Callable[[Path, FolderManifest], None]


def _nobody_asks(_folder: Path, _manifest: FolderManifest) -> None: ...


class FolderCache:
    """`root/NAME/`, where the name is the URL's hash and, for a published folder, its version's.

    A folder appears whole or not at all. Each has a lock (flock, so that it ends with its process):
    exclusive for who fills or removes it, shared for who uses it, which is until the process ends.
    """

    def __init__(
        self,
        root: Path,
        *,
        most_bytes: int = MOST_BYTES,
        endpoint: str | None = None,
        on_fetched: OnFetched = _nobody_asks,
    ) -> None:
        """endpoint: an emulator's address, used without credentials.

        on_fetched: hears of a published version that has just come, each file of it verified.
        """
        self._root = root.expanduser()
        self._most_bytes = most_bytes
        self._endpoint = endpoint
        self._on_fetched = on_fetched

    def folder(self, url: str) -> Path:
        """What lies at `url`, fetched if need be, and this process's until it ends.

        Where nothing has been published, it is what was found there the first time. Raises
        InvalidSettings for what cannot be used or kept, StorageUnavailable where there is no way to
        the bucket and no version was fetched before.
        """
        key = hashlib.sha256(url.encode()).hexdigest()[:32]
        if (self._root / key).is_dir():
            return self._held(key, _nothing)
        try:
            source = BucketFolder(url, endpoint=self._endpoint)
            published = read_manifest(source)
        except StorageUnavailable as error:
            if (last := self._last_used(key)) is None:
                raise
            _log.warning("%s; %s is used as it was fetched before", error, url)
            return self._held(last, _nothing)
        if published is not None:
            return self.version(source, url, published[0])
        return self._held(key, lambda into: self._plain(url, into))

    def version(self, source: BucketFolder, url: str, manifest: FolderManifest) -> Path:
        """One published version, as `folder`."""
        key = hashlib.sha256(url.encode()).hexdigest()[:32]
        twins = self._twins(key, manifest)
        fetched = []

        def fill(into: Path) -> None:
            missing = sum(e.size_bytes for e in manifest.files if e.path not in twins)
            self._make_room(max(0, missing - _size_bytes(into)), url)
            Fetch(source, manifest, into, lambda entry: twins.get(entry.path)).run()
            fetched.append(into)

        folder = self._held(f"{key}-{manifest.version[:16]}", fill)
        if fetched:
            self._on_fetched(folder, manifest)
        return folder

    def _plain(self, url: str, into: Path) -> None:
        download_prefix(url, into, endpoint=self._endpoint)
        self._make_room(0, url)

    def _held(self, name: str, fill: Callable[[Path], None]) -> Path:
        """The folder under a shared lock, whose descriptor stays open until the process ends."""
        folder, partial = self._root / name, self._root / f"{name}{_PARTIAL}"
        with keeping(_WHAT, self._root):
            partial.parent.joinpath(_LOCKS).mkdir(parents=True, exist_ok=True)
            lock = self._open_lock(name)
        try:
            while True:
                fcntl.flock(lock, fcntl.LOCK_SH)  # waits for who fills it
                if folder.is_dir():
                    os.utime(lock)  # the time of its last use
                    return folder
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not folder.is_dir():
                    with keeping(_WHAT, self._root):
                        partial.mkdir(exist_ok=True)
                        fill(partial)
                        partial.rename(folder)
        except BaseException:
            os.close(lock)
            raise

    def _twins(self, key: str, manifest: FolderManifest) -> dict[str, Path]:
        """Files of other versions of the same URL that look like the manifest's, by path."""
        twins = {}
        for folder in self._root.glob(f"{key}-*"):
            for entry in manifest.files:
                file = folder / entry.path
                if folder.suffix != _PARTIAL and _looks_like(file, entry):
                    twins[entry.path] = file
        return twins

    def _last_used(self, key: str) -> str | None:
        there = [f.name for f in self._root.glob(f"{key}-*") if f.suffix != _PARTIAL]
        return max(there, key=self._used_at, default=None)

    def _make_room(self, wanted_bytes: int, url: str) -> None:
        """Removes what was used longest ago, and by nobody now, until the wanted fits; nothing for
        what would not fit on an empty disk, whatever its manifest says.

        A folder larger than the whole bound is let in: without it nothing works at all.
        """
        sizes = {folder: _size_bytes(folder) for folder in self._folders()}
        may_fit = self._free_bytes() + sum(sizes.values()) >= wanted_bytes
        oldest_first = sorted(sizes, key=lambda folder: self._used_at(folder.name))
        for folder in oldest_first if may_fit else ():
            fits = sum(sizes.values()) + wanted_bytes <= self._most_bytes
            if fits and self._free_bytes() >= wanted_bytes:
                return
            if self._remove(folder):
                del sizes[folder]
        if (free_bytes := self._free_bytes()) < wanted_bytes:
            raise InvalidSettings(
                f"{url} needs {_said(wanted_bytes)}, and the disk of {self._root} has "
                f"{_said(free_bytes)} left"
            )

    def _remove(self, folder: Path) -> bool:
        """False where somebody uses it, or fills it just now."""
        lock = self._open_lock(folder.name.removesuffix(_PARTIAL))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        else:
            away = self._root / f"{_REMOVED}{uuid.uuid4().hex}"  # in one step, then at leisure
            with contextlib.suppress(FileNotFoundError):
                folder.rename(away)
            shutil.rmtree(away, ignore_errors=True)
            return True
        finally:
            os.close(lock)

    def _folders(self) -> list[Path]:
        """All that count, also those that a killed process has left half done."""
        for left in self._root.glob(f"{_REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)
        return [f for f in self._root.iterdir() if f.is_dir() and not f.name.startswith(".")]

    def _open_lock(self, name: str) -> int:
        path = self._root / _LOCKS / name
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _used_at(self, name: str) -> float:
        try:
            return (self._root / _LOCKS / name.removesuffix(_PARTIAL)).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._root).free


def _nothing(_into: Path) -> None:
    raise FileNotFoundError("it was removed just now; start again")


def _looks_like(file: Path, entry: FileEntry) -> bool:
    return file.is_file() and file.stat().st_size == entry.size_bytes


def _size_bytes(folder: Path) -> int:
    """What it takes on the disk; what is being removed meanwhile takes nothing."""
    size_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size_bytes += os.lstat(Path(place, name)).st_blocks * 512
    return size_bytes


def _said(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"
