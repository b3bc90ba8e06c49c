"""A batch's folder as one ZIP file, written picture by picture."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

_UNFINISHED = ".part"


def write_zip(folder: Path, names: Iterable[str], archive: Path) -> None:
    """Puts files of `folder`, under its name, into `archive`, which appears whole or not at all.

    Pictures are compressed already: they are stored as they are, all else is packed.
    """
    unfinished = archive.with_name(f".{archive.name}{_UNFINISHED}")
    with zipfile.ZipFile(unfinished, "w", strict_timestamps=False) as writer:
        for name in names:
            is_picture = name.endswith((".png", ".jpg", ".webp"))
            method = zipfile.ZIP_STORED if is_picture else zipfile.ZIP_DEFLATED
            writer.write(folder / name, f"{folder.name}/{name}", method)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(archive)
