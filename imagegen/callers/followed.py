"""Followed: a small file whose changes are noticed while we run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from imagegen.errors import InvalidCallers

LOOK_S = 1.0  # a key that was revoked opens for so long at most
REREAD_S = 60.0  # where a change does not show from outside: mounted secrets are read anew

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Followed(Generic[T]):
    """What a file says, looked at when somebody asks. Used by any thread; nobody waits for another.

    A file that has become unreadable or faulty changes nothing: an editor's slip, or a mount that
    is out of order for a minute, must not lock everybody out.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        """Reads it. parse: raises InvalidCallers. Raises InvalidCallers."""
        self._path = path
        self._parse = parse
        self._looking = threading.Lock()
        self._trouble = ""
        try:
            self._seen, self._value = self._sight(), self._read()
        except OSError as error:
            raise InvalidCallers(f"{path}: {error.strerror or error}") from None
        self._looked_at = self._read_at = time.monotonic()

    def now(self) -> T:
        """What it says, or said a second ago."""
        if time.monotonic() - self._looked_at >= LOOK_S and self._looking.acquire(blocking=False):
            try:
                self._look()
                self._looked_at = time.monotonic()
            finally:
                self._looking.release()
        return self._value

    def _look(self) -> None:
        try:
            seen = self._sight()
            if seen == self._seen and time.monotonic() - self._read_at < REREAD_S:
                return
            self._value = self._read()
        except OSError as error:
            self._complain(f"{self._path}: {error.strerror or error}")
        except InvalidCallers as error:
            self._complain(str(error))
        else:
            self._seen, self._read_at, self._trouble = seen, time.monotonic(), ""

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            _log.error("%s; what it said before holds", trouble)

    def _sight(self) -> tuple[int, int, int]:
        """What is another after a change, as far as can be seen from outside."""
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def _read(self) -> T:
        try:
            return self._parse(self._path.read_bytes())
        except InvalidCallers as error:
            raise InvalidCallers(f"{self._path}: {error}") from None
