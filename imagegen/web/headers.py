"""What every answer carries, and the line that the log gets for it."""

from __future__ import annotations

import logging
import time
from urllib.parse import quote

from flask import Flask, Response, g, request

_log = logging.getLogger("imagegen.requests")
_QUIET_PATHS = ("/livez", "/readyz", "/metrics", "/studio/state")  # probes come every few seconds

_SIGNED_PICTURES = "https://storage.googleapis.com"
_POLICY = (
    "default-src 'self'; img-src 'self' data: {pictures}; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def register_headers(app: Flask, *, signed_pictures: bool) -> None:
    """signed_pictures: pages may show pictures that lie in Cloud Storage."""
    policy = _POLICY.format(pictures=_SIGNED_PICTURES if signed_pictures else "").replace(" ;", ";")

    def start_clock() -> None:
        g.started = time.monotonic()

    def finish(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Content-Security-Policy"] = policy
        if (response.mimetype or "").endswith("json"):
            response.headers.setdefault("Cache-Control", "no-store")
        _log_answer(response)
        return response

    app.before_request(start_clock)
    app.after_request(finish)


def _log_answer(response: Response) -> None:
    if request.path in _QUIET_PATHS:
        return
    took_s = time.monotonic() - g.started
    _log.info(
        "%s %s %d %.0f ms", request.method, quote(request.path), response.status_code, took_s * 1e3,
        extra={
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
