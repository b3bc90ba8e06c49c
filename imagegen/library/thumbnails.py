"""Thumbnails: small WebP pictures, made at the first look and then stored.

Not when a picture is kept: whoever waits for it would wait for that too, and most pictures are
looked at as soon as they are there, large.
"""

from __future__ import annotations

import io
import logging
import threading

from PIL import Image

from imagegen.errors import ObjectExists, StorageUnavailable
from imagegen.library.mark_book import ROOT
from imagegen.storage import Storage

LONGER_SIDE_PX = 384
CONTENT_TYPE = "image/webp"
_QUALITY = 78
_MAKERS = 2  # at a time: each has a large picture in memory
_FORMATS = ("PNG", "JPEG", "WEBP")
_log = logging.getLogger(__name__)


class Thumbnails:
    """Of stored pictures, by the same paths."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._makers = threading.Semaphore(_MAKERS)

    def read(self, path: str) -> bytes | None:
        """None where there is no such picture. Raises StorageUnavailable, and ValueError for a
        path that no store takes.
        """
        small = f"{ROOT}/thumbnails/{path}.webp"
        stored = self._storage.read(small)
        if stored is not None:
            return stored.data
        with self._makers:
            picture = self._storage.read(path)
            if picture is None or not picture.content_type.startswith("image/"):
                return None
            data = thumbnail_of(picture.data)
        try:
            self._storage.create(small, data, CONTENT_TYPE)
        except ObjectExists:
            pass  # somebody else looked at the same moment
        except StorageUnavailable as error:
            _log.warning("%s is made again at the next look: %s", small, error)
        return data


def thumbnail_of(data: bytes) -> bytes:
    """A picture file as a small WebP."""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        picture.draft("RGB", (LONGER_SIDE_PX, LONGER_SIDE_PX))  # a JPEG is decoded small
        small = picture.convert("RGB")
    small.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    small.save(file, "WEBP", quality=_QUALITY, method=2)
    return file.getvalue()
