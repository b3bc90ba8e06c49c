"""The document: operations and the models that validate become OpenAPI 3.1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from imagegen import __version__
from imagegen.errors import Busy, ImagegenError, Unauthenticated
from imagegen.web.errors import status_of
from imagegen.web.openai.answers import ErrorAnswer
from imagegen.web.openapi.a1111 import A1111_FAILURE, A1111_OPERATIONS
from imagegen.web.openapi.campaigns import CAMPAIGN_OPERATIONS
from imagegen.web.openapi.generations import GENERATION_OPERATIONS
from imagegen.web.openapi.library import LIBRARY_OPERATIONS
from imagegen.web.openapi.marks import MARK_OPERATIONS
from imagegen.web.openapi.native import NATIVE_OPERATIONS
from imagegen.web.openapi.openai import OPENAI_OPERATIONS
from imagegen.web.openapi.operation import (
    A_BRAND,
    HTML,
    JSON,
    TEXT,
    Answer,
    Events,
    Operation,
    Operations,
    Schema,
)
from imagegen.web.openapi.pages import PAGE_OPERATIONS
from imagegen.web.openapi.security import schemes_of
from imagegen.web.openapi.shapes import Problem

OPERATIONS: Operations = {
    **NATIVE_OPERATIONS,
    **GENERATION_OPERATIONS,
    **MARK_OPERATIONS,
    **OPENAI_OPERATIONS,
    **A1111_OPERATIONS,
    **PAGE_OPERATIONS,
    **LIBRARY_OPERATIONS,
    **CAMPAIGN_OPERATIONS,
}
TAGS = {
    "Pictures": "Ask for pictures, in imagegen's own words.",
    "Brands": "What may be asked.",
    "OpenAI": "The same for OpenAI's clients: a brand is a model.",
    "AUTOMATIC1111": "The same for AUTOMATIC1111's clients: a brand is a style.",
    "Operation": "For those who run it.",
    "Pages": "For browsers.",
}
_AUTOMATIC = {"HEAD", "OPTIONS"}
_REF = "#/components/schemas/{model}"
_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")


def operations_of(rules: Iterable[Rule]) -> Iterator[tuple[str, str]]:
    """(method, path) of every route, paths as Flask writes them."""
    for rule in rules:
        for method in sorted((rule.methods or set()) - _AUTOMATIC):
            yield method, rule.rule


def build_document(
    rules: Iterable[Rule], *, root: str, brand: str, ways: frozenset[str]
) -> dict[str, Any]:
    """Everything that these routes take and give.

    root: the address of this service. brand: one that there is, for the examples. ways: those of
    IMAGEGEN_AUTH.
    """
    schemes = schemes_of(ways)
    paths: dict[str, dict[str, Any]] = {}
    routes = set(operations_of(rules))
    there = {key: operation for key, operation in OPERATIONS.items() if key in routes}
    for (method, path), operation in there.items():
        item = paths.setdefault(_VARIABLE.sub(r"{\1}", path), {})
        item[method.lower()] = _operation(method, path, operation, brand, needs_caller=bool(ways))
    used = {operation.tag for operation in there.values()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "imagegen",
            "version": __version__,
            "summary": "On-brand pictures on demand",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root.rstrip("/")}],
        "tags": [{"name": n, "description": text} for n, text in TAGS.items() if n in used],
        "security": [{name: []} for name in schemes],
        "paths": paths,
        "components": {"schemas": _schemas(list(there.values())), "securitySchemes": schemes},
    }


def _operation(
    method: str, path: str, operation: Operation, brand: str, *, needs_caller: bool
) -> dict[str, Any]:
    needs_caller = needs_caller and not operation.open_to_all
    said: dict[str, Any] = {
        "operationId": _name(method, path),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": _parameters(path, operation),
        "responses": _responses(path, operation, needs_caller=needs_caller),
    }
    if operation.open_to_all:
        said["security"] = []
    if operation.description:
        said["description"] = operation.description
    if operation.body:
        content = {kind: {"schema": _schema(model)} for kind, model in operation.body.items()}
        if operation.example is not None and JSON in content:
            text = json.dumps(operation.example).replace(A_BRAND, brand)
            content[JSON]["example"] = json.loads(text)
        said["requestBody"] = {"required": operation.needs_body, "content": content}
    return said


def _name(method: str, path: str) -> str:
    words = re.findall(r"[a-z0-9]+", _VARIABLE.sub(r"\1", path))
    return "_".join([method.lower(), *words])


def _parameters(path: str, operation: Operation) -> list[dict[str, Any]]:
    known = {one.name for one in operation.parameters if one.place == "path"}
    assert set(_VARIABLE.findall(path)) == known, f"{path}: what its variables are is not said"
    return [
        {
            "name": one.name,
            "in": one.place,
            "description": one.description,
            "required": one.place == "path",
            "schema": dict(one.schema),
        }
        for one in operation.parameters
    ]


def _responses(path: str, operation: Operation, *, needs_caller: bool) -> dict[str, Any]:
    failures = [*operation.failures, *([Unauthenticated] if needs_caller else [])]
    told = {str(status): _answer(answer) for status, answer in operation.answers.items()}
    failure = _failure(path)
    if any(HTML in answer.content for answer in operation.answers.values()):
        failure = {**failure, HTML: TEXT}  # for browsers
    by_status: dict[int, list[type[ImagegenError]]] = {}
    for kind in failures:
        by_status.setdefault(_status(path, kind), []).append(kind)
    for status, kinds in sorted(by_status.items()):
        codes = ", ".join(f"`{kind.code}`" for kind in kinds)
        said = f"{HTTPStatus(status).phrase}: {codes}"
        headers = {}
        if any(issubclass(kind, Busy) for kind in kinds):
            headers["Retry-After"] = "Seconds after which it is worth asking again."
        told.setdefault(str(status), _answer(Answer(said, failure, headers)))
    told["default"] = _answer(Answer("Any other failure", failure))
    return told


def _status(path: str, kind: type[ImagegenError]) -> int:
    status = status_of(kind)
    return 400 if status == 422 and path.startswith("/v1/") else status


def _failure(path: str) -> Mapping[str, Schema]:
    if path.startswith("/v1/"):
        return {JSON: ErrorAnswer}
    if path.startswith("/sdapi/"):
        return {JSON: A1111_FAILURE}
    return {"application/problem+json": Problem}


def _answer(answer: Answer) -> dict[str, Any]:
    headers = {"X-Request-Id": "By which the log knows the request.", **answer.headers}
    said: dict[str, Any] = {
        "description": answer.description,
        "headers": {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        },
    }
    if answer.content:
        said["content"] = {kind: {"schema": _schema(one)} for kind, one in answer.content.items()}
    return said


def _schema(schema: Schema) -> dict[str, Any]:
    if isinstance(schema, type):
        return {"$ref": _REF.format(model=schema.__name__)}
    if isinstance(schema, Events):
        return _event_schema(schema)
    return dict(schema)


def _event_schema(events: Events) -> dict[str, Any]:
    """Before OpenAPI 3.2, the schema of an event stream is taken for that of one event."""
    data = [_schema(model) for model in _models(events)]
    return {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": list(events.kinds)},
            "data": {
                "type": "string",
                "contentMediaType": JSON,
                "contentSchema": {"anyOf": data},
            },
        },
    }


def _models(schema: Schema) -> list[type[BaseModel]]:
    if isinstance(schema, Events):
        return list(dict.fromkeys(schema.kinds.values()))
    return [schema] if isinstance(schema, type) else []


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """What is taken is described as it is checked, what is given as it is written."""
    taken: set[type[BaseModel]] = set()
    given: set[type[BaseModel]] = {Problem, ErrorAnswer}
    for operation in operations:
        for schema in operation.body.values():
            taken.update(_models(schema))
        for answer in operation.answers.values():
            for schema in answer.content.values():
                given.update(_models(schema))
    _, described = models_json_schema(
        [*_in_mode("validation", taken), *_in_mode("serialization", given)], ref_template=_REF
    )
    definitions: dict[str, Any] = described["$defs"]
    return definitions


def _in_mode(
    mode: JsonSchemaMode, models: Iterable[type[BaseModel]]
) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    return [(model, mode) for model in sorted(models, key=lambda one: one.__name__)]
