"""The fields of a request, as a client's calls take them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Required, TypedDict

from imagegen.errors import FieldError, InvalidRequest


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
    adapter_scale: float | None
    output_format: str
    output_quality: int
    exact: bool
    campaign: str | None
    deadline_s: float | None


def body_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, as JSON takes it. Whether it is right the service judges.

    Raises InvalidRequest for what JSON cannot say.
    """
    body = {name: value for name, value in fields.items() if value is not None}
    for name, value in body.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(FieldError(name, f"cannot be sent as JSON: {error}")) from None
    return body
