"""Tracing: which request a line of the log or a call of Storage belongs to, in both processes.

Nothing is measured here: the ids that came with a request are carried on. Whose front end records
spans (Cloud Run's does) finds our lines and our calls beneath its own span.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

TRACEPARENT = "traceparent"  # https://www.w3.org/TR/trace-context/
CLOUD_TRACE = "X-Cloud-Trace-Context"  # https://cloud.google.com/trace/docs/trace-context
REQUEST_ID = "X-Request-Id"

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/([0-9]{1,20}))?(?:;o=([0-9]))?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")
_SAMPLED = 1  # the only flag that there is


@dataclass(frozen=True)
class Trace:
    """A request's ids. Whoever hands it on need not look into it."""

    trace_id: str  # 32 hexadecimal digits
    span_id: str  # 16 of them: the caller's span, or one of ours where he has none
    sampled: bool  # whether somebody records it
    request_id: str
    generation_id: str = ""  # once there is one
    begins_here: bool = False  # the caller has no trace: its ids are ours

    @property
    def traceparent(self) -> str:
        """The header for a call that is made on the request's behalf."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def trace_of(traceparent: str, cloud_trace: str, request_id: str) -> Trace:
    """What a request's headers say; what they do not say, or not properly, is made up."""
    ids = _w3c(traceparent) or _google(cloud_trace)
    return Trace(
        *(ids or (secrets.token_hex(16), secrets.token_hex(8), False)),
        request_id if _REQUEST_ID.fullmatch(request_id) else secrets.token_hex(16),
        begins_here=ids is None,
    )


def current_trace() -> Trace | None:
    """The one that this thread works for just now."""
    return _current.get()


def onward_headers() -> dict[str, str]:
    """For a call to another service of ours: it works for whom this thread works."""
    trace = current_trace()
    if trace is None:
        return {}
    return {TRACEPARENT: trace.traceparent, REQUEST_ID: trace.request_id}


def follow(trace: Trace | None) -> None:
    """From here on this thread works for `trace`."""
    _current.set(trace)


def follow_generation(generation_id: str) -> None:
    """The request that this thread works for, if it works for one, has become a generation."""
    trace = _current.get()
    if trace is not None:
        _current.set(replace(trace, generation_id=generation_id))


@contextmanager
def following(trace: Trace | None) -> Iterator[None]:
    """Within, this thread works for `trace`."""
    token = _current.set(trace)
    try:
        yield
    finally:
        _current.reset(token)


def _w3c(header: str) -> tuple[str, str, bool] | None:
    match = _TRACEPARENT.fullmatch(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not (_real(trace_id) and _real(span_id)):
        return None
    return trace_id, span_id, bool(int(flags, 16) & _SAMPLED)


def _google(header: str) -> tuple[str, str, bool] | None:
    match = _CLOUD_TRACE.fullmatch(header)
    if match is None or not _real(match[1]):
        return None
    span = int(match[2] or 0)  # decimal here, hexadecimal everywhere else
    if span >= 1 << 64:
        return None
    span_id = f"{span:016x}" if span else secrets.token_hex(8)
    return match[1].lower(), span_id, bool(int(match[3] or 0) & _SAMPLED)


def _real(hexadecimal: str) -> bool:
    """All zeros stand for no id."""
    return hexadecimal.strip("0") != ""
