"""What the page shows of the document: sections, operations, fields in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_JSON = "application/json"
_REF = "#/components/schemas/"
_BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "multipleOf": "a multiple of {}",
    "maxLength": "at most {} characters",
}


@dataclass(frozen=True)
class FieldView:
    """A row of a table: a parameter, or a field of a body."""

    name: str
    kind: str
    required: bool
    default: str  # "" where there is none
    text: str
    place: str = "body"  # or "path", "query", "header"


@dataclass(frozen=True)
class OperationView:
    """A method of a route."""

    id: str
    method: str
    path: str
    summary: str
    text: str
    parameters: tuple[FieldView, ...]
    takes: str  # media types of the body
    fields: tuple[FieldView, ...]
    example: str  # a body in JSON; "" where none is taken
    answers: tuple[tuple[str, str, str], ...]  # status, what it means, media types
    can_be_tried: bool  # here: without files


@dataclass(frozen=True)
class SectionView:
    """Operations of a tag."""

    name: str
    text: str
    operations: tuple[OperationView, ...]


def sections(document: Mapping[str, Any]) -> list[SectionView]:
    """The document by its tags, in their order."""
    views = [
        (said["tags"][0], _operation(document, method, path, said))
        for path, item in document["paths"].items()
        for method, said in item.items()
    ]
    return [
        SectionView(
            tag["name"],
            tag["description"],
            tuple(view for name, view in views if name == tag["name"]),
        )
        for tag in document["tags"]
    ]


def _operation(
    document: Mapping[str, Any], method: str, path: str, said: Mapping[str, Any]
) -> OperationView:
    taken: Mapping[str, Any] = said.get("requestBody", {}).get("content", {})
    body: Mapping[str, Any] = taken.get(_JSON) or next(iter(taken.values()), {})
    example = json.dumps(body["example"], indent=2) if "example" in body else ""
    parameters = tuple(
        FieldView(
            one["name"],
            _kind(document, one["schema"]),
            one["required"],
            "",
            one["description"],
            one["in"],
        )
        for one in said["parameters"]
    )
    return OperationView(
        id=said["operationId"],
        method=method.upper(),
        path=path,
        summary=said["summary"],
        text=said.get("description", ""),
        parameters=parameters,
        takes=", ".join(taken),
        fields=tuple(_fields(document, body.get("schema", {}))),
        example=example,
        answers=tuple(
            (status, one["description"], ", ".join(one.get("content", {})))
            for status, one in said["responses"].items()
        ),
        can_be_tried=not taken or bool(example),
    )


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[FieldView]:
    schema = _resolved(document, schema)
    for name, one in schema.get("properties", {}).items():
        default = one.get("default")
        yield FieldView(
            name,
            _kind(document, one),
            name in schema.get("required", ()),
            "" if default is None else json.dumps(default),
            one.get("description", ""),
        )


def _kind(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Such as `integer, from 1, to 8`. null is left out: it is as good as not said."""
    said = _resolved(document, schema)
    if "anyOf" in said:
        choices = (one for one in said["anyOf"] if one.get("type") != "null")
        return " or ".join(_kind(document, one) for one in choices)
    if "enum" in said:
        return " · ".join(map(str, said["enum"]))
    if "const" in said:
        return str(said["const"])
    bounds = [words.format(f"{said[key]:,}") for key, words in _BOUNDS.items() if key in said]
    return ", ".join([str(said.get("type", "anything")), *bounds])


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").removeprefix(_REF)
    if not name:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][name]
    return found
