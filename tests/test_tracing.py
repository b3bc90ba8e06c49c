"""Which request something belongs to: what headers say, and what is made of those that lie."""

from __future__ import annotations

import re

import pytest

from imagegen.tracing import Trace, current_trace, follow_generation, following, trace_of

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
W3C = f"00-{TRACE_ID}-{SPAN_ID}-01"
GOOGLE = "105445aa7843bc8bf206b12000100000/1;o=1"


def test_w3c_s_header_wins() -> None:
    trace = trace_of(W3C, GOOGLE, "ask-1")
    assert trace == Trace(TRACE_ID, SPAN_ID, sampled=True, request_id="ask-1")
    assert trace.traceparent == W3C


@pytest.mark.parametrize(
    ("header", "span_id", "sampled"),
    [
        ("105445aa7843bc8bf206b12000100000/1;o=1", "0000000000000001", True),
        ("105445AA7843BC8BF206B12000100000/18446744073709551615", "f" * 16, False),
        ("105445aa7843bc8bf206b12000100000/7;o=0", "0000000000000007", False),
    ],
)
def test_google_s_header(header: str, span_id: str, sampled: bool) -> None:
    trace = trace_of("", header, "")
    assert trace.trace_id == "105445aa7843bc8bf206b12000100000"
    assert (trace.span_id, trace.sampled) == (span_id, sampled)


@pytest.mark.parametrize("header", ["105445aa7843bc8bf206b12000100000", f"{'1' * 32};o=1"])
def test_google_s_header_without_a_span_gets_one(header: str) -> None:
    trace = trace_of("", header, "")
    assert trace.trace_id == header[:32]
    assert re.fullmatch("[0-9a-f]{16}", trace.span_id)


@pytest.mark.parametrize(
    "header",
    [
        "", "x", W3C.upper(), W3C + "\n", f" {W3C}", f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01", f"00-{TRACE_ID}-{'0' * 16}-01", f"{W3C}-more",
        f"00-{TRACE_ID[1:]}-{SPAN_ID}-01",
    ],
)  # fmt: skip
def test_a_malformed_one_is_ignored(header: str) -> None:
    assert trace_of(header, GOOGLE, "").trace_id == GOOGLE[:32]
    assert trace_of(header, "", "").trace_id not in header
    assert trace_of(header, "", "").begins_here
    assert not trace_of(header, GOOGLE, "").begins_here


def test_a_later_version_may_say_more() -> None:
    assert trace_of(f"01-{TRACE_ID}-{SPAN_ID}-03-more", "", "").traceparent == W3C


@pytest.mark.parametrize(
    "header",
    ["x", f"{'0' * 32}/1", f"{TRACE_ID}/99999999999999999999", f"{TRACE_ID}/-1", "１" * 32],
)
def test_a_malformed_one_of_google_s_is_ignored(header: str) -> None:
    trace = trace_of("", header, "")
    assert trace.trace_id not in header
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", trace.traceparent)


@pytest.mark.parametrize("said", ["", "a b", "a\nb", "x" * 129, "<script>", "é", "a\x1b[2J"])
def test_a_request_id_that_makes_no_sense_is_replaced(said: str) -> None:
    made = trace_of("", "", said).request_id
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert made != trace_of("", "", said).request_id


def test_a_thread_follows_one_request_at_a_time() -> None:
    follow_generation("gen_0")  # nobody asked: a command line
    assert current_trace() is None
    with following(trace_of(W3C, "", "ask-1")):
        follow_generation("gen_1")
        trace = current_trace()
        assert trace is not None
        assert (trace.request_id, trace.generation_id) == ("ask-1", "gen_1")
    assert current_trace() is None
