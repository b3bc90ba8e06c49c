"""Google's discovery documents as JSON Schema: what Cloud Run, Build and Storage accept."""

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
# The list in run.v1 has it for revisions only. Version 2 has the field for tasks too, and gcloud
# writes this annotation there for `run jobs create --no-gpu-zonal-redundancy`.
NOT_LISTED = {"Execution": {"run.googleapis.com/gpu-zonal-redundancy-disabled"}}


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
    """What a "Service", "Revision", "Job" or "Execution" may carry, from the schema's own text."""
    schemas = discovery_document("run.v1.json")["schemas"]
    text = schemas["ObjectMeta"]["properties"]["annotations"]["description"]
    rows = re.findall(r"\* `([^`]+)`: ([A-Za-z, ]+)", text)
    return frozenset(
        name
        for name, resources in rows
        if {resource, "All resources"} & {one.strip() for one in resources.split(",")}
    ) | NOT_LISTED.get(resource, set())


def unknown_annotations(annotations: Mapping[str, str], resource: str) -> Iterator[str]:
    for name in annotations:
        if name.startswith(CLOUD_RUN_PREFIXES) and name not in accepted_annotations(resource):
            yield f"{resource} takes no annotation {name}"


def unknown_keys(document: str, kind: str, content: Mapping[str, Any]) -> list[str]:
    errors = validator(document, kind).iter_errors(content)
    return [f"{error.json_path}: {error.message}" for error in errors]


def faults_of_a_service(service: Mapping[str, Any]) -> list[str]:
    """Everything Cloud Run would refuse in a knative Service, as far as its own schema says."""
    return unknown_keys("run.v1.json", "Service", service) or [
        *unknown_annotations(annotations_of(service), "Service"),
        *unknown_annotations(annotations_of(service["spec"]["template"]), "Revision"),
    ]


def faults_of_a_job(job: Mapping[str, Any]) -> list[str]:
    """Everything Cloud Run would refuse in a Job, as far as its own schema says."""
    return unknown_keys("run.v1.json", "Job", job) or [
        *unknown_annotations(annotations_of(job), "Job"),
        *unknown_annotations(annotations_of(job["spec"]["template"]), "Execution"),
    ]


def faults_of_a_build(build: Mapping[str, Any]) -> list[str]:
    """Everything Cloud Build would refuse in a build, as far as its own schema says."""
    return unknown_keys("cloudbuild.v1.json", "Build", build)


def faults_of_a_lifecycle(lifecycle: Mapping[str, Any]) -> list[str]:
    """Everything Cloud Storage would refuse in a bucket's lifecycle, as far as its schema says.

    What may stand for an action stands in the schema's prose.
    """
    faults = unknown_keys("storage.v1.json", "Bucket", {"lifecycle": lifecycle})
    if faults:
        return faults
    rule = discovery_document("storage.v1.json")["schemas"]["Bucket"]["properties"]["lifecycle"]
    action = rule["properties"]["rule"]["items"]["properties"]["action"]["properties"]["type"]
    known = set(re.findall(r"[A-Z]\w+", action["description"]))
    said = [one["action"]["type"] for one in lifecycle["rule"]]
    return [f"no action {one}" for one in said if one not in known]


def annotations_of(resource: Mapping[str, Any]) -> Mapping[str, str]:
    return dict(resource.get("metadata", {}).get("annotations", {}))
