"""Edits: pictures that come with a request, and what they become for the one that is made of them.

A picture is looked at in three stages, each dearer than the one before: its base64, its header
(format, size, which way it is held), and at last its pixels.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from imagegen.errors import FieldError, InvalidRequest

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_FILE_BYTES = 15 << 20  # 20 MiB in base64
MAX_PIXELS = 50_000_000  # what today's telephones make; decoded, 150 MB
DEFAULT_STRENGTH = 0.6

_DATA_URL = re.compile(r"data:image/[a-z+.-]+;base64,", re.IGNORECASE)
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_EXIF_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)  # orientations in which the file's rows are the picture's columns
_HALF = 128  # a mask's grey from which on it counts as white


@dataclass(frozen=True)
class SentPicture:
    """A PNG, JPEG or WebP file that somebody sent; two of the same content are equal.

    On the wire it is base64, bare or as a data URL. Only its header has been read.
    """

    data: bytes = field(repr=False, compare=False)
    sha256: str  # hex, of the file
    width: int  # pixels, the way it is held
    height: int

    @classmethod
    def of_file(cls, data: bytes) -> SentPicture:
        """Raises ValueError for what is no picture, too large, or moves."""
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"must have at most {MAX_FILE_BYTES >> 20} MiB")
        image = _opened(data)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"is {width} x {height} pixels; {MAX_PIXELS:,} are taken at most")
        # Telephones' JPEGs may hold a second picture (MPO), which is no animation.
        if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
            raise ValueError("is animated; send one picture that stands still")
        if _orientation(image) in _LYING:
            width, height = height, width
        return cls(data, hashlib.sha256(data).hexdigest(), width, height)

    @classmethod
    def of_text(cls, text: str) -> SentPicture:
        """From base64 or a data URL; nothing is ever fetched. Raises ValueError."""
        if _ADDRESS.match(text):
            raise ValueError("is an address, and nothing is fetched; send the picture as base64")
        prefix = _DATA_URL.match(text)
        if prefix is None and text.startswith("data:"):
            raise ValueError("must be a data URL of a picture: data:image/png;base64,…")
        said = text[prefix.end() :] if prefix else text
        if len(said) > 2 * MAX_FILE_BYTES:  # room for its line ends
            raise ValueError(f"must have at most {MAX_FILE_BYTES >> 20} MiB")
        return cls.of_file(_from_base64(said))

    def to_text(self) -> str:
        """Bare base64."""
        return base64.b64encode(self.data).decode()

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        def parse(said: object) -> SentPicture:
            if isinstance(said, SentPicture):
                return said
            if not isinstance(said, str):
                raise ValueError("must be a picture in base64, bare or as a data URL")  # noqa: TRY004 - pydantic's word
            return cls.of_text(said)

        return core_schema.no_info_plain_validator_function(
            parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                SentPicture.to_text, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "contentEncoding": "base64"}


@dataclass(frozen=True)
class SourcePixels:
    """8-bit rows of a sent picture, fitted to the size of the one to be made, top row first.

    The file's hash and that size stand for them in comparisons, records and logs.
    """

    rows: bytes = field(repr=False, compare=False)
    sha256: str  # hex, of the file that they came from


@dataclass(frozen=True)
class Edit:
    """What a picture starts from, besides noise."""

    init_image: SourcePixels  # RGB, height x width x 3
    mask: SourcePixels | None  # height x width: 255 is repainted, 0 stays
    strength: float  # above 0, up to 1: the share of the steps that are done

    def without_pixels(self) -> Edit:
        """Equal to this one, and small: to be remembered."""
        mask = self.mask and SourcePixels(b"", self.mask.sha256)
        return Edit(SourcePixels(b"", self.init_image.sha256), mask, self.strength)


def _from_base64(text: str) -> bytes:
    """With line ends or without; text is not copied unless it has some. Raises ValueError."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        pass
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError:
        raise ValueError("must be a picture in base64, bare or as a data URL") from None


def steps_done(num_inference_steps: int, strength: float) -> int:
    """How many are done of so many: StableDiffusionImg2ImgPipeline.get_timesteps."""
    return min(int(num_inference_steps * strength), num_inference_steps)


def fitted_size(picture: SentPicture, shortest: int, longest: int) -> tuple[int, int]:
    """The picture's own size, width and height, in multiples of 8 within a model's sides.

    Scaled down as a whole where it is too large, up where it is too small. Raises ValueError where
    that cannot be done without cutting something off.
    """
    width, height = picture.width, picture.height
    shortest, longest = -(-shortest // 8) * 8, longest // 8 * 8
    scale = min(1.0, longest / max(width, height))
    scale = max(scale, shortest / min(width, height))
    size = (max(8, round(width * scale / 8) * 8), max(8, round(height * scale / 8) * 8))
    if max(size) > longest:
        raise ValueError(
            f"is {width} x {height} pixels, too long and narrow for a model of {shortest} to"
            f" {longest} pixels a side; say format, or width and height, to have it cut"
        )
    return size


def edit_of(
    init_image: SentPicture, mask: SentPicture | None, strength: float, width: int, height: int
) -> Edit:
    """The pictures decoded and fitted to width x height pixels. Raises InvalidRequest.

    Fitted means scaled until it covers that size, and what juts out cut off on both sides alike.
    Transparent parts are white, in a mask black.
    """
    size = width, height
    return Edit(
        SourcePixels(_decoded("init_image", init_image, size), init_image.sha256),
        None if mask is None else SourcePixels(_decoded_mask(mask, size), mask.sha256),
        strength,
    )


def upright(name: str, picture: SentPicture) -> Image:
    """All its pixels as they are seen, RGB or RGBA. Raises InvalidRequest about field `name`."""
    try:
        return _fitted(picture, (picture.width, picture.height))
    except Exception as error:  # decoders raise all kinds of things at hostile bytes
        raise _undecodable(name, error) from None


def laid_on(ground: str, image: Image) -> Image:
    """RGB: transparent parts take the colour `ground`."""
    from PIL import Image as Pillow

    if image.mode == "RGB":
        return image
    laid = Pillow.new("RGB", image.size, ground)
    laid.paste(image, mask=image.getchannel("A"))
    return laid


def _decoded(name: str, picture: SentPicture, size: tuple[int, int]) -> bytes:
    try:
        return laid_on("white", _fitted(picture, size)).tobytes()
    except Exception as error:  # decoders raise all kinds of things at hostile bytes
        raise _undecodable(name, error) from None


def _decoded_mask(picture: SentPicture, size: tuple[int, int]) -> bytes:
    try:
        grey = laid_on("black", _fitted(picture, size)).convert("L")
    except Exception as error:  # as above
        raise _undecodable("mask", error) from None
    rows = grey.point([255 if level >= _HALF else 0 for level in range(256)]).tobytes()
    if 255 not in rows:
        raise InvalidRequest(
            FieldError("mask", "holds no white: white is repainted, black stays as it is")
        )
    return rows


def _undecodable(name: str, error: Exception) -> InvalidRequest:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InvalidRequest(FieldError(name, f"is cut short or damaged: {reason}"))


def _fitted(picture: SentPicture, size: tuple[int, int]) -> Image:
    """RGB or RGBA, upright, of that size; scaled before anything else is made of its pixels."""
    from PIL import ImageOps
    from PIL.Image import Resampling, Transpose

    upright = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE, 6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }  # fmt: skip
    image = _opened(picture.data)
    orientation = _orientation(image)
    image.load()
    size = size[::-1] if orientation in _LYING else size
    image = ImageOps.fit(_in_colours(image), size, method=Resampling.LANCZOS)
    return image.transpose(upright[orientation]) if orientation in upright else image


def _in_colours(image: Image) -> Image:
    """Greys, palettes, 16 bits and CMYK as 8-bit RGB, with an alpha channel where there is one."""
    if image.mode.startswith("I"):  # 16-bit greys, which Pillow would cut off at 255
        image = image.convert("I").point(lambda level: level * (1 / 256)).convert("L")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _opened(data: bytes) -> Image:
    """The header alone is read. Raises ValueError."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        return Pillow.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError("is no PNG, JPEG or WebP picture") from None
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise ValueError(f"has too many pixels; {MAX_PIXELS:,} are taken at most") from None
    except Exception as error:  # decoders raise all kinds of things at hostile bytes
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"is no picture that can be read: {reason}") from None


def _orientation(image: Image) -> int:
    """EXIF's, from what precedes the pixels; 1, upright, where there is none or none to be read.

    Not Pillow's getexif: it decodes a whole PNG to look behind the pixels.
    """
    from PIL.Image import Exif

    said = image.info.get("exif")
    if not said:
        return 1
    try:
        exif = Exif()
        exif.load(said)
        return int(exif.get(_EXIF_ORIENTATION, 1))
    except Exception:  # as hostile as the pixels, and nothing hangs on it
        return 1
