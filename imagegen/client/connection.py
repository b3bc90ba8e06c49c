"""What httpx2 is told and what it says, for both clients."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2

from imagegen.client.talk import Answer
from imagegen.errors import ServiceUnreachable
from imagegen.problems import ASK_AGAIN_S

LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
_CONNECT_S = 10.0
# What a link may be wrong in, and what a connection may suffer.
FAULTS = (httpx2.HTTPError, httpx2.InvalidURL)


def timeouts(silence_s: float) -> httpx2.Timeout:
    """silence_s: between two bytes of an answer, or before its first."""
    return httpx2.Timeout(silence_s, connect=_CONNECT_S)


def answer_of(response: httpx2.Response) -> Answer:
    """A response that has been read."""
    return Answer(response.status_code, dict(response.headers), response.content, str(response.url))


def unreachable(url: str, error: Exception) -> ServiceUnreachable:
    """A failed connection in a sentence."""
    reason = str(error) or type(error).__name__
    return ServiceUnreachable(f"cannot reach {urlsplit(url).netloc}: {reason}", ASK_AGAIN_S)
