"""The document says what there is: every route, every model, and the page made from it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from imagegen.application import Application
from imagegen.generation import GenerationRequest
from imagegen.web.app import create_app
from imagegen.web.openai.bodies import GenerationsBody
from imagegen.web.openapi.document import OPERATIONS, build_document, operations_of
from imagegen.web.openapi.reading import sections


@pytest.fixture(scope="module")
def document(client: FlaskClient) -> dict[str, Any]:
    said: dict[str, Any] = client.get("/openapi.json").get_json()
    return said


def test_every_route_is_in_it_and_nothing_else(
    application: Application, document: dict[str, Any]
) -> None:
    there = set(operations_of(create_app(application).url_map.iter_rules()))
    assert not there - set(OPERATIONS), "rows that imagegen/web/openapi/ lacks"
    assert not set(OPERATIONS) - there, "rows about routes that are gone"
    assert sum(len(item) for item in document["paths"].values()) == len(there)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert named == set(schemas)


def test_names_are_unique(document: dict[str, Any]) -> None:
    names = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    assert len(names) == len(set(names))


def test_a_request_is_described_by_the_model_that_checks_it(document: dict[str, Any]) -> None:
    for model in (GenerationRequest, GenerationsBody):
        said = document["components"]["schemas"][model.__name__]
        assert list(said["properties"]) == list(model.model_fields)
        assert said["additionalProperties"] is False


def test_every_example_is_taken(client: FlaskClient, document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                if "example" in content:
                    answer = client.open(path, method=method.upper(), json=content["example"])
                    assert answer.status_code == 200, (path, kind, answer.text)


def test_it_names_the_address_it_was_asked_at(client: FlaskClient) -> None:
    document = client.get("/openapi.json", base_url="https://pictures.example").get_json()
    assert document["servers"] == [{"url": "https://pictures.example"}]


def test_openais_failures_are_told_in_their_shape(document: dict[str, Any]) -> None:
    responses = document["paths"]["/v1/images/generations"]["post"]["responses"]
    assert "422" not in responses
    assert "`invalid_request`" in responses["400"]["description"]
    [kind] = responses["400"]["content"].items()
    assert kind == (
        "application/json", {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}},
    )  # fmt: skip


def test_who_may_come_back_is_told_when(document: dict[str, Any]) -> None:
    responses = document["paths"]["/generate"]["post"]["responses"]
    assert all("Retry-After" in responses[status]["headers"] for status in ("429", "503"))


def test_the_page_shows_every_operation(client: FlaskClient, document: dict[str, Any]) -> None:
    page = client.get("/docs")
    assert page.mimetype == "text/html"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    for item in document["paths"].values():
        for operation in item.values():
            assert f'<article id="{operation["operationId"]}">' in page.text
    assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son\w+=|https?://", page.text)


def test_fields_are_told_in_words(document: dict[str, Any]) -> None:
    [generate] = [
        one for section in sections(document) for one in section.operations
        if one.id == "post_generate"
    ]  # fmt: skip
    rows = {row.name: row for row in generate.fields}
    assert (rows["brand"].kind, rows["brand"].required) == ("string", True)
    assert rows["num_images"].kind == "integer, from 1, to 8"
    assert rows["num_images"].default == "1"
    assert rows["width"].kind == "integer, from 8, to 8,192, a multiple of 8"
    assert rows["scheduler"].kind.startswith("ddim · ddpm")
    assert rows["output_format"].kind == "png · jpeg · webp"
    assert generate.can_be_tried


def test_who_asks_is_said_where_somebody_wants_to_know(
    application: Application, document: dict[str, Any]
) -> None:
    assert document["security"] == []
    closed = build_document(
        create_app(application).url_map.iter_rules(),
        root="http://localhost",
        brand="pop",
        ways=frozenset({"keys", "iap"}),
    )
    schemes = closed["components"]["securitySchemes"]
    assert closed["security"] == [{name: []} for name in schemes]
    assert set(schemes) == {"key", "keyHeader", "keyPassword", "iap"}
    generate = closed["paths"]["/generate"]["post"]
    assert "401" in generate["responses"]
    assert "security" not in generate
    assert closed["paths"]["/livez"]["get"]["security"] == []
    assert "401" not in closed["paths"]["/livez"]["get"]["responses"]
    assert "401" not in document["paths"]["/generate"]["post"]["responses"]


def test_events_are_described_one_by_one(document: dict[str, Any]) -> None:
    answer = document["paths"]["/v1/images/edits"]["post"]["responses"]["200"]
    event = answer["content"]["text/event-stream"]["schema"]["properties"]
    assert event["event"]["enum"] == ["image_edit.partial_image", "image_edit.completed", "error"]
    assert len(event["data"]["contentSchema"]["anyOf"]) == 3
