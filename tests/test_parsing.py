"""A caller's words become a request, or a sentence about each field."""

import json

import pytest

from imagegen.errors import InvalidRequest, MalformedJson
from imagegen.generation import GenerationRequest
from imagegen.parsing import parse_json, parse_strings


def said(**fields: object) -> dict[str, object]:
    return {"brand": "aurora", "prompt": "a red mug"} | fields


def parsed(fields: dict[str, object]) -> GenerationRequest:
    return parse_json(json.dumps(fields).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 5_000,
        b'{"a":' * 5_000,
        b"\xff\xfe",
        b'{"brand": "a\xff", "prompt": "x"}',
        b'{"brand": "a", "prompt": "\\ud800"}',
    ],
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJson, match="not JSON"):
        parse_json(body)


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        (said(seed=-1), "seed", "must be 0 or more"),
        (said(seed=2**32), "seed", "must be 4294967295 or less"),
        (said(seed=True), "seed", "must be a whole number"),
        (said(num_images="2"), "num_images", "must be a whole number"),
        (said(num_images=9), "num_images", "must be 8 or less"),
        (said(width=65, height=64), "width", "must be a multiple of 8"),
        (said(width=64), "request", "width and height go together"),
        (said(format="square", width=64, height=64), "request", "either format or width"),
        (said(format="../x"), "format", "a format's name"),
        (said(brand="../etc"), "brand", "a brand's id"),
        (said(prompt="   "), "prompt", "must say something"),
        (said(prompt="\u200b\u2060 \ufeff"), "prompt", "must say something"),
        (said(prompt="x\x00"), "prompt", "control characters"),
        (said(prompt="x" * 2_001), "prompt", "at most 2000 characters"),
        (said(campaign="x" * 65), "campaign", "at most 64 characters"),
        (said(guidance_scale=float("nan")), "guidance_scale", "finite number"),
        (said(guidance_scale="5"), "guidance_scale", "must be a number"),
        (said(scheduler="plms"), "scheduler", "must be 'ddim', "),
        (said(exact=1), "exact", "must be true or false"),
        (said(deadline_s=0), "deadline_s", "must be more than 0"),
        (said(steps=20), "steps", "is not a known field"),
        ({"brand": "aurora"}, "prompt", "is required"),
    ],
)
def test_each_fault_is_named_in_plain_words(
    fields: dict[str, object], field: str, message: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(fields)
    [fault] = caught.value.fields
    assert fault.field == field
    assert message in fault.message


def test_thousands_of_faults_are_counted_instead() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(said(**{f"x{number}": 1 for number in range(3_050)}))
    assert len(caught.value.fields) == 51
    assert caught.value.fields[-1].message == "has 3,000 faults more"


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed({"brand": 7, "seed": "x"})
    assert [fault.field for fault in caught.value.fields] == ["brand", "prompt", "seed"]


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"7"])
def test_json_that_is_no_object_is_an_invalid_request(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="must be a JSON object"):
        parse_json(body)


def test_zero_is_a_value() -> None:
    request = parse_json(b'{"brand": "aurora", "prompt": "x", "seed": 0, "guidance_scale": 0}')
    assert (request.seed, request.guidance_scale) == (0, 0.0)


def test_a_text_is_counted_as_it_is_kept() -> None:
    decomposed = "e\N{COMBINING ACUTE ACCENT}" * 2_000  # as macOS writes é
    assert parsed(said(prompt=decomposed)).prompt == "é" * 2_000
    with pytest.raises(InvalidRequest, match="at most 2000 characters"):
        parsed(said(prompt="\N{MUSICAL SYMBOL HALF NOTE}" * 1_001))  # two characters in NFC


def test_of_a_repeated_key_the_last_value_counts() -> None:
    assert parse_json(b'{"brand": "a", "prompt": "x", "brand": "b"}').brand == "b"


def test_text_becomes_the_fields_types() -> None:
    request = parse_strings(said(seed="0", guidance_scale="7", exact="true", scheduler="ddim"))
    assert (request.seed, request.guidance_scale, request.exact) == (0, 7.0, True)
    with pytest.raises(InvalidRequest) as caught:
        parse_strings(said(seed="x", guidance_scale="7,5", exact="maybe", width="9" * 5_000))
    assert [(fault.field, fault.message) for fault in caught.value.fields] == [
        ("width", "must be a whole number within its bounds"),
        ("guidance_scale", "must be a number"),
        ("seed", "must be a whole number"),
        ("exact", "must be true or false"),
    ]
