"""OpenAI's batch files: one request a line, with an id of the caller's own.

`{"custom_id": "a-1", "method": "POST", "url": "/v1/images/generations", "body": {…}}`
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from imagegen.batch.rows import BadRow, decoded
from imagegen.errors import CallerError
from imagegen.generation import GenerationRequest

GENERATIONS = "/v1/images/generations"
_KEYS = {"custom_id", "method", "url", "body"}

Translate = Callable[[bytes], GenerationRequest]  # of a body; raises CallerError


def is_openai(data: bytes) -> bool:
    """Whether a script's first line is a request in OpenAI's shape."""
    first = data.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0]
    try:
        said = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and {"custom_id", "body"} <= said.keys()


def read_openai(
    data: bytes, file: str, translate: Translate
) -> Iterator[tuple[int, str, GenerationRequest] | BadRow]:
    """Each line's number, the line itself and its request. Raises InvalidScript if not UTF-8."""
    seen: dict[str, int] = {}
    for number, line in enumerate(decoded(data, file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            body = _body(line, number, seen)
            yield number, line, translate(json.dumps(body).encode())
        except CallerError as error:
            yield BadRow(number, error.detail, line, error.code)
        except (ValueError, RecursionError) as error:
            yield BadRow(number, str(error), line)


def custom_id_of(line: str) -> str | None:
    """The caller's own id of a line, as far as one can be read."""
    try:
        return str(json.loads(line)["custom_id"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return None


def body_of(line: str) -> bytes:
    """The body of a line that has been read before."""
    return json.dumps(json.loads(line)["body"]).encode()


def _body(line: str, number: int, seen: dict[str, int]) -> Any:
    """Raises ValueError, with a sentence."""
    said = json.loads(line)
    if not isinstance(said, dict) or not _KEYS >= said.keys() >= {"custom_id", "body"}:
        raise ValueError("write custom_id, method, url and body, and nothing else")
    custom_id, body = said["custom_id"], said["body"]
    if not isinstance(custom_id, str) or not custom_id:
        raise ValueError("custom_id: must be a text")
    if seen.setdefault(custom_id, number) != number:
        raise ValueError(f"custom_id: {custom_id[:80]!r} stands on line {seen[custom_id]} already")
    if (said.get("method", "POST"), said.get("url", GENERATIONS)) != ("POST", GENERATIONS):
        raise ValueError(f"only POST {GENERATIONS} is taken")
    if isinstance(body, dict) and body.get("stream"):
        raise ValueError("stream: a batch does not stream")
    return body  # whether it is an object, the dialect says
