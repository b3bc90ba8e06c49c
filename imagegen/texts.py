"""Texts: what people write, cleaned before anything else is made of it."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, StringConstraints


def clean_text(text: str) -> str:
    """NFC without control characters; tabs and line ends become spaces, as people paste them."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(" " if character in "\t\r\n" else character for character in text)
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError("must not contain control characters")
    return text.strip()


def not_empty(text: str) -> str:
    """Raises ValueError for what nobody can see: zero-width characters say nothing either."""
    if all(unicodedata.category(character) in ("Cf", "Zs") for character in text):
        raise ValueError("must say something")
    return text


# Counted after cleaning: NFC makes some texts shorter (most of macOS's) and a few longer.
Text = Annotated[str, AfterValidator(clean_text), StringConstraints(max_length=2_000)]
