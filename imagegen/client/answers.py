"""What a service answers: generations whose pictures can be fetched and saved."""

from __future__ import annotations

import builtins
import os
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, PrivateAttr

from imagegen.generation import GeneratedImage, Generation

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


class Answered(Generation, Generic[P]):
    """A generation as a service tells it; what an older client does not know is left out."""

    images: tuple[P, ...] = ()


Pictures: TypeAlias = Answered[Picture]
AsyncPictures: TypeAlias = Answered[AsyncPicture]


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
