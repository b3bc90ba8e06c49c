"""What an object may be called: the same rules for every store, so that objects can move."""

from __future__ import annotations

import unicodedata

_MAX_PATH_BYTES = 900  # Cloud Storage allows 1,024 with the prefix
_MAX_SEGMENT_BYTES = 200  # file systems allow 255
_CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "html": "text/html",
    "txt": "text/plain",
}


def check_path(path: str) -> str:
    """The path itself if it is a relative one that stays in the store; ValueError otherwise.

    A leading dot in a segment is refused too: such names are a folder's unfinished files.
    """
    if not path or len(path.encode(errors="replace")) > _MAX_PATH_BYTES:
        raise ValueError(f"an object's path has 1 to {_MAX_PATH_BYTES} bytes: {path[:80]!r}")
    if "\\" in path or any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
        raise ValueError(f"no backslash or control character may be in an object's path: {path!r}")
    for segment in path.split("/"):
        if not segment or segment.startswith("."):
            raise ValueError(
                f"an object's path is relative, without empty or dotted parts: {path!r}"
            )
        if len(segment.encode()) > _MAX_SEGMENT_BYTES:
            raise ValueError(
                f"a part of an object's path has over {_MAX_SEGMENT_BYTES} bytes: {path!r}"
            )
    return path


def content_type_of(path: str) -> str:
    """What kind of content a path's extension promises."""
    stem, dot, extension = path.rpartition("/")[2].rpartition(".")
    return _CONTENT_TYPES.get(extension.lower() if stem and dot else "", "application/octet-stream")


def check_content_type(path: str, content_type: str) -> None:
    """ValueError where an object is not what its extension says: a folder keeps only the name."""
    if content_type != content_type_of(path):
        raise ValueError(f"{path!r} says {content_type_of(path)}, not {content_type}")
