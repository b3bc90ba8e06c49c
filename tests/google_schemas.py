"""Google's discovery documents as JSON Schema: what Cloud Run and Cloud Build accept, no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import googleapiclient
from jsonschema import Draft202012Validator

DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
FORMATS = {
    "int64": r"^-?[0-9]+$",
    "google-duration": r"^[0-9]+(\.[0-9]{1,9})?s$",
}
CLOUD_RUN_PREFIXES = ("run.googleapis.com/", "autoscaling.knative.dev/")


@cache
def discovery_document(name: str) -> dict[str, Any]:
    return dict(json.loads((DOCUMENTS / name).read_text()))


def validator(document: str, kind: str) -> Draft202012Validator:
    """Checks a file against one kind of a discovery document, closed to unknown keys."""
    schemas = discovery_document(document)["schemas"]
    closed = {
        "$ref": f"#/$defs/{kind}",
        "$defs": {name: _closed(schema) for name, schema in schemas.items()},
    }
    Draft202012Validator.check_schema(closed)
    return Draft202012Validator(closed)


def _closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """One discovery schema as JSON Schema, without what the server alone writes (readOnly)."""
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    result = {key: schema[key] for key in ("type", "enum") if key in schema}
    if result.get("type") == "any":
        return {}
    if schema.get("format") in FORMATS:
        result["pattern"] = FORMATS[schema["format"]]
    if "items" in schema:
        result["items"] = _closed(schema["items"])
    if schema.get("type") == "object":
        result["properties"] = {
            name: _closed(part)
            for name, part in schema.get("properties", {}).items()
            if not part.get("readOnly")
        }
        extra = schema.get("additionalProperties")
        result["additionalProperties"] = False if extra is None else _closed(extra)
    return result


def accepted_annotations(resource: str) -> frozenset[str]:
    """What `resource` ("Service", "Revision") may carry, read from the schema's own text."""
    schemas = discovery_document("run.v1.json")["schemas"]
    text = schemas["ObjectMeta"]["properties"]["annotations"]["description"]
    rows = re.findall(r"\* `([^`]+)`: ([A-Za-z, ]+)", text)
    return frozenset(
        name
        for name, resources in rows
        if {resource, "All resources"} & {one.strip() for one in resources.split(",")}
    )


def unknown_annotations(annotations: Mapping[str, str], resource: str) -> Iterator[str]:
    for name in annotations:
        if name.startswith(CLOUD_RUN_PREFIXES) and name not in accepted_annotations(resource):
            yield f"{resource} takes no annotation {name}"


def faults_of_a_service(service: Mapping[str, Any]) -> list[str]:
    """Everything Cloud Run would refuse in a knative Service, as far as its own schema says."""
    errors = validator("run.v1.json", "Service").iter_errors(service)
    faults = [f"{error.json_path}: {error.message}" for error in errors]
    if faults:
        return faults
    revision = service["spec"]["template"]
    return [
        *unknown_annotations(service["metadata"].get("annotations", {}), "Service"),
        *unknown_annotations(revision["metadata"].get("annotations", {}), "Revision"),
    ]


def faults_of_a_build(build: Mapping[str, Any]) -> list[str]:
    """Everything Cloud Build would refuse in a build, as far as its own schema says."""
    errors = validator("cloudbuild.v1.json", "Build").iter_errors(build)
    return [f"{error.json_path}: {error.message}" for error in errors]
