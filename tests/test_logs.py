"""Log lines for people and for Cloud Logging."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from imagegen.logs import configure_logs


@pytest.fixture(autouse=True)
def _restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


def test_text_names_a_level_only_when_it_matters() -> None:
    stream = io.StringIO()
    configure_logs("text", stream)
    logging.getLogger("imagegen").info("ready in %.1f s", 2.0)
    logging.getLogger("imagegen").warning("slow")
    ready, slow = stream.getvalue().splitlines()
    assert ready.split(" ", 1)[1] == "ready in 2.0 s"
    assert slow.split(" ", 1)[1] == "WARNING: slow"


def test_json_has_cloud_logging_s_fields() -> None:
    stream = io.StringIO()
    configure_logs("json", stream)
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
    configure_logs("json", stream)
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
    configure_logs("text", stream)
    configure_logs("text", stream)
    logging.getLogger("imagegen").info("once")
    assert len(stream.getvalue().splitlines()) == 1
