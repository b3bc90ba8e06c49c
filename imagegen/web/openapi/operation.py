"""What is said about one route: plain data from which the document is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from imagegen.errors import ImagegenError


@dataclass(frozen=True)
class Events:
    """Server-sent events: what the data of each is in JSON, by its name."""

    kinds: Mapping[str, type[BaseModel]]


Schema = type[BaseModel] | Mapping[str, Any] | Events
A_BRAND = "{a brand}"  # in an example: a brand that there is
JSON = "application/json"
HTML = "text/html"
EVENT_STREAM = "text/event-stream"
FILE: Mapping[str, Any] = {"type": "string", "format": "binary"}
TEXT: Mapping[str, Any] = {"type": "string"}


@dataclass(frozen=True)
class Parameter:
    """One thing that is said beside the body. In a path it is always required."""

    name: str
    place: str  # "path", "query", "header"
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: TEXT)


@dataclass(frozen=True)
class Answer:
    """What comes back when all went well, or as the route means it."""

    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)  # media type -> what it is
    headers: Mapping[str, str] = field(default_factory=dict)  # name -> what it says


@dataclass(frozen=True)
class Operation:
    """A method of a route."""

    tag: str
    summary: str
    answers: Mapping[int, Answer]
    failures: tuple[type[ImagegenError], ...] = ()
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, Schema] = field(default_factory=dict)  # media type -> what is taken
    needs_body: bool = True  # where it takes one
    example: Mapping[str, Any] | None = None  # of a body in JSON
    open_to_all: bool = False  # nobody needs to say who he is


Operations = Mapping[tuple[str, str], Operation]  # ("POST", "/generate") -> …


def page(description: str) -> Answer:
    """A page of the studio, whatever its status."""
    return Answer(description, {HTML: TEXT})


def answer(description: str, model: Schema, **headers: str) -> Mapping[int, Answer]:
    """200 in JSON."""
    return {200: Answer(description, {JSON: model}, headers)}
