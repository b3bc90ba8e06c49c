"""Answers about generations: what a record says of itself on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from imagegen.generation import Generation
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


def state_of(record: GenerationRecord, root: str, position: int | None = None) -> dict[str, Any]:
    """JSON of a GenerationState. root: what the caller calls this service."""
    body = with_absolute_links(record.generation(), root).model_dump(mode="json")
    if record.error is not None:
        body["error"] = record.error.model_dump(mode="json", exclude_defaults=True)
    if position is not None:
        body["queue_position"] = position
    return body
