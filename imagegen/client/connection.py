"""What httpx2 is told and what it says, for both clients."""

from __future__ import annotations

from typing import TypeAlias
from urllib.parse import urlsplit

import httpx2

from imagegen.client.listening import EVENT_STREAM
from imagegen.client.talk import Answer, Ask
from imagegen.errors import ServiceUnreachable
from imagegen.problems import ASK_AGAIN_S

LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
Kept: TypeAlias = list[httpx2.Response]  # open ones, whose events are to be read
_CONNECT_S = 10.0
# What a link may be wrong in, and what a connection may suffer.
FAULTS = (httpx2.HTTPError, httpx2.InvalidURL)


def _timeouts(silence_s: float) -> httpx2.Timeout:
    """silence_s: between two bytes of an answer, or before its first."""
    return httpx2.Timeout(silence_s, connect=_CONNECT_S)


def request_of(http: httpx2.Client | httpx2.AsyncClient, ask: Ask) -> httpx2.Request:
    """What goes over the wire."""
    timeout = _timeouts(ask.timeout_s)
    return http.build_request(
        ask.method, ask.url, content=ask.body, headers=ask.headers, timeout=timeout
    )


def is_stream(ask: Ask, response: httpx2.Response) -> bool:
    """Whether events are to be read from it; whatever else came is read as a whole."""
    kind = response.headers.get("content-type", "")
    return ask.streams and response.status_code == 200 and kind.startswith(EVENT_STREAM)


def answer_of(response: httpx2.Response, body: bytes) -> Answer:
    """A response, with as much of its body as has been read."""
    return Answer(response.status_code, dict(response.headers), body, str(response.url))


def unreachable(url: str, error: Exception) -> ServiceUnreachable:
    """A failed connection in a sentence."""
    reason = str(error) or type(error).__name__
    return ServiceUnreachable(f"cannot reach {urlsplit(url).netloc}: {reason}", ASK_AGAIN_S)
