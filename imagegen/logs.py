"""Logs: one line per event, for people (text) or for Cloud Logging (json).

Whatever a caller wrote can stand in a line: nothing in it can end the line or move the cursor.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from imagegen.tracing import current_trace

LONGEST_TEXT = 1_000  # characters of a field; Cloud Logging refuses entries above 256 KiB
LONGEST_MESSAGE = 10_000

_QUIET = ("urllib3", "google", "PIL", "filelock")
# Cc: newline, escape …; Cf: what turns text around; Zl, Zp: line ends; Cs: halves that are no UTF-8
_UNPRINTABLE = {"Cc", "Cf", "Zl", "Zp", "Cs"}
_SEVERITIES = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}  # those that Google has too
_INDENT = "    "
_KEY = re.compile(r"(ig_[a-z0-9]{8}_)[A-Za-z0-9_-]{20,}")


@dataclass(frozen=True)
class LogStyle:
    """How a process writes its lines: plain data, which the render process is told too."""

    log_format: Literal["text", "json"]
    project: str | None = None  # Google Cloud's, whose traces the lines belong to


def configure_logs(style: LogStyle, stream: TextIO | None = None) -> None:
    """Sets this process's whole logging state: one handler, level INFO, libraries at WARNING."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    json_lines = style.log_format == "json"
    handler.setFormatter(JsonFormatter(style.project) if json_lines else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def printable(text: str, longest: int | None = None) -> str:
    r"""`text` on one line, of at most `longest` characters: a newline becomes `\n` and so on.

    Of an API key that somebody put where none belongs, its id is left.
    """
    text = _KEY.sub(r"\1…", text)
    cut = text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"
    if cut.isprintable():
        return cut
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _UNPRINTABLE
        else character
        for character in cut
    )


class TextFormatter(logging.Formatter):
    """`10:00:00 POST /generate 200 1234 ms`; a level is named only when it is not INFO.

    A stack follows, indented: no line of it can pass for one of ours.
    """

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname}: "
        first = f"{self.formatTime(record, '%H:%M:%S')} {level}{_message(record)}"
        return "\n".join([first, *(_INDENT + line for line in _stack(self, record))])


class JsonFormatter(logging.Formatter):
    """Cloud Logging's structured fields: severity, message, time, httpRequest, the trace.

    https://cloud.google.com/logging/docs/structured-logging. A record's `http_request` (a dict in
    LogEntry's own names) becomes `httpRequest`, its `fields` stand beside the message; a stack
    joins the message, where Error Reporting looks for it.
    """

    def __init__(self, project: str | None) -> None:
        super().__init__()
        self._project = project

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "severity": record.levelname if record.levelname in _SEVERITIES else "DEFAULT",
            "message": "\n".join([_message(record), *_stack(self, record)]),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
            **self._trace(),
            **_printable_values(getattr(record, "fields", {})),
        }
        http_request = getattr(record, "http_request", None)
        if http_request is not None:
            entry["httpRequest"] = _printable_values(http_request)
        return json.dumps(entry, ensure_ascii=False)

    def _trace(self) -> dict[str, Any]:
        trace = current_trace()
        if trace is None:
            return {}
        name = trace.trace_id
        generation = {"generation_id": trace.generation_id} if trace.generation_id else {}
        return {
            "logging.googleapis.com/trace": (
                f"projects/{self._project}/traces/{name}" if self._project else name
            ),
            "logging.googleapis.com/spanId": trace.span_id,
            "logging.googleapis.com/trace_sampled": trace.sampled,
            "request_id": trace.request_id,
            **generation,
        }


def _message(record: logging.LogRecord) -> str:
    return printable(record.getMessage(), LONGEST_MESSAGE)


def _stack(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """The lines of the exception, or of the record's `stack`: another process's."""
    stack: str = getattr(record, "stack", "")
    if record.exc_info:
        stack = formatter.formatException(record.exc_info)
    return [printable(line, LONGEST_TEXT) for line in stack.split("\n")] if stack else []


def _printable_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: printable(value, LONGEST_TEXT) if isinstance(value, str) else value
        for name, value in values.items()
    }
