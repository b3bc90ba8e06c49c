"""Parsing: a caller's words -> GenerationRequest, and what is wrong with them in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from imagegen.errors import FieldError, InvalidRequest, MalformedJson
from imagegen.generation import GenerationRequest

MAX_FAULTS = 50  # told at once: a body may have thousands of unknown fields
WHOLE_REQUEST = "request"  # the field named when two fields contradict each other

_SENTENCES = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number within its bounds",
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
    "model_type": "must be a JSON object with brand and prompt",
}  # fmt: skip
_PATTERNS = {
    "brand": "must be a brand's id: small letters, digits and hyphens",
    "format": "must be a format's name: small letters, digits, - and _",
}


def parse_json(body: bytes) -> GenerationRequest:
    """The request in a JSON body; of a key that appears twice the last value counts.

    Raises MalformedJson for what is not JSON, not UTF-8 or nested too deep, else InvalidRequest.
    """
    try:
        return GenerationRequest.model_validate_json(body)
    except ValidationError as error:
        raise _in_plain_words(error) from None


def parse_strings(fields: Mapping[str, Any]) -> GenerationRequest:
    """The request in values that are all text, from a table or a command line.

    Raises InvalidRequest.
    """
    try:
        return GenerationRequest.model_validate_strings(dict(fields))
    except ValidationError as error:
        raise _in_plain_words(error) from None


def _in_plain_words(error: ValidationError) -> MalformedJson | InvalidRequest:
    findings = error.errors(include_url=False, include_input=False)
    for finding in findings:
        if finding["type"] == "json_invalid":
            return MalformedJson(f"the body is not JSON: {finding['ctx']['error']}")
    faults = [FieldError(_field(finding), _message(finding)) for finding in findings[:MAX_FAULTS]]
    if unsaid := len(findings) - len(faults):
        faults.append(FieldError(WHOLE_REQUEST, f"has {unsaid:,} faults more"))
    return InvalidRequest(*faults)


def _field(finding: ErrorDetails) -> str:
    return ".".join(map(str, finding["loc"])) or WHOLE_REQUEST


def _message(finding: ErrorDetails) -> str:
    if finding["type"] == "string_pattern_mismatch":
        return _PATTERNS[_field(finding)]
    if finding["type"] == "value_error":
        return str(finding["ctx"]["error"])
    sentence = _SENTENCES.get(finding["type"])
    return sentence.format(**finding.get("ctx", {})) if sentence else finding["msg"]
