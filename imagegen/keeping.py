"""PictureKeeper: a Rendering -> a stored file that carries its own record, and its link."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from imagegen.encoding import encode
from imagegen.generation import GeneratedImage, GenerationRequest, Rendering
from imagegen.provenance import Record
from imagegen.storage import Storage

SIGNED_URL_S = 3_600


@dataclass(frozen=True)
class Order:
    """What the pictures of one request have in common."""

    id: str
    request: GenerationRequest
    preset_version: str
    created_at: datetime

    def path(self, index: int, seed: int) -> str:
        """Where picture `index` lies: unique by the order's random id, readable by its seed."""
        name = f"{self.id}-{index}-{seed}.{self.request.output_format.extension}"
        return f"{self.request.brand}/{self.created_at:%Y/%m}/{name}"


@dataclass(frozen=True)
class KeptPicture:
    """One stored picture, its file and what it took."""

    image: GeneratedImage
    data: bytes
    rendering: Rendering
    encode_s: float
    store_s: float


class PictureKeeper:
    """Encodes and stores on the thread that asks; it keeps no state."""

    def __init__(self, storage: Storage, urls: Literal["proxy", "signed"]) -> None:
        self._storage = storage
        self._urls = urls

    def keep(self, order: Order, index: int, rendering: Rendering) -> KeptPicture:
        """Raises StorageUnavailable, and ObjectExists if another picture has its path."""
        started = time.monotonic()
        request = order.request
        data = encode(
            rendering,
            output_format=request.output_format,
            output_quality=request.output_quality,
            record=Record(preset_version=order.preset_version, campaign=request.campaign),
        )
        encoded = time.monotonic()
        path = order.path(index, rendering.spec.seed)
        self._storage.create(path, data, request.output_format.content_type)
        stored = time.monotonic()
        image = GeneratedImage(
            url=self._link(path),
            storage_uri=self._storage.uri(path),
            seed=rendering.spec.seed,
            width=rendering.spec.width,
            height=rendering.spec.height,
            content_type=request.output_format.content_type,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        return KeptPicture(image, data, rendering, encoded - started, stored - encoded)

    def _link(self, path: str) -> str:
        if self._urls == "signed":
            return self._storage.signed_url(path, SIGNED_URL_S)
        return f"/images/{path}"
