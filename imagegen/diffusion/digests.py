"""Digests: the SHA-256 of a model's files, remembered for large ones until they change.

A picture's record names its model by them, and to hash 4 GB keeps two cores busy for two seconds of
every start.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
import uuid
from pathlib import Path

LARGE_BYTES = 16 << 20  # what is smaller is hashed in a hundredth of a second
# A file can be written to twice within the resolution of a file system's clock, two seconds at the
# worst, and look the same after it: one that was touched so recently is not remembered.
SETTLED_NS = 2_000_000_000
_SHA256 = re.compile(rb"[0-9a-f]{64}")


class Digests:
    """An entry is a small file in `folder`: a digest, and what the file looked like that has it.

    Any number of processes may share them, as an entry is replaced as a whole. Where none can be
    written, nothing is remembered.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, path: Path) -> str:
        """Hex. Raises OSError."""
        found, path = path.stat(), path.resolve()
        looks = _looks(path, found)
        if (known := self._known(path, looks)) is not None:
            return known
        settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) >= SETTLED_NS
        sha256 = _hashed(path)
        if settled and _looks(path, path.stat()) == looks:
            self._keep(path, looks, sha256)
        return sha256

    def take(self, path: Path, sha256: str) -> None:
        """From whoever has just hashed the file and lets nobody write to it."""
        with contextlib.suppress(OSError):
            path = path.resolve()
            self._keep(path, _looks(path, path.stat()), sha256)

    def _place(self, path: Path) -> Path:
        return self._folder / hashlib.sha256(bytes(path)).hexdigest()[:32]

    def _known(self, path: Path, looks: bytes) -> str | None:
        try:
            sha256, _, then = self._place(path).read_bytes().partition(b" ")
        except OSError:
            return None
        return sha256.decode() if then == looks and _SHA256.fullmatch(sha256) else None

    def _keep(self, path: Path, looks: bytes, sha256: str) -> None:
        draft = self._folder / f".{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            if path.stat().st_size >= LARGE_BYTES:
                self._folder.mkdir(parents=True, exist_ok=True)
                draft.write_bytes(sha256.encode() + b" " + looks)
                draft.replace(self._place(path))
                self._forget_what_is_gone()

    def _forget_what_is_gone(self) -> None:
        for place in self._folder.glob("[!.]*"):
            path = place.read_bytes().split(b" ", 5)[-1]
            if not os.path.exists(path):  # noqa: PTH110  # a Path takes no bytes
                place.unlink(missing_ok=True)


def _looks(path: Path, found: os.stat_result) -> bytes:
    """Whoever writes to a file changes its ctime, which no program can set."""
    numbers = found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    return b"%d %d %d %d " % numbers + bytes(path)


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
