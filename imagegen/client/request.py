"""The fields of a request, as a client's calls take them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Required, TypeAlias, TypedDict

from imagegen.errors import FieldError, InvalidRequest

PICTURES = ("init_image", "mask")  # fields that are files
SentFile: TypeAlias = bytes | str | os.PathLike[str]  # a picture, or where it lies here


class RequestFields(TypedDict, total=False):
    """GenerationRequest's fields (docs/api.md); what is left out or None the brand decides."""

    brand: Required[str]
    prompt: Required[str]
    negative_prompt: str | None
    num_images: int
    format: str | None
    width: int | None
    height: int | None
    num_inference_steps: int | None
    guidance_scale: float | None
    scheduler: str | None
    seed: int | None
    init_image: SentFile | None
    mask: SentFile | None
    strength: float | None
    adapter_scale: float | None
    overlay: bool | Mapping[str, Any] | None
    score: bool
    output_format: str
    output_quality: int
    exact: bool
    campaign: str | None
    deadline_s: float | None


def body_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, as JSON takes it. Whether it is right the service judges.

    Raises InvalidRequest for a file that cannot be read and for what JSON cannot say.
    """
    body = {name: value for name, value in fields.items() if value is not None}
    for name, value in body.items():
        if name in PICTURES:
            body[name] = _as_base64(name, value)
            continue
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(FieldError(name, f"cannot be sent as JSON: {error}")) from None
    return body


def _as_base64(name: str, picture: SentFile) -> str:
    """A picture's file: its content, or where it lies; a data URL goes as it is."""
    if isinstance(picture, bytes):
        return base64.b64encode(picture).decode()
    if isinstance(picture, str) and picture.startswith("data:"):
        return picture
    try:
        return base64.b64encode(Path(picture).read_bytes()).decode()
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequest(FieldError(name, f"cannot read {picture!r:.200}: {reason}")) from None
