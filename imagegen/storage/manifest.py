"""FolderManifest: which files a published folder has; small, checked, and written last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from imagegen.errors import InvalidSettings
from imagegen.storage.bucket_folder import ABSENT, BucketFolder, FoundObject
from imagegen.storage.paths import check_path

NAME = "manifest.json"
MOST_BYTES = 4 << 20  # of a manifest; a model has dozens of files, not tens of thousands
_TRIES = 5  # to read it while others write it


class FileEntry(BaseModel):
    """One file of the folder; its content lies in the bucket under its hash."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    path: str
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        return check_path(path)

    @property
    def object_name(self) -> str:
        return f"objects/{self.sha256}"


class FolderManifest(BaseModel):
    """All files of one version of a folder, in the order of their paths."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    files: Annotated[tuple[FileEntry, ...], Field(min_length=1, strict=False)]

    @field_validator("files")
    @classmethod
    def _each_has_a_place(cls, files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
        paths = {entry.path for entry in files}
        if len(paths) != len(files):
            raise ValueError("a path is there twice")
        folders = {str(folder) for path in paths for folder in PurePosixPath(path).parents}
        if both := sorted(paths & folders):
            raise ValueError(f"{both[0]!r} is a file and a folder")
        return files

    @classmethod
    def of(cls, files: Iterable[FileEntry]) -> FolderManifest:
        return cls(files=tuple(sorted(files, key=lambda entry: entry.path)))

    @property
    def version(self) -> str:
        """SHA-256, hex: equal for equal files, whoever published them and when."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.files)

    def to_bytes(self) -> bytes:
        return self.model_dump_json(indent=1).encode()


def read_manifest(source: BucketFolder) -> tuple[FolderManifest, FoundObject] | None:
    """The newest manifest and which state of its object it is; None where there is none.

    Raises InvalidSettings for one that is not ours or names a file outside, StorageUnavailable.
    """
    for _ in range(_TRIES):
        found = source.find(NAME)
        if found == ABSENT:
            return None
        if found.size_bytes > MOST_BYTES:
            raise InvalidSettings(f"{source.url}/{NAME} has more than {MOST_BYTES >> 20} MiB")
        data = source.read(NAME)
        if data is not None and source.find(NAME) == found:  # it is this state that was read
            return _parse(f"{source.url}/{NAME}", data), found
    raise InvalidSettings(f"{source.url}/{NAME} changes all the time")


def _parse(name: str, data: bytes) -> FolderManifest:
    try:
        return FolderManifest.model_validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise InvalidSettings(f"{name}: {place or 'it'}: {fault['msg']}") from None
