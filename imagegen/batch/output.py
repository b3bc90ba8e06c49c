"""What a batch leaves behind: pictures, a result for each row, the manifest. Two places fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from imagegen.generation import Generation


class RowResult(BaseModel):
    """What became of one row of a script."""

    model_config = ConfigDict(frozen=True)

    key: str
    status: Literal["succeeded", "failed"]
    files: tuple[str, ...] = ()  # names in the output, in the order of generation.images
    generation: Generation | None = None
    error_code: str | None = None
    error: str | None = None


class BatchOutput(Protocol):
    """Where a batch writes, and what it finds there from an earlier run. Entered before use.

    A file appears wholly or not at all, and is safe before `record` speaks of it.
    """

    def __enter__(self) -> BatchOutput: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def result(self, key: str) -> RowResult | None:
        """The latest result of a row, whichever run it is from."""
        ...

    def finished(self, key: str) -> bool:
        """Whether the row succeeded and its files are still there, whole."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, replacing it in one step."""
        ...

    def record(self, result: RowResult) -> None:
        """Returns when the result would survive this process."""
        ...

    def publish(self, make: Callable[[], Mapping[str, bytes]]) -> None:
        """Writes the files that `make` makes of all results; it may be asked more than once."""
        ...


def is_whole(result: RowResult | None, size_of: Callable[[str], int | None]) -> bool:
    """Whether a row succeeded and each of its files has the size it was made with, in bytes."""
    if result is None or result.generation is None or result.status != "succeeded":
        return False
    sizes = [image.size_bytes for image in result.generation.images]
    return [size_of(name) for name in result.files] == sizes
