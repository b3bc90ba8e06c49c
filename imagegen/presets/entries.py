"""What the tables of a preset.yaml have in common: strictness, colours, names of files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

COVER_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
FORMAT_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"


class Entry(BaseModel):
    """A table: a key that nobody knows is a fault, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def names_a_file_below(name: str) -> bool:
    """Whether a file's name stays below the folder it is looked up in, links left aside."""
    path = PurePosixPath(name)
    climbs = path.is_absolute() or ".." in path.parts
    return bool(path.parts) and not climbs and "\\" not in name and "\0" not in name


def inside(name: str) -> str:
    """Raises ValueError for a name that leads out of the folder."""
    if not names_a_file_below(name):
        raise ValueError(f"{name!r} is not the name of a file in the brand's folder")
    return name


def ending_with(*endings: str) -> Callable[[str], str]:
    """A check that raises ValueError for files of another kind."""

    def check(name: str) -> str:
        if not name.lower().endswith(endings):
            raise ValueError(f"{name!r} does not end with {' or '.join(endings)}")
        return name

    return check


def _colour(text: str) -> str:
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"{text!r} is not a colour like #0b1d3a")
    return text.lower()


Colour = Annotated[str, AfterValidator(_colour)]
FormatName = Annotated[str, StringConstraints(pattern=FORMAT_PATTERN)]
