"""What every answer carries, and the line that the log gets for it."""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

from flask import Flask, Response, g, request

from imagegen.logs import printable
from imagegen.tracing import CLOUD_TRACE, REQUEST_ID, TRACEPARENT, follow, trace_of

_log = logging.getLogger("imagegen.requests")
_QUIET_PATHS = (
    "/livez",
    "/readyz",
    "/metrics",
    "/studio/state",
    "/sdapi/v1/progress",
)  # probes come every few seconds

_LONGEST_PATH = 300  # characters
_SIGNED_PICTURES = "https://storage.googleapis.com"
_POLICY = (
    "default-src 'self'; img-src 'self' data: {pictures}; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def register_headers(app: Flask, *, signed_pictures: bool) -> None:
    """signed_pictures: pages may show pictures that lie in Cloud Storage."""
    policy = _POLICY.format(pictures=_SIGNED_PICTURES if signed_pictures else "").replace(" ;", ";")

    def start() -> None:
        g.started = time.monotonic()
        said = (request.headers.get(name, "") for name in (TRACEPARENT, CLOUD_TRACE, REQUEST_ID))
        g.trace = trace_of(*said)
        follow(g.trace)

    def finish(response: Response) -> Response:
        response.headers[REQUEST_ID] = g.trace.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Content-Security-Policy"] = policy
        if (response.mimetype or "").endswith("json"):
            response.headers.setdefault("Cache-Control", "no-store")
        _log_answer(response)
        return response

    def leave(_error: BaseException | None) -> None:
        follow(None)  # the thread goes on to serve somebody else

    app.before_request(start)
    app.after_request(finish)
    app.teardown_request(leave)


def _log_answer(response: Response) -> None:
    if request.path in _QUIET_PATHS:
        return
    took_s = time.monotonic() - g.started
    who = g.caller.signature if "caller" in g else ""
    _log.info(
        "%s %s %d %.0f ms", request.method, printable(quote(request.path), _LONGEST_PATH),
        response.status_code, took_s * 1e3,
        extra={
            "fields": {"caller": who} if who else {},
            "http_request": {
                "requestMethod": request.method,
                "requestUrl": request.url,
                "status": response.status_code,
                "latency": f"{took_s:.3f}s",
                "remoteIp": request.remote_addr,
                "userAgent": request.headers.get("User-Agent", ""),
                "responseSize": str(response.content_length or 0),
            }
        },
    )  # fmt: skip
