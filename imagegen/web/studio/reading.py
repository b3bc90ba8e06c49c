"""What the text encoder will read of a prompt, told while somebody writes it."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from imagegen.clip_tokens import READ_TOKENS
from imagegen.generation import BRAND_PATTERN
from imagegen.parsing import read_strings
from imagegen.texts import Text
from imagegen.web.auth import current_caller
from imagegen.web.collaborators import Collaborators
from imagegen.web.studio.shell import current_texts


class ReadingForm(BaseModel):
    """A prompt, as it is so far."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    brand: str = Field(pattern=BRAND_PATTERN)
    prompt: Annotated[Text, StringConstraints(max_length=2_000)] = ""


def register_reading(blueprint: Blueprint, parts: Collaborators) -> None:
    """Asks neither the renderer nor the queue."""

    @blueprint.post("/studio/reading")
    def reading() -> ResponseReturnValue:
        said = read_strings(ReadingForm, request.form)
        preset = parts.catalog.seen_by(current_caller()).get(said.brand)
        return jsonify(_told(parts, preset.template.replace("{prompt}", said.prompt)))


def _told(parts: Collaborators, text: str) -> dict[str, Any]:
    found, t = parts.meter.read(text), current_texts()
    key = "reading.exact" if found.is_exact else "reading.estimate"
    sentence = t(key, tokens=found.tokens, limit=READ_TOKENS)
    if found.is_too_long:
        over = "reading.unread" if found.unread else "reading.over"
        sentence = f"{sentence} {t(over, unread=found.unread)}"
    return {
        "tokens": found.tokens,
        "limit": READ_TOKENS,
        "is_exact": found.is_exact,
        "unread": found.unread,
        "sentence": sentence,
    }
