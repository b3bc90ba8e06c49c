"""Spans: what a generation spent its time on, for whoever collects OpenTelemetry's traces.

Optional: the extra `otel` of pyproject.toml, and the address of a collector in the SDK's own
variable OTEL_EXPORTER_OTLP_ENDPOINT. A span is made once its generation has ended, from the times
that are measured anyway: nothing runs meanwhile. It stands beneath the span of whoever asked, and
is recorded if that one is; where he has none it begins a trace, under the id that the log has. So
the SDK's default; OTEL_TRACES_SAMPLER may say otherwise.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

from imagegen.generation import Generation
from imagegen.tracing import Trace, current_trace

_log = logging.getLogger(__name__)


@dataclass
class _Exported:
    tracer: Any = None  # OpenTelemetry's Tracer, once there is somewhere to send spans


_exported = _Exported()


def export_spans(version: str) -> None:
    """From now on spans are sent to the collector that the environment names.

    Pictures do not depend on it: where that cannot be, the log says why.
    """
    try:
        _exported.tracer = _new_tracer(version)
    except ImportError:
        _log.warning(
            "no spans are sent: OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not"
            " installed; pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        )
    except Exception as error:  # of variables that it reads, some only while it is imported
        _log.warning("no spans are sent: OpenTelemetry cannot use its OTEL_ variables: %s", error)


def _new_tracer(version: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            """Of a trace that begins here."""
            trace = current_trace()
            return super().generate_trace_id() if trace is None else int(trace.trace_id, 16)

    resource = Resource.create({SERVICE_NAME: "imagegen", SERVICE_VERSION: version})
    provider = TracerProvider(resource=resource, id_generator=Ids())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("imagegen", version)


def record_generation(began_ns: int, generation: Generation) -> None:
    """A generation that succeeded; began_ns: since 1970."""
    trace = current_trace()
    if _exported.tracer is None or trace is None:
        return
    timings, usage = generation.timings, generation.usage
    span = _begin(
        trace, began_ns,
        {
            "imagegen.brand": generation.brand,
            "imagegen.model": generation.model,
            "imagegen.generation_id": generation.id,
            "imagegen.pictures": len(generation.images),
            "imagegen.steps": usage.steps,
            "imagegen.gpu_s": usage.gpu_s,
            "imagegen.encode_s": timings.encode_s,
            "imagegen.store_s": timings.store_s,
        },
    )  # fmt: skip
    render_ns = began_ns + round(timings.queue_s * 1e9)
    done_ns = render_ns + round(timings.render_s * 1e9)
    for name, start_ns, end_ns in (("queue", began_ns, render_ns), ("render", render_ns, done_ns)):
        _child(span, name, start_ns).end(end_ns)
    span.end(time.time_ns())


def record_failure(began_ns: int, brand: str, code: str) -> None:
    """A generation that ended without pictures; code: the error's."""
    trace = current_trace()
    if _exported.tracer is None or trace is None:
        return
    from opentelemetry.trace import Status, StatusCode

    span = _begin(trace, began_ns, {"imagegen.brand": brand, "error.type": code})
    span.set_status(Status(StatusCode.ERROR, code))
    span.end(time.time_ns())


def _begin(trace: Trace, began_ns: int, attributes: dict[str, Any]) -> Any:
    return _exported.tracer.start_span(
        "generate",
        context=_callers(trace),
        start_time=began_ns,
        attributes=attributes | {"imagegen.request_id": trace.request_id},
    )


def _callers(trace: Trace) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    if trace.begins_here:
        return Context()
    asked = SpanContext(
        int(trace.trace_id, 16), int(trace.span_id, 16), is_remote=True,
        trace_flags=TraceFlags(int(trace.sampled)),
    )  # fmt: skip
    return set_span_in_context(NonRecordingSpan(asked), Context())


def _child(span: Any, name: str, start_ns: int) -> Any:
    from opentelemetry.trace import set_span_in_context

    return _exported.tracer.start_span(name, context=set_span_in_context(span), start_time=start_ns)
