"""OpenTelemetry's spans, as a collector receives them."""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from web_server import REPOSITORY, Server

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
BODY: dict[str, Any] = {"brand": "aurora", "prompt": "a mug", "num_inference_steps": 3}


class Collector:
    """Takes OTLP over HTTP, and remembers spans by name."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.service = ""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    said = {one.key: one.value.string_value for one in resource.resource.attributes}
                    collector.service = said["service.name"]
                    for scope in resource.scope_spans:
                        collector.spans.extend(scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, count: int) -> dict[str, Any]:
        until = time.monotonic() + 20
        while len(self.spans) < count:
            assert time.monotonic() < until, [span.name for span in self.spans]
            time.sleep(0.02)
        return {span.name: span for span in self.spans}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def test_a_generation_is_a_span_beneath_the_callers(
    serve: Callable[..., Server], collector: Collector
) -> None:
    server = serve(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="50")
    server.wait_until("/readyz")
    began_ns = time.time_ns()
    server.ask("POST", "/generate", BODY, traceparent=f"00-{'1' * 32}-{SPAN_ID}-00")  # not sampled
    status, _, _ = server.ask("POST", "/generate", BODY, traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01")
    assert status == 200
    spans = collector.wait_for(3)
    whole = spans["generate"]
    assert collector.service == "imagegen"
    assert len(collector.spans) == 3, "who is not recorded has no spans"
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
    assert {span.parent_span_id for name, span in spans.items() if name != "generate"} == {
        whole.span_id
    }
    ends = [spans[name].end_time_unix_nano for name in ("queue", "render", "generate")]
    assert began_ns <= whole.start_time_unix_nano <= ends[0] <= ends[1] <= ends[2] <= time.time_ns()
    said = attributes(whole)
    assert (said["imagegen.brand"], said["imagegen.steps"], said["imagegen.pictures"]) == (
        "aurora", 3, 1,
    )  # fmt: skip
    assert said["imagegen.generation_id"].startswith("gen_")
    assert "prompt" not in str(said), "what people write is not for whoever collects traces"


def test_who_has_no_trace_begins_one_under_the_id_in_the_log(
    serve: Callable[..., Server], collector: Collector
) -> None:
    server = serve(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="50",
        IMAGEGEN_LOG_FORMAT="json",
    )  # fmt: skip
    server.wait_until("/readyz")
    server.ask("POST", "/generate", BODY)
    spans = collector.wait_for(3)
    whole = spans["generate"]
    assert whole.parent_span_id == b""
    assert {span.parent_span_id for name, span in spans.items() if name != "generate"} == {
        whole.span_id
    }
    _, log = server.end()
    traces = {json.loads(line).get("logging.googleapis.com/trace") for line in log.splitlines()}
    assert whole.trace_id.hex() in traces


def test_the_sampler_that_the_operator_names_decides(
    serve: Callable[..., Server], collector: Collector
) -> None:
    server = serve(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="50",
        OTEL_TRACES_SAMPLER="parentbased_always_off",
    )  # fmt: skip
    server.wait_until("/readyz")
    server.ask("POST", "/generate", BODY)
    server.ask("POST", "/generate", BODY, traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01")
    collector.wait_for(3)
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}


@pytest.mark.parametrize(
    "variable", [{"OTEL_BSP_SCHEDULE_DELAY": "-1"}, {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}]
)
def test_a_variable_that_makes_no_sense_costs_the_spans_alone(
    serve: Callable[..., Server], collector: Collector, variable: dict[str, str]
) -> None:
    server = serve(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **variable)
    server.wait_until("/readyz")
    assert server.ask("POST", "/generate", BODY)[0] == 200
    _, log = server.end()
    [line] = [line for line in log.splitlines() if "no spans are sent" in line]
    assert "OpenTelemetry cannot use its OTEL_ variables: " in line
    assert "Traceback" not in log
    assert collector.spans == []


def test_a_failure_is_a_span_with_its_code(
    serve: Callable[..., Server], collector: Collector
) -> None:
    server = serve(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_BSP_SCHEDULE_DELAY="50")
    server.wait_until("/readyz")
    failing = BODY | {"prompt": "!nan"}
    server.ask("POST", "/generate", failing, traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01")
    span = collector.wait_for(1)["generate"]
    assert span.status.code == 2
    assert attributes(span)["error.type"] == "render_failed"


def test_without_the_extra_it_is_said_and_everything_else_works(
    serve: Callable[..., Server], collector: Collector, tmp_path: Path
) -> None:
    blocker = "import sys\nsys.modules['opentelemetry.sdk'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(blocker)
    server = serve(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(REPOSITORY)]),
    )
    server.wait_until("/readyz")
    assert server.ask("POST", "/generate", BODY)[0] == 200
    _, log = server.end()
    assert "pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http" in log
