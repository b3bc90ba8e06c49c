"""A ZIP file that is sent while it is made: nothing of it is kept."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response

_PICTURES = (".png", ".jpg", ".webp")
_STAMP = (2026, 1, 1, 0, 0, 0)  # the same files make the same archive


def zip_response(name: str, files: Iterable[tuple[str, bytes]]) -> Response:
    """To be saved as `name`.zip."""
    response = Response(zip_stream(files), mimetype="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=f"{name}.zip")
    response.headers["Cache-Control"] = "no-store"
    return response


def zip_stream(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Names in the archive and contents. Pictures are compressed already and stored as they are."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, data in files:
            entry = zipfile.ZipInfo(name, _STAMP)
            is_picture = name.endswith(_PICTURES)
            entry.compress_type = zipfile.ZIP_STORED if is_picture else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
            yield pipe.taken()
    yield pipe.taken()


class _Pipe(io.RawIOBase):
    """What is written is there to be taken."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._written.append(bytes(data))
        return len(self._written[-1])

    def taken(self) -> bytes:
        taken, self._written = b"".join(self._written), []
        return taken
