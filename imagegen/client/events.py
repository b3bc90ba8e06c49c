"""What happens to a generation on its way, as a service tells it while somebody listens.

Each kind is a class, and says so in `kind` too: `match event` and `event.kind == "step"` both work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeAlias

from imagegen.client.answers import AsyncPicture, AsyncPictures, G, P, Picture, Pictures


@dataclass(frozen=True)
class Queued:
    """There is a place for it; by `id` it is found again, whatever becomes of the stream."""

    id: str
    queue_position: int | None = None  # pictures before it
    kind: Literal["queued"] = "queued"


@dataclass(frozen=True)
class Step:
    """Picture `index` has made `step` steps of `of`."""

    index: int
    step: int
    of: int
    eta_s: float | None = None  # seconds that it will still take
    kind: Literal["step"] = "step"


@dataclass(frozen=True)
class Preview:
    """How picture `index` looks so far: a small JPEG."""

    index: int
    jpeg: bytes = field(repr=False)
    kind: Literal["preview"] = "preview"

    def save(self, path: str | Path) -> Path:
        """Writes the file; says where."""
        where = Path(path)
        where.write_bytes(self.jpeg)
        return where


@dataclass(frozen=True)
class Stored(Generic[P]):
    """Picture `index` is there."""

    index: int
    image: P
    kind: Literal["image"] = "image"


@dataclass(frozen=True)
class Done(Generic[G]):
    """All are there: the last event."""

    generation: G
    kind: Literal["done"] = "done"


Event: TypeAlias = Queued | Step | Preview | Stored[Picture] | Done[Pictures]
AsyncEvent: TypeAlias = Queued | Step | Preview | Stored[AsyncPicture] | Done[AsyncPictures]
