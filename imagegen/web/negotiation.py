"""What POST /generate takes and gives: JSON comes in, JSON or the picture itself goes out."""

from __future__ import annotations

import re
from typing import Literal

from flask import Request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_set_header

from imagegen.errors import BodyTooLarge, FieldError, InvalidRequest, UnsupportedMediaType
from imagegen.generation import GenerationRequest, OutputFormat
from imagegen.parsing import parse_json
from imagegen.web.picture_room import MAX_BODY_BYTES, MAX_PICTURE_BYTES, picture_room

Answer = Literal["json", "picture", "events"]
EVENT_STREAM = "text/event-stream"
_JSON = "application/json"
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_NUMBER = re.compile(r"[0-9]{1,15}")
_FORMATS = {output_format.content_type: output_format for output_format in OutputFormat}
# A picture in JSON: a long text of base64's letters, the stroke as some libraries escape it
_PICTURE = re.compile(rb'"(?:data:image\\?/[a-z]+;base64,)?[A-Za-z0-9+/=\\]{1024,}+"')


def read_request(request: Request) -> GenerationRequest:
    """What a JSON body asks for; its pictures are counted until nobody holds them any more.

    Raises CallerError, and QueueFull where there is no room for more pictures.
    """
    room = picture_room()
    with room.reading(request):
        asked = parse_json(picture_body(request))
    room.hold(asked.init_image, asked.mask)
    return asked


def json_body(request: Request) -> bytes:
    """The body, if it is JSON in UTF-8. Raises UnsupportedMediaType and BodyTooLarge."""
    # werkzeug cuts off a chunked body at its limit without a word; one byte more tells it apart.
    request.max_content_length = MAX_BODY_BYTES + 1
    body = _json(request)
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"the body may have {MAX_BODY_BYTES:,} bytes at most")
    return body


def picture_body(request: Request) -> bytes:
    """The same, with pictures in it that do not count; to be read within PictureRoom.reading."""
    body = _json(request)
    if len(body) <= MAX_BODY_BYTES:
        return body
    pictures_bytes = sum(found.end() - found.start() for found in _PICTURE.finditer(body))
    if pictures_bytes > MAX_PICTURE_BYTES:
        raise BodyTooLarge(f"a body's pictures may have {MAX_PICTURE_BYTES:,} bytes at most")
    if len(body) - pictures_bytes > MAX_BODY_BYTES:
        raise BodyTooLarge(
            f"besides pictures in base64 the body may have {MAX_BODY_BYTES:,} bytes at most"
        )
    return body


def _json(request: Request) -> bytes:
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != _JSON or charset not in ("utf-8", "utf8", "us-ascii"):
        said = request.headers.get("Content-Type", "nothing")
        raise UnsupportedMediaType(f"send Content-Type: application/json in UTF-8, not {said}")
    return request.get_data(cache=False)


def negotiate(accept: MIMEAccept, asked: GenerationRequest) -> tuple[GenerationRequest, Answer]:
    """(what to make, what the answer is), by the Accept header.

    A picture or a stream of events is the answer only where it is preferred to JSON; `*/*`, no
    header, and types that nobody makes mean JSON. `image/*` leaves the format to the request.
    Raises InvalidRequest where the header and the request contradict each other.
    """
    said = "output_format" in asked.model_fields_set
    own = asked.output_format.content_type
    offers = [_JSON, own, *(name for name in _FORMATS if name != own), EVENT_STREAM]
    chosen = accept.best_match(offers, default=_JSON)
    if chosen in (_JSON, EVENT_STREAM):
        return asked, "json" if chosen == _JSON else "events"
    if asked.num_images != 1:
        if accept.quality(_JSON) > 0:
            return asked, "json"
        raise InvalidRequest(
            FieldError("num_images", f"must be 1 to be answered with {chosen}; accept {_JSON}")
        )
    if said and chosen != own:
        raise InvalidRequest(
            FieldError(
                "output_format", f"is {asked.output_format} but the Accept header says {chosen}"
            )
        )
    return asked.model_copy(update={"output_format": _FORMATS[chosen]}), "picture"


def wants_async(request: Request) -> bool:
    """Whether `Prefer` says respond-async (RFC 7240); other preferences are passed over."""
    preferences = parse_set_header(",".join(request.headers.getlist("Prefer")))
    return "respond-async" in preferences


def idempotency_key(request: Request) -> str | None:
    """Raises InvalidRequest for one that is none."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and _KEY.fullmatch(key) is None:
        raise InvalidRequest(
            FieldError("Idempotency-Key", "must have 1 to 255 visible ASCII characters")
        )
    return key


def last_event_id(request: Request) -> int:
    """After which event a stream goes on; what is no number of ours means: from the beginning."""
    said = request.headers.get("Last-Event-ID", "")
    return int(said) if _NUMBER.fullmatch(said) else 0
