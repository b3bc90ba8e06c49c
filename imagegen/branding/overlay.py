"""Overlay: what a request wants laid on its pictures."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from imagegen.texts import Text, not_empty

_Headline = Annotated[Text, StringConstraints(max_length=120), AfterValidator(not_empty)]
_Legal = Annotated[Text, StringConstraints(max_length=300), AfterValidator(not_empty)]


class Overlay(BaseModel):
    """The brand's logo and words over a picture; `true` stands for the logo alone."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    logo: bool = Field(default=True, description="The brand's logo, where its kit puts it.")
    headline: _Headline | None = Field(
        default=None, description="Up to 120 characters, as large as there is room."
    )
    legal: _Legal | None = Field(default=None, description="Small print, up to 300 characters.")


def read_overlay(said: object, *, as_text: bool) -> object:
    """What is to be validated as an Overlay, None for no overlay.

    as_text: from a table or a command line, where `true` and JSON are texts. Raises ValueError.
    """
    if as_text and isinstance(said, str):
        try:
            said = json.loads(said.strip().lower() if said.strip()[:1] != "{" else said)
        except (ValueError, RecursionError):
            said = None
        if said is None:
            raise ValueError('must be true, false, or JSON such as {"headline": "Summer sale"}')
    if isinstance(said, bool):
        return {} if said else None
    if said is not None and not isinstance(said, dict | Overlay):
        raise ValueError("must be true, false, or an object with headline, legal and logo")
    return said
