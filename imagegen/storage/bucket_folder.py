"""BucketFolder: a folder of a bucket that is listed and rewritten, as a batch's output is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from google.api_core import exceptions as api_exceptions

from imagegen.errors import InvalidSettings
from imagegen.storage.gcs import REFUSED, bounds, open_client, parse_url, reaching
from imagegen.storage.paths import check_path, content_type_of


@dataclass(frozen=True)
class FoundObject:
    """One state of an object: writing it again gives it another generation."""

    size_bytes: int
    generation: int


_CHUNK_BYTES = 32 << 20  # a multiple of 256 KiB, says Google
ABSENT = FoundObject(size_bytes=0, generation=0)  # Cloud Storage's own number for "not there"


class BucketFolder:
    """Objects under `gs://bucket/prefix/`, which may be replaced: a Storage's may not.

    Used from several threads. Methods raise StorageUnavailable when the bucket cannot be reached
    and InvalidSettings where it is not there or not ours.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        timeout_s: float = 10.0,
        retry_s: float = 60.0,
    ) -> None:
        """url: `gs://bucket/prefix`. endpoint: an emulator's address, used without credentials."""
        self.url = url.rstrip("/")
        bucket, prefix = parse_url(url)
        self._root = f"{prefix}/" if prefix else ""
        self._client = open_client(endpoint, None)
        self._bucket = self._client.bucket(bucket)
        self._retry_s = retry_s
        self._bounds = bounds(timeout_s, retry_s)

    def look(self) -> dict[str, FoundObject]:
        """Every object by its name in the folder, as of now: listings are never stale."""
        with self._reaching(f"cannot list {self.url}"):
            blobs = list(self._client.list_blobs(self._bucket, prefix=self._root, **self._bounds))
        return {blob.name.removeprefix(self._root): _found(blob) for blob in blobs}

    def read(self, name: str) -> bytes | None:
        """The object's content, or None where there is none."""
        with self._reaching(f"cannot read {self.url}/{name}"):
            try:
                data: bytes = self._blob(name).download_as_bytes(checksum="crc32c", **self._bounds)
            except api_exceptions.NotFound:
                return None
        return data

    def find(self, name: str) -> FoundObject:
        """The object's state, without its content; ABSENT where there is none."""
        with self._reaching(f"cannot look for {self.url}/{name}"):
            blob = self._bucket.get_blob(self._root + check_path(name), **self._bounds)
        return ABSENT if blob is None else _found(blob)

    def read_range(self, name: str, start: int, size_bytes: int) -> bytes:
        """A piece of the object. Nothing is verified here: a checksum is the whole object's.

        Raises InvalidSettings where the object ends before it, as asking again would not help.
        """
        with self._reaching(f"cannot read {self.url}/{name}"):
            try:
                data: bytes = self._blob(name).download_as_bytes(
                    start=start, end=start + size_bytes - 1, checksum=None, **self._bounds
                )
            except api_exceptions.RequestRangeNotSatisfiable:
                data = b""
        if len(data) != size_bytes:
            raise InvalidSettings(
                f"{self.url}/{name} ends at {start + len(data):,} bytes, where there should be more"
            )
        return data

    def upload(self, name: str, content: BinaryIO, size_bytes: int, seen: FoundObject) -> None:
        """Streams a large object up, if it is still as it was `seen`; else leaves it as it is."""
        blob = self._blob(name)
        blob.chunk_size = _CHUNK_BYTES  # a lost connection costs one chunk, not the file
        with self._reaching(f"cannot write {self.url}/{name}"):
            try:
                blob.upload_from_file(
                    content, size=size_bytes, content_type=content_type_of(name),
                    checksum="crc32c", if_generation_match=seen.generation, **self._bounds,
                )  # fmt: skip
            except api_exceptions.PreconditionFailed:
                return

    def remove(self, name: str) -> None:
        """Takes the object away, if it is there."""
        missing = contextlib.suppress(api_exceptions.NotFound)
        with self._reaching(f"cannot remove {self.url}/{name}"), missing:
            self._blob(name).delete(**self._bounds)

    def write(self, name: str, data: bytes) -> FoundObject:
        """Puts the object there in one step, whatever was there before."""
        blob = self._blob(name)
        with self._reaching(f"cannot write {self.url}/{name}"):
            self._upload(blob, data)
        return _found(blob)

    def replace(self, name: str, data: bytes, seen: FoundObject) -> bool:
        """Writes only if the object is still as it was `seen` (ABSENT: not there).

        False where somebody else was quicker, and in the rare case that Google's answer was lost
        and the second try met the first one's object: look again, then write again.
        """
        with self._reaching(f"cannot write {self.url}/{name}"):
            try:
                self._upload(self._blob(name), data, if_generation_match=seen.generation)
            except api_exceptions.PreconditionFailed:
                return False
        return True

    def _blob(self, name: str) -> Any:
        return self._bucket.blob(self._root + check_path(name))

    def _upload(self, blob: Any, data: bytes, **condition: int) -> None:
        kind = content_type_of(blob.name)
        blob.upload_from_string(
            data, content_type=kind, checksum="crc32c", **condition, **self._bounds
        )

    @contextlib.contextmanager
    def _reaching(self, what: str) -> Iterator[None]:
        with reaching(what, self._retry_s):
            try:
                yield
            except REFUSED as error:
                raise InvalidSettings(f"{what}: {error}") from error


def _found(blob: Any) -> FoundObject:
    return FoundObject(int(blob.size), int(blob.generation))
