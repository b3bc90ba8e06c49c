"""Logs: one line per event, for people (text) or for Cloud Logging (json)."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

_QUIET = ("urllib3", "google", "PIL", "filelock")


def configure_logs(log_format: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Sets this process's whole logging state: one handler, level INFO, libraries at WARNING."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


class TextFormatter(logging.Formatter):
    """`10:00:00 POST /generate 200 1234 ms`; a level is named only when it is not INFO."""

    _plain = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    _marked = logging.Formatter("%(asctime)s %(levelname)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        chosen = self._plain if record.levelno == logging.INFO else self._marked
        return chosen.format(record)


class JsonFormatter(logging.Formatter):
    """Cloud Logging's structured fields: severity, message, time, httpRequest.

    https://cloud.google.com/logging/docs/structured-logging. A record's `http_request` (a dict in
    LogEntry's own names) becomes `httpRequest`; a stack trace joins the message, where Error
    Reporting looks for it.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        entry: dict[str, Any] = {
            "severity": record.levelname,
            "message": message,
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
        }
        http_request = getattr(record, "http_request", None)
        if http_request is not None:
            entry["httpRequest"] = http_request
        return json.dumps(entry, ensure_ascii=False)
