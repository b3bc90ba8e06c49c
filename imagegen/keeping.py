"""PictureKeeper: a Rendering -> a stored file that carries its own record, and its link."""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from PIL import Image

from imagegen.branding.finish import Finish
from imagegen.callers import Caller
from imagegen.encoding import encode
from imagegen.errors import ObjectExists, StorageUnavailable
from imagegen.generation import GeneratedImage, GenerationRequest, Rendering, StoredFile
from imagegen.provenance import Record
from imagegen.storage import Storage

SIGNED_URL_S = 3_600
_BY = "by-"
_ASK_AGAIN_S = 5.0


@dataclass(frozen=True)
class Order:
    """What the pictures of one request have in common."""

    id: str
    request: GenerationRequest
    preset_version: str
    created_at: datetime
    owner: str  # the caller it belongs to, "" for nobody

    def path(self, index: int, seed: int) -> str:
        """Where picture `index` lies: unique by the order's id, readable by its seed.

        Another attempt at the same generation arrives at the same path.
        """
        name = f"{self.id}-{index}-{seed}.{self.request.output_format.extension}"
        folder = f"{self.request.brand}/{self.created_at:%Y/%m}"
        return f"{folder}/{_mark(self.owner)}/{name}" if self.owner else f"{folder}/{name}"

    def clean_path(self, index: int, seed: int) -> str:
        """Where it lies without the overlay that the one at `path` has."""
        stem, dot, extension = self.path(index, seed).rpartition(".")
        return f"{stem}-clean{dot}{extension}"


def exists_for(caller: Caller, path: str) -> bool:
    """Whether the picture at `path`, if there is one, is for `caller`: no store need be asked.

    Its path begins with its brand, and has its owner's mark if it has an owner.
    """
    brand, *parts = path.split("/")
    marks = [part for part in parts if part.startswith(_BY)]
    return caller.may_use(brand) and all(mark == _mark(caller.owner) for mark in marks)


def _mark(owner: str) -> str:
    """A folder's name that stands for `owner`, whatever characters he is made of."""
    return f"{_BY}{hashlib.sha256(owner.encode()).hexdigest()[:16]}"


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

    def keep(self, order: Order, index: int, rendering: Rendering, finish: Finish) -> KeptPicture:
        """With an overlay two files: the clean picture, and the one that the link leads to.

        Where an earlier attempt at the same generation has stored a file, that one counts.
        Raises StorageUnavailable.
        """
        started = time.monotonic()
        request, seed = order.request, rendering.spec.seed
        finished = finish.of(rendering.pixels)
        record = Record(preset_version=order.preset_version, campaign=request.campaign)
        data = self._encoded(request, rendering, record)
        composed = None
        if finished.composed is not None:
            laid_on = replace(rendering, pixels=finished.composed)
            composed = self._encoded(request, laid_on, replace(record, overlay=request.overlay))
        encoded = time.monotonic()
        clean = None
        if composed is not None:
            path = order.clean_path(index, seed)
            data = self._stored(path, data, request.output_format.content_type)
            clean, data = self._file(path, data), composed
        path = order.path(index, seed)
        data = self._stored(path, data, request.output_format.content_type)
        stored = time.monotonic()
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
        image = GeneratedImage(
            **self._file(path, data).model_dump(),
            seed=seed,
            width=width,
            height=height,
            content_type=request.output_format.content_type,
            clean=clean,
            score=finished.score,
        )
        return KeptPicture(image, data, rendering, encoded - started, stored - encoded)

    def _encoded(self, request: GenerationRequest, rendering: Rendering, record: Record) -> bytes:
        return encode(
            rendering,
            output_format=request.output_format,
            output_quality=request.output_quality,
            record=record,
        )

    def _file(self, path: str, data: bytes) -> StoredFile:
        return StoredFile(
            url=self.link(path),
            storage_uri=self._storage.uri(path),
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )

    def linked(self, order: Order, index: int, image: GeneratedImage) -> GeneratedImage:
        """The same with links that open now: a stored one may be signed, and its time over."""
        clean = image.clean
        if clean is not None:
            path = order.clean_path(index, image.seed)
            clean = clean.model_copy(update={"url": self.link(path)})
        url = self.link(order.path(index, image.seed))
        return image.model_copy(update={"url": url, "clean": clean})

    def _stored(self, path: str, data: bytes, content_type: str) -> bytes:
        """What lies there now. Batch mates and devices round differently: the first one stays."""
        try:
            self._storage.create(path, data, content_type)
        except ObjectExists:
            there = self._storage.read(path)
            if there is None:
                raise StorageUnavailable(f"{path} was there and is gone", _ASK_AGAIN_S) from None
            return there.data
        return data

    def link(self, path: str) -> str:
        """How a browser gets the picture; a signed link lasts SIGNED_URL_S."""
        if self._urls == "signed":
            return self._storage.signed_url(path, SIGNED_URL_S)
        return f"/images/{path}"
