"""What a service answers: generations whose pictures can be fetched and saved."""

from __future__ import annotations

import builtins
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Generic, Self, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, PrivateAttr

from imagegen.errors import Cancelled, ImagegenError, RenderFailed
from imagegen.generation import GeneratedImage, Generation
from imagegen.problems import failure_told

FETCH = "fetch"  # in a validation's context: how to get a picture's file


class Picture(GeneratedImage):
    """A stored picture; its file is fetched each time it is asked for, and its hash compared."""

    _fetch: Callable[[GeneratedImage], builtins.bytes] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        self._fetch = context[FETCH]

    def bytes(self) -> builtins.bytes:
        """The file. Raises ImagegenError."""
        return self._fetch(self)

    def save(self, path: str | os.PathLike[str] = ".") -> Path:
        """Writes the file to `path`, or under its own name into the folder `path`; says where."""
        where = _place(self, path)
        where.write_bytes(self.bytes())
        return where


class AsyncPicture(GeneratedImage):
    """The same for an event loop."""

    _fetch: Callable[[GeneratedImage], Awaitable[builtins.bytes]] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        self._fetch = context[FETCH]

    async def bytes(self) -> builtins.bytes:
        """The file. Raises ImagegenError."""
        return await self._fetch(self)

    async def save(self, path: str | os.PathLike[str] = ".") -> Path:
        """Writes the file to `path`, or under its own name into the folder `path`; says where."""
        where = _place(self, path)
        where.write_bytes(await self.bytes())
        return where


P = TypeVar("P", Picture, AsyncPicture)


class Failure(BaseModel):
    """Why a generation failed."""

    model_config = ConfigDict(frozen=True)

    code: str
    detail: str
    errors: tuple[dict[str, Any], ...] = ()


class Answered(Generation, Generic[P]):
    """A generation as a service tells it; what an older client does not know is left out."""

    images: tuple[P, ...] = ()
    error: Failure | None = None  # where it has failed
    queue_position: int | None = None  # pictures before it, while it waits

    @property
    def has_ended(self) -> bool:
        """Whether it stays as it is."""
        return self.status in ("succeeded", "failed", "cancelled")

    def succeeded(self) -> Self:
        """Itself, where it ended with pictures. Raises the ImagegenError that it ended with."""
        if self.status == "cancelled":
            raise Cancelled(f"{self.id} was cancelled")
        if self.status == "failed":
            told = None if self.error is None else failure_told(self.error.model_dump(), None)
            detail = "it failed" if self.error is None else self.error.detail
            raise told or RenderFailed(f"{self.id}: {detail}")
        return self


Pictures: TypeAlias = Answered[Picture]
AsyncPictures: TypeAlias = Answered[AsyncPicture]
G = TypeVar("G", Pictures, AsyncPictures)


class Page(BaseModel, Generic[G]):
    """Some generations, newest first; `cursor` asks for those before them, None: these are all."""

    model_config = ConfigDict(frozen=True)

    generations: tuple[G, ...]
    cursor: str | None = None


@dataclass(frozen=True)
class Ended(Generic[G]):
    """What became of one request of many: `generation`, or the `error` in its place."""

    index: int  # of the request among those that were given
    request: Mapping[str, Any]
    generation: G | None
    error: ImagegenError | None

    @classmethod
    def of(cls, index: int, request: Mapping[str, Any], outcome: G | Exception) -> Ended[G]:
        """Raises what nobody expected."""
        if isinstance(outcome, ImagegenError):
            return cls(index, request, None, outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return cls(index, request, outcome, None)


class Brand(BaseModel):
    """An item of `GET /brands`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    name: str
    description: str = ""
    cover_url: str | None = None
    formats: dict[str, dict[str, int]] = {}
    defaults: dict[str, Any] = {}


def _place(image: GeneratedImage, path: str | os.PathLike[str]) -> Path:
    where = Path(path)
    if not where.is_dir():
        return where
    return where / PurePosixPath(unquote(urlsplit(image.url).path)).name
