"""A caller's words become a request, or a sentence about each field."""

import json

import pytest
from sent_pictures import scene, sent, text_of

from imagegen.errors import InvalidRequest, MalformedJson
from imagegen.generation import GenerationRequest
from imagegen.parsing import parse_json, parse_strings

PICTURE, WIDER = text_of(scene()), text_of(scene(72, 64))


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
        (said(init_image="https://x.org/a.png"), "init_image", "nothing is fetched"),
        (said(init_image=7), "init_image", "must be a picture in base64"),
        (said(init_image=["a"]), "init_image", "must be a picture in base64"),
        (said(init_image="AAAA"), "init_image", "is no PNG, JPEG or WebP"),
        (said(init_image=PICTURE, strength=0), "strength", "must be more than 0"),
        (said(init_image=PICTURE, strength=1.1), "strength", "must be 1.0 or less"),
        (said(strength=0.5), "strength", "goes with init_image"),
        (said(mask=PICTURE), "mask", "goes with init_image"),
        (said(init_image=PICTURE, mask=WIDER), "mask", "is 72 x 64 pixels, and init_image 64 x 64"),
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


def test_a_picture_goes_there_and_back() -> None:
    fields = said(init_image=f"data:image/png;base64,{PICTURE}", mask=PICTURE, strength=1)
    request = parsed(fields)
    assert request.init_image == request.mask == sent(scene())
    assert len(repr(request)) < 2_000
    text = request.model_dump_json(exclude_defaults=True)
    assert json.loads(text)["init_image"] == PICTURE
    again = parse_json(text.encode())
    assert again == request
    assert again.init_image is not None
    assert again.init_image.data == request.init_image.data
    assert parse_strings(said(init_image=PICTURE, strength="0.5")).init_image == sent(scene())


def test_a_picture_at_fault_is_not_told_twice() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(said(init_image="x", mask=PICTURE, strength=0.5))
    assert [fault.field for fault in caught.value.fields] == ["init_image"]


def test_the_schema_says_that_a_picture_is_text() -> None:
    schema = GenerationRequest.model_json_schema()["properties"]["init_image"]
    assert {"type": "string", "contentEncoding": "base64"} in schema["anyOf"]
