"""Log lines for people and for Cloud Logging."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from imagegen.logs import LONGEST_MESSAGE, LONGEST_TEXT, LogStyle, configure_logs, printable
from imagegen.tracing import Trace, following


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


def test_text_names_a_level_only_when_it_matters() -> None:
    stream = io.StringIO()
    configure_logs(LogStyle("text"), stream)
    logging.getLogger("imagegen").info("ready in %.1f s", 2.0)
    logging.getLogger("imagegen").warning("slow")
    ready, slow = stream.getvalue().splitlines()
    assert ready.split(" ", 1)[1] == "ready in 2.0 s"
    assert slow.split(" ", 1)[1] == "WARNING: slow"


def test_json_has_cloud_logging_s_fields() -> None:
    stream = io.StringIO()
    configure_logs(LogStyle("json"), stream)
    logging.getLogger("imagegen").info(
        "GET /livez 200", extra={"http_request": {"requestMethod": "GET", "status": 200}}
    )
    entry = json.loads(stream.getvalue())
    assert entry["severity"] == "INFO"
    assert entry["message"] == "GET /livez 200"
    assert entry["httpRequest"] == {"requestMethod": "GET", "status": 200}
    assert entry["time"].endswith("+00:00")


def test_json_keeps_a_trace_on_one_line() -> None:
    stream = io.StringIO()
    configure_logs(LogStyle("json"), stream)
    try:
        {}["x"]
    except KeyError:
        logging.getLogger("imagegen").exception("failed")
    [line] = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["severity"] == "ERROR"
    assert "Traceback" in entry["message"]


def test_configuring_twice_does_not_double_the_lines() -> None:
    stream = io.StringIO()
    configure_logs(LogStyle("text"), stream)
    configure_logs(LogStyle("text"), stream)
    logging.getLogger("imagegen").info("once")
    assert len(stream.getvalue().splitlines()) == 1


TRACE = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True, "ask-1", "gen_1")
# A second line, a second entry, a cleared screen, a line of another alphabet, text turned around
FORGED = 'x\n10:00:00 CRITICAL: on fire\r\n{"severity": "ALERT"}\x1b[2J\x85\u2028\u202e\x00\ud800'


def logged(style: LogStyle, message: str, *args: object, **extra: object) -> str:
    stream = io.StringIO()
    configure_logs(style, stream)
    logging.getLogger("imagegen").warning(message, *args, extra=extra)
    return stream.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_in_a_line_can_end_it_or_move_the_cursor(log_format: str) -> None:
    text = logged(LogStyle(log_format), "%s went wrong", FORGED)  # type: ignore[arg-type]
    [line] = text.removesuffix("\n").split("\n")
    assert line.isprintable()
    message = json.loads(line)["message"] if log_format == "json" else line
    assert message.isprintable()
    assert r"x\n10:00:00 CRITICAL: on fire\r\n" in message


def test_what_callers_wrote_stands_in_fields_without_control_characters_and_is_cut() -> None:
    entry = json.loads(
        logged(
            LogStyle("json"), "done", fields={"prompt": FORGED, "campaign": "ü" * 5_000},
            http_request={"userAgent": FORGED, "status": 200},
        )
    )  # fmt: skip
    assert entry["prompt"].isprintable()
    assert entry["campaign"] == "ü" * (LONGEST_TEXT - 1) + "…"
    assert entry["httpRequest"]["userAgent"].isprintable()
    assert entry["httpRequest"]["status"] == 200
    assert entry["message"] == "done"


def test_a_message_has_an_end() -> None:
    entry = json.loads(logged(LogStyle("json"), "%s", "x" * 1_000_000))
    assert len(entry["message"]) == LONGEST_MESSAGE


def test_a_stack_in_text_cannot_pass_for_lines_of_ours() -> None:
    text = logged(LogStyle("text"), "failed", stack=f"Traceback\n  in f\nValueError: {FORGED}")
    first, *rest = text.removesuffix("\n").split("\n")
    assert first.endswith("WARNING: failed")
    assert len(rest) > 3
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


@pytest.mark.parametrize(
    ("project", "name"),
    [
        (None, "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("my-project", "projects/my-project/traces/4bf92f3577b34da6a3ce929d0e0e4736"),
    ],
)
def test_json_says_which_request_it_was(project: str | None, name: str) -> None:
    with following(TRACE):
        entry = json.loads(logged(LogStyle("json", project), "done"))
    assert entry["logging.googleapis.com/trace"] == name
    assert entry["logging.googleapis.com/spanId"] == "00f067aa0ba902b7"
    assert entry["logging.googleapis.com/trace_sampled"] is True
    assert (entry["request_id"], entry["generation_id"]) == ("ask-1", "gen_1")
    assert "request_id" not in json.loads(logged(LogStyle("json"), "between requests"))


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, "DEBUG"), (logging.INFO, "INFO"), (logging.WARNING, "WARNING"),
        (logging.ERROR, "ERROR"), (logging.CRITICAL, "CRITICAL"), (35, "DEFAULT"),
    ],
)  # fmt: skip
def test_severities_are_google_s(level: int, severity: str) -> None:
    stream = io.StringIO()
    configure_logs(LogStyle("json"), stream)
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("imagegen").log(level, "x")
    assert json.loads(stream.getvalue())["severity"] == severity


def test_what_could_move_a_cursor_is_written_out_and_cut_only_where_there_is_a_bound() -> None:
    assert printable("a\x07b\u202e東") == "a\\x07b\\u202e東"
    assert printable("é" * 20_000) == "é" * 20_000
    assert printable("é" * 20_000, 10) == "é" * 9 + "…"
