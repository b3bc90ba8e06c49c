"""Failures as AUTOMATIC1111 tells them: `detail`, a list of places for a body that is wrong."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request

from imagegen.parsing import WHOLE_REQUEST
from imagegen.web.errors import Failure

_NOT_HERE = "is not offered here; docs/api.md lists what is"


def error_answer(failure: Failure, path: str) -> dict[str, Any]:
    """The body that tells `failure`; `error` is our own code, which programs may compare.

    `detail` is FastAPI's list where fields are wrong and a sentence otherwise; `errors` is always
    a sentence.
    """
    sentence = f"{path} {_NOT_HERE}" if failure.code == "not_found" else failure.detail
    places = [
        {"type": failure.code, "loc": _place(one.field), "msg": one.message}
        for one in failure.fields
    ]
    return {
        "error": failure.code,
        "detail": places or sentence,
        "body": "",
        "errors": sentence,
    }


def tell_a1111(failure: Failure) -> Response:
    """The answer that tells `failure` to whoever asked below /sdapi."""
    body = json.dumps(error_answer(failure, request.path), ensure_ascii=False)
    return Response(body, failure.status, mimetype="application/json")


def _place(field: str) -> list[str]:
    return ["body"] if field == WHOLE_REQUEST else ["body", *field.split(".")]
