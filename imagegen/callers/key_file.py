"""The file of API keys, changed: by one at a time, and whole or not at all."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from imagegen.callers.keys import Keys
from imagegen.errors import InvalidCallers

_PRIVATE = 0o600
T = TypeVar("T")


def read_keys(path: Path) -> Keys:
    """No file: no keys. Raises InvalidCallers and OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Keys()
    try:
        return Keys.parse(data)
    except InvalidCallers as error:
        raise InvalidCallers(f"{path}: {error}") from None


def change_keys(path: Path, edit: Callable[[Keys], tuple[Keys, T]]) -> T:
    """Puts `edit`'s keys in place of those there; whoever reads meanwhile gets either, never half.

    Others who change it wait. Raises what `edit` does, InvalidCallers and OSError; then nothing has
    changed.
    """
    path = path.resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the file itself, which is another one after each change; the lock ends with its process.
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, _PRIVATE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys, result = edit(read_keys(path))
        _replace(path, keys.model_dump_json(indent=1).encode() + b"\n")
    finally:
        os.close(lock)
    return result


def _replace(path: Path, data: bytes) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else _PRIVATE
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        unfinished.chmod(mode)  # the service may run as another user of the same group
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
