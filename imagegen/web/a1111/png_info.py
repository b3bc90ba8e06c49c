"""What a picture's file says in text: AUTOMATIC1111's `parameters`, and what stands beside it."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from imagegen.errors import FieldError, InvalidRequest

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_MOST_CHARACTERS = 1 << 20  # in a file; packed text may be a thousand times as long as its file
_KINDS = ("PNG", "JPEG", "WEBP")
_ENCODINGS = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}


@dataclass(frozen=True)
class Texts:
    """`parameters` is "" where a file has none; `items` are its other texts by their keywords."""

    parameters: str
    items: dict[str, str]


def read_texts(data: bytes) -> Texts:
    """The texts before the pixels, which are not decoded: a hostile file costs what its head costs.

    Raises InvalidRequest for what is no PNG, JPEG or WebP, or has too much to say.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_KINDS) as picture:
            items = {
                key: value for key, value in picture.info.items()
                if isinstance(key, str) and isinstance(value, str)
            }  # fmt: skip
            # Where it has seen no "exif", Pillow would decode a PNG to look behind its pixels.
            exif = picture.getexif() if "exif" in picture.info else Image.Exif()
            comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    except Exception:
        raise InvalidRequest(FieldError("image", "is no PNG, JPEG or WebP picture")) from None
    parameters = items.pop("parameters", "") or _comment(comment)
    if len(parameters) + sum(map(len, items.values())) > _MOST_CHARACTERS:
        raise InvalidRequest(FieldError("image", f"has more than {_MOST_CHARACTERS:,} letters"))
    return Texts(parameters, items)


def _comment(value: object) -> str:
    """EXIF's UserComment (Exif 2.32, 4.6.5): 8 bytes name the encoding of the rest."""
    if not isinstance(value, bytes):
        return ""
    return value[8:].decode(_ENCODINGS.get(value[:8], "utf-8"), errors="replace").strip("\0")
