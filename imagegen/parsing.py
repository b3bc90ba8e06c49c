"""Parsing: a caller's words -> GenerationRequest, and what is wrong with them in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from imagegen.errors import FieldError, InvalidRequest, MalformedJson
from imagegen.generation import GenerationRequest

MAX_FAULTS = 50  # told at once: a body may have thousands of unknown fields
WHOLE_REQUEST = "request"  # the field named when two fields contradict each other

IS_REQUIRED = "is required"
IS_UNKNOWN = "is not a known field"

_SENTENCES = {
    "missing": IS_REQUIRED,
    "extra_forbidden": IS_UNKNOWN,
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number within its bounds",
    "int_from_float": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a finite number within its bounds",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} characters",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "multiple_of": "must be a multiple of {multiple_of}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}  # fmt: skip
_PATTERNS = {
    "brand": "must be a brand's id: small letters, digits and hyphens",
    "cursor": "must be one that an earlier page ended with",
    "format": "must be a format's name: small letters, digits, - and _",
    "size": "must be auto, WIDTHxHEIGHT such as 512x768, or a format's name",
}

Words = TypeVar("Words", bound=BaseModel)


def parse_json(body: bytes) -> GenerationRequest:
    """The request in a JSON body; of a key that appears twice the last value counts.

    Raises MalformedJson for what is not JSON, not UTF-8 or nested too deep, else InvalidRequest.
    """
    return read_json(GenerationRequest, body)


def parse_strings(fields: Mapping[str, Any]) -> GenerationRequest:
    """The request in values that are all text, from a table or a command line.

    Raises InvalidRequest.
    """
    return read_strings(GenerationRequest, fields)


def parse_fields(fields: Mapping[str, Any]) -> GenerationRequest:
    """The request in values of their own types, from a dialect. Raises InvalidRequest."""
    return _read(GenerationRequest, lambda: GenerationRequest.model_validate(dict(fields)))


def read_json(kind: type[Words], body: bytes) -> Words:
    """A dialect's body, as parse_json does it."""
    return _read(kind, lambda: kind.model_validate_json(body))


def read_strings(kind: type[Words], fields: Mapping[str, Any]) -> Words:
    """A dialect's form, as parse_strings does it."""
    return _read(kind, lambda: kind.model_validate_strings(dict(fields)))


def _read(kind: type[Words], validate: Callable[[], Words]) -> Words:
    try:
        return validate()
    except ValidationError as error:
        raise _in_plain_words(kind, error) from None


def _in_plain_words(
    kind: type[BaseModel], error: ValidationError
) -> MalformedJson | InvalidRequest:
    findings = error.errors(include_url=False, include_input=False)
    for finding in findings:
        if finding["type"] == "json_invalid":
            return MalformedJson(f"the body is not JSON: {finding['ctx']['error']}")
    faults = [
        FieldError(_field(finding), _message(kind, finding)) for finding in findings[:MAX_FAULTS]
    ]
    if unsaid := len(findings) - len(faults):
        faults.append(FieldError(WHOLE_REQUEST, f"has {unsaid:,} faults more"))
    return InvalidRequest(*faults)


def _field(finding: ErrorDetails) -> str:
    return ".".join(map(str, finding["loc"])) or WHOLE_REQUEST


def _message(kind: type[BaseModel], finding: ErrorDetails) -> str:
    if finding["type"] == "model_type":
        required = [name for name, field in kind.model_fields.items() if field.is_required()]
        return "must be a JSON object" + (f" with {' and '.join(required)}" if required else "")
    if finding["type"] == "string_pattern_mismatch":
        return _PATTERNS[_field(finding)]
    if finding["type"] == "value_error":
        return str(finding["ctx"]["error"])
    sentence = _SENTENCES.get(finding["type"])
    return sentence.format(**finding.get("ctx", {})) if sentence else finding["msg"]
