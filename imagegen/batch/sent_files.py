"""Pictures that rows start from: their cells have names of files that lie beside the script."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from imagegen.batch.rows import read_file
from imagegen.client.request import PICTURES
from imagegen.errors import FieldError, InvalidRequest, InvalidScript

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def files_in(fields: Mapping[str, object], script: str) -> dict[str, str]:
    """Each field that names a file, and where that lies; Base64 and data URLs name none."""
    return {
        name: _beside(script, said)
        for name in PICTURES
        if isinstance(said := fields.get(name), str) and said.lower().endswith(_SUFFIXES)
    }


def in_base64(files: Mapping[str, str]) -> dict[str, str]:
    """The files' contents. Raises InvalidRequest for one that cannot be read."""
    return {name: _read(name, file) for name, file in files.items()}


def _beside(script: str, said: str) -> str:
    """Absolute names stay; others are looked for where the script lies, here or in a bucket."""
    if said.startswith("gs://"):
        return said
    if script.startswith("gs://"):
        return f"{script.rpartition('/')[0]}/{PurePosixPath(said)}"
    return str(Path(script).parent / said)


def _read(name: str, file: str) -> str:
    try:
        return base64.b64encode(read_file(file)).decode()
    except InvalidScript as error:
        raise InvalidRequest(FieldError(name, str(error))) from None
