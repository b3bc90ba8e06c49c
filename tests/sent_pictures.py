"""Pictures as somebody sends them: files, and files in base64."""

from __future__ import annotations

import base64
import functools
import io

from PIL import Image, ImageFilter

from imagegen.edits import Edit, SentPicture, edit_of


def scene(width: int = 64, height: int = 64) -> Image.Image:
    """Four fields of different colours: which corner is where can be told."""
    image = Image.new("RGB", (width, height), (200, 30, 30))
    half = width // 2, height // 2
    image.paste((30, 160, 60), (half[0], 0, width, half[1]))
    image.paste((40, 60, 200), (0, half[1], half[0], height))
    image.paste((240, 240, 230), (*half, width, height))
    return image


def half_mask(width: int = 64, height: int = 64) -> Image.Image:
    """The right half is repainted."""
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, (width // 2, 0, width, height))
    return mask


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def sent(image: Image.Image, kind: str = "PNG", **options: object) -> SentPicture:
    return SentPicture.of_file(file_of(image, kind, **options))


def text_of(image: Image.Image, kind: str = "PNG", **options: object) -> str:
    """Bare base64."""
    return base64.b64encode(file_of(image, kind, **options)).decode()


@functools.cache
def edit(task: str, strength: float = 0.6, width: int = 64, height: int = 64) -> Edit:
    """Of a soft scene; task: "img2img", or "inpaint" for its right half."""
    picture = scene(width, height).filter(ImageFilter.GaussianBlur(5))
    mask = sent(half_mask(width, height)) if task == "inpaint" else None
    return edit_of(sent(picture), mask, strength, width, height)
