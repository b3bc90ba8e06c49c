"""LocalStorage: objects as files in a folder, created once and wholly."""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from imagegen.errors import InvalidSettings, ObjectExists, StorageUnavailable
from imagegen.storage import StoredObject
from imagegen.storage.paths import check_content_type, check_path, content_type_of

_RETRY_AFTER_S = 30.0  # nothing tells when a person will have made room
DRAFTS = ".drafts"  # no object can be called so
_DRAFT_NAME = re.compile(r"[0-9a-f]{32}\.part")
_ABANDONED_S = 3_600  # a draft that is being written lives for seconds


class LocalStorage:
    """A folder. The content type is the extension's; there are no files beside the objects.

    What is being written lies in a folder of its own, so that a start finds at once what a killed
    process left there, however many objects there are.
    """

    def __init__(self, folder: str | Path) -> None:
        self._root = Path(folder).absolute()
        self._drafts = self._root / DRAFTS

    def create(self, path: str, data: bytes, content_type: str) -> None:
        check_content_type(path, content_type)
        file = file_in(self._root, path)
        with reaching(f"cannot write {path}"):
            _make_folder(file.parent, path)
            if not self._write_once(file, data):
                raise ObjectExists(f"{path} is there already")

    def read(self, path: str) -> StoredObject | None:
        file = file_in(self._root, path)
        with reaching(f"cannot read {path}"):
            try:
                return StoredObject(file.read_bytes(), content_type_of(path))
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return None

    def uri(self, path: str) -> str:
        return self._root.joinpath(check_path(path)).as_uri()

    def signed_url(self, path: str, expires_s: int) -> str:
        raise InvalidSettings(
            "a folder cannot sign links; use IMAGEGEN_URLS=proxy or IMAGEGEN_STORAGE=gs://…"
        )

    def check(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            probe = self._drafts / f"{uuid.uuid4().hex}.part"
            self._write_once(probe, b"imagegen can write here\n")
            probe.unlink()
            self._sweep()
        except OSError as error:
            reason = error.strerror or error
            raise InvalidSettings(
                f"IMAGEGEN_STORAGE: cannot write in {self._root}: {reason}"
            ) from error

    def _write_once(self, file: Path, data: bytes) -> bool:
        """Whether `file` was ours to make. It appears complete and on the disk, or not at all.

        A link, unlike a rename, fails where the name is taken; a death before it leaves a draft.
        """
        self._drafts.mkdir(exist_ok=True)
        draft = self._drafts / f"{uuid.uuid4().hex}.part"
        try:
            write_draft(draft, data)
            file.hardlink_to(draft)
        except FileExistsError:
            return False
        finally:
            with contextlib.suppress(OSError):
                draft.unlink()
        sync_folder(file.parent)
        return True

    def _sweep(self) -> None:
        """Removes what processes left that died while they wrote; others may write here too."""
        abandoned_before = time.time() - _ABANDONED_S
        for draft in self._drafts.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another start swept it
                if _DRAFT_NAME.fullmatch(draft.name) and draft.stat().st_mtime < abandoned_before:
                    draft.unlink()


def file_in(root: Path, path: str) -> Path:
    """The object's file; ValueError where a link would lead out of the folder."""
    file = root.joinpath(check_path(path))
    try:
        inside = file.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle
        inside = False
    if not inside:
        raise ValueError(f"{path!r} leads out of the store")
    return file


def write_draft(draft: Path, data: bytes) -> None:
    """A new file, whole and on the disk when this returns."""
    with draft.open("xb") as writer:
        writer.write(data)
        writer.flush()
        os.fsync(writer.fileno())


def _make_folder(folder: Path, path: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ObjectExists(f"a part of {path} is an object, not a folder") from None


def sync_folder(folder: Path) -> None:
    """Makes a new name survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reaching(what: str) -> Iterator[None]:
    """Turns every way in which a folder can be out of reach into StorageUnavailable."""
    try:
        yield
    except OSError as error:
        message = f"{what}: {error.strerror or error}"
        raise StorageUnavailable(message, _RETRY_AFTER_S) from error
