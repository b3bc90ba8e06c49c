"""RecordStore: small documents that change, beside a Storage's pictures, which never do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from imagegen.errors import InvalidSettings


@dataclass(frozen=True)
class StoredRecord:
    """A record as it was read. `version` is the store's word for this state of it."""

    data: bytes
    version: str


class RecordStore(Protocol):
    """Records under relative paths such as `imagegen-generations/records/x.json`.

    What is written is there whole, for every instance, once the call returns; of several writers
    who saw the same state exactly one succeeds. Every method raises StorageUnavailable when the
    store cannot be reached (bounded, never hanging) and ValueError for a path that tries to leave
    it; `paths.py` has the rules.
    """

    def read(self, path: str) -> StoredRecord | None:
        """The record as of now, or None where there is none."""
        ...

    def write(self, path: str, data: bytes, seen: str | None) -> str | None:
        """Writes if the record is still in the version `seen` (None: not there).

        Returns the new version, or None where it is in another one: read again, then decide.
        """
        ...

    def remove(self, path: str) -> None:
        """Takes the record away, if it is there."""
        ...

    def names(self, folder: str, after: str = "", limit: int = 1_000) -> list[tuple[str, str]]:
        """(name in the folder, version) of up to `limit` records, by name, those past `after`.

        A page that is not full is the last one.
        """
        ...


def open_records(url: str) -> RecordStore:
    """The records of the store at `url`, as `open_storage` takes it. Raises InvalidSettings."""
    if url.startswith("file:"):
        from imagegen.storage.record_folder import FolderRecords

        return FolderRecords(url.removeprefix("file:"))
    if url.startswith("gs://"):
        from imagegen.storage.record_bucket import BucketRecords

        return BucketRecords(url)
    raise InvalidSettings(f"IMAGEGEN_STORAGE is {url!r}; use file:FOLDER or gs://bucket/prefix")
