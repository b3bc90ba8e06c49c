"""Answers about generations: what a record says of itself on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from imagegen.generation import GeneratedImage, Generation
from imagegen.generations.records import Failure, GenerationRecord
from imagegen.web.links import with_absolute_links


class GenerationState(Generation):
    """A generation as it is now."""

    error: Failure | None = Field(default=None, description="Only where it has failed.")
    queue_position: int | None = Field(
        default=None, description="Pictures before it; only while it waits on this instance."
    )


class GenerationList(BaseModel):
    """A page, newest first."""

    generations: list[GenerationState]
    cursor: str | None = Field(description="For the next page; null: this is the last one.")


class QueuedData(BaseModel):
    """Of the event `queued`: there is a place for it."""

    id: str
    status: Literal["queued"] = "queued"
    queue_position: int = Field(description="Pictures before it.")


class StepData(BaseModel):
    """Of the event `step`."""

    index: int = Field(description="Which picture, from 0.")
    step: int = Field(description="Steps that it has made.")
    of: int
    eta_s: float | None = Field(description="Until its last step; null while that is not known.")


class PreviewData(BaseModel):
    """Of the event `preview`: how a picture looks so far."""

    index: int = Field(description="Which picture, from 0.")
    content_type: Literal["image/jpeg"] = "image/jpeg"
    image: str = Field(description="In base64.", json_schema_extra={"contentEncoding": "base64"})


class ImageData(GeneratedImage):
    """Of the event `image`: a picture is stored."""

    index: int = Field(description="Which picture, from 0.")


def state_of(record: GenerationRecord, root: str, position: int | None = None) -> dict[str, Any]:
    """JSON of a GenerationState. root: what the caller calls this service."""
    body = with_absolute_links(record.generation(), root).model_dump(mode="json")
    if record.error is not None:
        body["error"] = record.error.model_dump(mode="json", exclude_defaults=True)
    if position is not None:
        body["queue_position"] = position
    return body
