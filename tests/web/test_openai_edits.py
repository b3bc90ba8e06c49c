"""OpenAI's edits: a picture and a mask, from a form or from JSON."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import encode_multipart

from imagegen.application import Application
from imagegen.edits import SentPicture
from imagegen.generation import GenerationRequest
from imagegen.web.openai.bodies import EditsBody
from imagegen.web.openai.pictures import mask_of
from imagegen.web.openai.translation import to_edit
from imagegen.web.picture_room import MAX_PICTURE_BYTES

PATH = "/v1/images/edits"
BODY = {"model": "aurora", "prompt": "a red mug", "seed": 0}


def file_of(picture: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


PICTURE = file_of(Image.new("RGB", (64, 40), "#336699"))
HALF_CLEAR = Image.new("RGBA", (64, 40), (0, 0, 0, 255))
HALF_CLEAR.paste((9, 9, 9, 0), (0, 0, 32, 40))
MASK = file_of(HALF_CLEAR)


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def form(*, files: dict[str, Any] | None = None, **fields: object) -> dict[str, Any]:
    said = {name: str(value) for name, value in (BODY | fields).items()}
    sent = {"image": PICTURE} if files is None else files
    return said | {
        name: [FileStorage(io.BytesIO(one), "picture.png") for one in listed(data)]
        for name, data in sent.items()
    }


def listed(data: bytes | list[bytes]) -> list[bytes]:
    return data if isinstance(data, list) else [data]


def post(client: FlaskClient, said: dict[str, Any]) -> Any:
    boundary, body = encode_multipart(MultiDict(said))  # Flask's client would use a file of its own
    return client.post(PATH, data=body, content_type=f"multipart/form-data; boundary={boundary}")


def pictures_of(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [
        hashlib.sha256(base64.b64decode(item["b64_json"])).hexdigest()
        for item in answer.get_json()["data"]
    ]


def error_of(answer: Any, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.get_json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize("with_mask", [False, True])
def test_a_form_and_json_and_our_own_words_give_the_same_picture(
    client: FlaskClient, with_mask: bool
) -> None:
    files = {"image": PICTURE} | ({"mask": MASK} if with_mask else {})
    by_form = pictures_of(post(client, form(files=files, n=2, strength=0.7)))
    said: dict[str, Any] = BODY | {"n": 2, "strength": 0.7}
    json = said | {name: text_of(data) for name, data in files.items()}
    assert pictures_of(client.post(PATH, json=json)) == by_form
    references = said | {"images": [{"image_url": f"data:image/png;base64,{text_of(PICTURE)}"}]}
    if with_mask:
        references["mask"] = {"image_url": f"data:image/png;base64,{text_of(MASK)}"}
    assert pictures_of(client.post(PATH, json=references)) == by_form
    ours: dict[str, Any] = {
        "brand": "aurora", "prompt": "a red mug", "seed": 0, "num_images": 2, "strength": 0.7,
        "init_image": text_of(PICTURE),
    }  # fmt: skip
    if with_mask:
        ours["mask"] = mask_of(SentPicture.of_file(MASK)).to_text()
    images = client.post("/generate", json=ours).get_json()["images"]
    assert [image["sha256"] for image in images] == by_form
    assert len(set(by_form)) == 2


def test_the_openai_clients_name_of_a_list_is_known(client: FlaskClient) -> None:
    assert pictures_of(post(client, form(files={"image[]": PICTURE})))


def test_what_is_transparent_is_repainted() -> None:
    mask = Image.open(io.BytesIO(mask_of(SentPicture.of_file(MASK)).data))
    assert mask.size == (64, 40)
    assert [mask.getpixel((x, 20)) for x in (0, 31, 32, 63)] == [255, 255, 0, 0]


@pytest.mark.parametrize(
    ("fields", "with_mask", "strength"),
    [
        ({}, False, None),
        ({}, True, 1.0),
        ({"input_fidelity": "high"}, False, 0.4),
        ({"input_fidelity": "low"}, False, None),
        ({"input_fidelity": "high"}, True, 1.0),
        ({"input_fidelity": "high", "strength": 0.9}, False, 0.9),
        ({"strength": 0.2}, True, 0.2),
    ],
)
def test_how_far_the_picture_is_left_behind(
    application: Application, fields: dict[str, Any], with_mask: bool, strength: float | None
) -> None:
    picture = SentPicture.of_file(PICTURE)
    mask = mask_of(SentPicture.of_file(MASK)) if with_mask else None
    asked = EditsBody.model_validate(BODY | fields)
    request = to_edit(asked, application.catalog.get("aurora"), picture, mask)
    assert isinstance(request, GenerationRequest)
    assert request.strength == strength


@pytest.mark.parametrize(
    ("files", "param", "words"),
    [
        ({}, "image", "is required"),
        ({"image": [PICTURE, PICTURE]}, "image", "must be one picture"),
        ({"image": PICTURE, "image[]": PICTURE}, "image", "must be one picture"),
        ({"image": b"nothing"}, "image", "no PNG, JPEG or WebP"),
        ({"image": b""}, "image", "no PNG, JPEG or WebP"),
        ({"image": PICTURE[:-40]}, "image", "cut short or damaged"),
        ({"image": PICTURE, "mask": PICTURE}, "mask", "no alpha channel"),
        ({"image": PICTURE, "mask": MASK[:-40]}, "mask", "cut short or damaged"),
        ({"image": PICTURE, "mask": b"nothing"}, "mask", "no PNG"),
        ({"image": PICTURE, "mask": [MASK, MASK]}, "mask", "must be one picture"),
        ({"image": PICTURE, "markup": MASK}, "markup", "is not a known field"),
        (
            {"image": PICTURE, "mask": file_of(Image.new("RGBA", (64, 48)))},
            "mask", "both must have one size",
        ),
        (
            {"image": PICTURE, "mask": file_of(Image.new("RGBA", (64, 40), "#000000ff"))},
            "mask", "nowhere transparent",
        ),
        ({"image": file_of(Image.new("1", (8_000, 8_000)))}, "image", "pixels"),
    ],
)  # fmt: skip
def test_a_picture_that_will_not_do_is_named(
    client: FlaskClient, files: dict[str, Any], param: str, words: str
) -> None:
    error = error_of(post(client, form(files=files)))
    assert error["param"] == param
    assert words in error["message"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": "many"}, "n"),
        ({"strength": 0}, "strength"),
        ({"size": "100x100x100"}, "size"),
        ({"background": "transparent"}, "background"),
        ({"style": "vivid"}, "style"),
        ({"image": "aGVsbG8="}, "image"),
    ],
)
def test_a_field_of_a_form_that_will_not_do_is_named(
    client: FlaskClient, fields: dict[str, Any], param: str
) -> None:
    files = {} if "image" in fields else None
    assert error_of(post(client, form(files=files, **fields)))["param"] == param


@pytest.mark.parametrize(
    ("said", "param", "words"),
    [
        ({}, "image", "is required"),
        ({"image": "https://example.com/a.png"}, "image", "nothing is fetched"),
        (
            {"images": [{"image_url": "https://example.com/a.png"}]},
            "images.0",
            "nothing is fetched",
        ),
        ({"images": [{"file_id": "file-1"}]}, "images.0", "must be a picture"),
        ({"image": text_of(PICTURE), "images": [text_of(PICTURE)]}, "image", "must be one picture"),
        ({"image": text_of(PICTURE), "mask": {"file_id": "x"}}, "mask", "must be a picture"),
    ],
)
def test_a_picture_in_json_that_will_not_do_is_named(
    client: FlaskClient, said: dict[str, Any], param: str, words: str
) -> None:
    error = error_of(client.post(PATH, json=BODY | said))
    assert error["param"] == param
    assert words in error["message"]


def test_too_much_is_refused_before_it_is_read(client: FlaskClient) -> None:
    huge = form(files={"image": bytes(MAX_PICTURE_BYTES + 100_000)})
    assert error_of(post(client, huge), 413)["code"] == "body_too_large"


def test_a_long_text_in_a_form_is_refused(client: FlaskClient) -> None:
    error_of(post(client, form(prompt="x" * 600_000)), 413)


def test_what_is_neither_a_form_nor_json_is_refused(client: FlaskClient) -> None:
    answer = client.post(PATH, data=b"x", content_type="application/x-www-form-urlencoded")
    assert error_of(answer, 415)["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "body", [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n"]
)
def test_a_form_that_is_none_is_refused(client: FlaskClient, body: bytes) -> None:
    error_of(client.post(PATH, data=body, content_type="multipart/form-data; boundary=x"))


def test_a_form_without_a_boundary_is_refused(client: FlaskClient) -> None:
    error_of(client.post(PATH, data=b"x", content_type="multipart/form-data"))


def test_an_unknown_brand_is_told_before_pixels_are_read(client: FlaskClient) -> None:
    broken = {"image": PICTURE, "mask": MASK[:-40]}
    error = error_of(post(client, form(files=broken, model="nobody")), 404)
    assert error["code"] == "model_not_found"
