"""Storage: where pictures and records lie. `open_storage` chooses by URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from imagegen.errors import InvalidSettings


@dataclass(frozen=True)
class StoredObject:
    """An object's content and what kind of content it is."""

    data: bytes
    content_type: str


class Storage(Protocol):
    """Objects under relative paths such as `aurora/2026/11/x.png`.

    Every method raises StorageUnavailable when the store cannot be reached (bounded, never hanging)
    and ValueError for a path that tries to leave the store; `paths.py` has the rules. Objects are
    never changed: there is no way to write one twice.
    """

    def create(self, path: str, data: bytes, content_type: str) -> None:
        """Writes an object once, wholly or not at all. Raises ObjectExists if the path is taken.

        Of several callers exactly one succeeds, even with the same bytes. Raises ValueError for a
        content type that is not the one of the path's extension (`paths.content_type_of`).
        """
        ...

    def read(self, path: str) -> StoredObject | None:
        """The object, or None where there is none."""
        ...

    def uri(self, path: str) -> str:
        """The object's address for operators: `file:///…` or `gs://bucket/…`."""
        ...

    def signed_url(self, path: str, expires_s: int) -> str:
        """A link that opens the object without credentials for `expires_s` seconds.

        Raises InvalidSettings where the store cannot sign (a folder).
        """
        ...

    def check(self) -> None:
        """Proves at start that objects can be written; raises InvalidSettings with the reason."""
        ...


def open_storage(url: str) -> Storage:
    """The store at `url`: `file:FOLDER` or `gs://bucket/prefix`. Raises InvalidSettings."""
    if url.startswith("file:"):
        from imagegen.storage.local import LocalStorage

        folder = url.removeprefix("file:")
        if not folder or (folder.startswith("//") and not folder.startswith("///")):
            raise InvalidSettings(
                f"IMAGEGEN_STORAGE is {url!r}; use file:FOLDER, such as file:./output"
            )
        return LocalStorage(folder)
    if url.startswith("gs://"):
        from imagegen.storage.gcs import CloudStorage

        return CloudStorage(url)
    raise InvalidSettings(f"IMAGEGEN_STORAGE is {url!r}; use file:FOLDER or gs://bucket/prefix")
