"""Whose request it was: told in the answer, in the lines of both processes, and to Storage."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable

import pytest
from fake_bucket import SlowLine, running_bucket_server
from flask.testing import FlaskClient
from web_server import Server

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.mark.parametrize("path", ["/livez", "/nowhere", "/brands"])
def test_every_answer_names_the_request(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"X-Request-Id": "ask-1"})
    assert answer.headers["X-Request-Id"] == "ask-1"
    made = client.get(path, headers={"X-Request-Id": "<b>"}).headers["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{32}", made)


def test_a_trace_goes_through_both_processes_to_storage(serve: Callable[..., Server]) -> None:
    with (
        running_bucket_server() as bucket,
        contextlib.closing(SlowLine(bucket.endpoint)) as line,
    ):
        server = serve(
            IMAGEGEN_STORAGE=f"gs://{bucket.new()}/pictures",
            STORAGE_EMULATOR_HOST=line.endpoint,
            IMAGEGEN_LOG_FORMAT="json",
            GOOGLE_CLOUD_PROJECT="my-project",
        )
        server.wait_until("/readyz")
        asked = {"brand": "aurora", "prompt": "a mug", "campaign": "spring", "seed": 1}
        status, headers, body = server.ask(
            "POST", "/generate", asked,
            **{"traceparent": TRACEPARENT, "X-Request-Id": "ask-1", "User-Agent": "tests"},
        )  # fmt: skip
        assert (status, headers["X-Request-Id"]) == (200, "ask-1")
        assert server.ask("POST", "/generate", asked | {"prompt": "!nan"})[0] == 500
        code, log = server.end()
    assert code == 0
    lines = [json.loads(line) for line in log.splitlines()]
    ours = [entry for entry in lines if entry.get("request_id") == "ask-1"]
    rendered, kept, answered = ours
    assert rendered["message"].startswith("picture of aurora: 3 steps in ")
    assert rendered["logger"] == "imagegen.engine.turn"
    assert (kept["prompt"], kept["campaign"]) == ("a mug", "spring")
    assert answered["httpRequest"]["userAgent"] == "tests"
    for entry in ours:
        assert entry["severity"] == "INFO"
        assert entry["logging.googleapis.com/trace"] == f"projects/my-project/traces/{TRACE_ID}"
        assert entry["logging.googleapis.com/spanId"] == "00f067aa0ba902b7"
        assert entry["generation_id"] == json.loads(body)["id"]
    [upload] = [sent for sent in line.uploads if b"\r\ncontent-type: image/png" in sent.lower()]
    assert f"traceparent: {TRACEPARENT}\r\n".encode() in upload
    failed = [entry for entry in lines if entry["severity"] == "WARNING"]
    assert {entry["logger"] for entry in failed} == {"imagegen.engine.turn", "imagegen.web.errors"}
    assert len({entry["generation_id"] for entry in failed}) == 1
