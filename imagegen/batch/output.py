"""What a batch leaves behind: pictures, a result for each row, the manifest. Two places fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import BinaryIO, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from imagegen.generation import Generation

OpenFile = Callable[[str], AbstractContextManager[BinaryIO]]  # by its name in the output


Status = Literal["succeeded", "failed"]


class RowResult(BaseModel):
    """What became of one row of a script."""

    model_config = ConfigDict(frozen=True)

    key: str
    status: Status
    files: tuple[str, ...] = ()  # names in the output, in the order of generation.images
    generation: Generation | None = None
    error_code: str | None = None
    error: str | None = None
    attempt: int = 1  # a row that failed and is tried again is another request


class BatchOutput(Protocol):
    """Where a batch writes, and what it finds there from an earlier run. Entered before use.

    A file appears wholly or not at all, and is safe before `record` speaks of it.
    """

    id: str  # no other output has it, so that its rows are no other output's requests

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

    def status(self, key: str) -> Status | None:
        """What became of a row; None too where it succeeded and its files are not there, whole."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, replacing it in one step. Called on several threads."""
        ...

    def record(self, results: Sequence[RowResult]) -> None:
        """Returns when all of them would survive this process, and the machine."""
        ...

    def publish(self, write: Callable[[OpenFile], None]) -> None:
        """Has files written that are made of all results; it may be asked more than once."""
        ...


def status_of(result: RowResult, size_of: Callable[[str], int | None]) -> Status | None:
    """As BatchOutput.status says; a file is whole that has the size in bytes it was made with."""
    if result.status == "failed" or result.generation is None:
        return "failed"
    sizes = [image.size_bytes for image in result.generation.images]
    return "succeeded" if [size_of(name) for name in result.files] == sizes else None
