"""BucketRecords: records as objects of a bucket, replaced under generation preconditions."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

from google.api_core import exceptions as api_exceptions

from imagegen.storage.gcs import bounds, open_client, parse_url, reaching
from imagegen.storage.paths import check_path, content_type_of
from imagegen.storage.records import StoredRecord

_WRITE = "imagegen-write"  # metadata: which call of `write` made this state
_ABSENT = 0  # Cloud Storage's own number for "not there"


class BucketRecords:
    """A version is the object's generation. Every call ends within `retry_s + timeout_s`."""

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        timeout_s: float = 10.0,
        retry_s: float = 20.0,
    ) -> None:
        """url: `gs://bucket/prefix`. endpoint: an emulator's address, used without credentials."""
        bucket, prefix = parse_url(url)
        self._root = f"{prefix}/" if prefix else ""
        self._client = open_client(endpoint, None)
        self._bucket = self._client.bucket(bucket)
        self._retry_s = retry_s
        self._bounds = bounds(timeout_s, retry_s)

    def read(self, path: str) -> StoredRecord | None:
        blob = self._blob(path)
        with reaching(f"cannot read {path}", self._retry_s):
            try:
                data = blob.download_as_bytes(checksum="crc32c", **self._bounds)
            except api_exceptions.NotFound:
                return None
        return StoredRecord(data, str(blob.generation))

    def write(self, path: str, data: bytes, seen: str | None) -> str | None:
        """When an answer is lost, the library's second try meets the state that the first made.

        The mark tells that state from one that somebody else made.
        """
        blob, mark = self._blob(path), uuid.uuid4().hex
        blob.metadata = {_WRITE: mark}
        with reaching(f"cannot write {path}", self._retry_s):
            try:
                blob.upload_from_string(
                    data, content_type=content_type_of(path), checksum="crc32c",
                    if_generation_match=_ABSENT if seen is None else int(seen), **self._bounds,
                )  # fmt: skip
            except (api_exceptions.PreconditionFailed, api_exceptions.NotFound):
                found = self._bucket.get_blob(blob.name, **self._bounds)
                if found is None or (found.metadata or {}).get(_WRITE) != mark:
                    return None
                return str(found.generation)
        return str(blob.generation)

    def remove(self, path: str) -> None:
        with reaching(f"cannot remove {path}", self._retry_s):
            try:
                self._blob(path).delete(**self._bounds)
            except api_exceptions.NotFound:
                return

    def names(self, folder: str, after: str = "", limit: int = 1_000) -> list[tuple[str, str]]:
        root = f"{self._root}{check_path(folder)}/"
        with reaching(f"cannot list {folder}", self._retry_s):
            blobs = self._client.list_blobs(
                self._bucket, prefix=root, start_offset=root + after,
                max_results=limit + 1,  # the offset itself is among them, if it is still there
                fields="items(name,generation),nextPageToken", **self._bounds,
            )  # fmt: skip
            found = ((blob.name.removeprefix(root), str(blob.generation)) for blob in blobs)
            past = ((name, version) for name, version in found if name > after)
            return list(itertools.islice(past, limit))

    def _blob(self, path: str) -> Any:
        return self._bucket.blob(self._root + check_path(path))
