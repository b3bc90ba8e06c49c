"""What POST /generate takes and gives: JSON comes in, JSON or the picture itself goes out."""

from __future__ import annotations

from flask import Request
from werkzeug.datastructures import MIMEAccept

from imagegen.errors import BodyTooLarge, FieldError, InvalidRequest, UnsupportedMediaType
from imagegen.generation import GenerationRequest, OutputFormat

MAX_BODY_BYTES = 64 * 1024
_JSON = "application/json"
_FORMATS = {output_format.content_type: output_format for output_format in OutputFormat}


def json_body(request: Request) -> bytes:
    """The body, if it is JSON in UTF-8. Raises UnsupportedMediaType and BodyTooLarge."""
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != _JSON or charset not in ("utf-8", "utf8", "us-ascii"):
        said = request.headers.get("Content-Type", "nothing")
        raise UnsupportedMediaType(f"send Content-Type: application/json in UTF-8, not {said}")
    # werkzeug cuts off a chunked body at its limit without a word; one byte more tells it apart.
    request.max_content_length = MAX_BODY_BYTES + 1
    body = request.get_data(cache=False)
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"the body may have {MAX_BODY_BYTES:,} bytes at most")
    return body


def negotiate(accept: MIMEAccept, asked: GenerationRequest) -> tuple[GenerationRequest, bool]:
    """(what to make, whether the answer is the picture itself), by the Accept header.

    A picture is the answer only where a picture type is preferred to JSON; `*/*`, no header, and
    types that nobody makes mean JSON. `image/*` leaves the format to the request. Raises
    InvalidRequest where the header and the request contradict each other.
    """
    said = "output_format" in asked.model_fields_set
    own = asked.output_format.content_type
    offers = [_JSON, own, *(name for name in _FORMATS if name != own)]
    chosen = accept.best_match(offers, default=_JSON)
    if chosen == _JSON:
        return asked, False
    if asked.num_images != 1:
        if accept.quality(_JSON) > 0:
            return asked, False
        raise InvalidRequest(
            FieldError("num_images", f"must be 1 to be answered with {chosen}; accept {_JSON}")
        )
    if said and chosen != own:
        raise InvalidRequest(
            FieldError(
                "output_format", f"is {asked.output_format} but the Accept header says {chosen}"
            )
        )
    return asked.model_copy(update={"output_format": _FORMATS[chosen]}), True
