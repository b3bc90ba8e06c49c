"""Arrival traces: what is read, and the one line about what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.sparse_day import as_csv, working_day
from imagegen.cost.trace import DAY_S, SPARSE_DAY, Arrival, Kind, Trace, read_trace
from imagegen.errors import InvalidTrace


def trace_of(folder: Path, text: str | bytes) -> Trace:
    path = folder / "trace"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_trace(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_in_seconds(tmp_path, delimiter, mark):
    rows = [["kind", "time", "num_images"], ["generate", "60.5", "4"], ["page", "0", ""], [""],
            ["batch", "7", "200"], ["", "9", ""]]  # fmt: skip
    text = mark + "\r\n".join(delimiter.join(row) for row in rows)
    assert trace_of(tmp_path, text).arrivals == (
        Arrival(0, Kind.PAGE, 0),
        Arrival(7, Kind.BATCH, 200),
        Arrival(9, Kind.GENERATE, 1),
        Arrival(60.5, Kind.GENERATE, 4),
    )


def test_times_alone_are_pictures_one_by_one(tmp_path):
    assert trace_of(tmp_path, "time\n1\n2\n").arrivals == (
        Arrival(1, Kind.GENERATE, 1),
        Arrival(2, Kind.GENERATE, 1),
    )


def test_time_stamps_count_from_the_midnight_before_the_first(tmp_path):
    trace = trace_of(
        tmp_path,
        '{"time": "2026-11-25T00:30:00+01:00", "kind": "page"}\n'
        '\n{"time": "2026-11-24T23:00:00Z", "num_images": 2, "kind": null}\n',
    )
    # The first is at 23:00 in UTC, its own zone; the other one is half an hour later.
    assert trace.arrivals == (
        Arrival(23 * 3600, Kind.GENERATE, 2),
        Arrival(23 * 3600 + 1800, Kind.PAGE, 0),
    )
    assert trace.horizon_s == DAY_S
    assert trace_of(tmp_path, "time\n2026-11-24\n2026-11-26 09:00\n").horizon_s == 3 * DAY_S


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "1: no arrivals; each line after the columns' names is one"),
        ("time,kind\n", "1: no arrivals"),
        ("kind\npage\n", "1: no column time"),
        ("time,knd\n1,page\n", "1: unknown column 'knd'; the columns are time, kind, num_images"),
        ("time,time\n1,1\n", "1: a column stands there twice"),
        ("time,kind\n1,page\n\n2,pages\n", "4: kind: 'pages' is none of page, generate, batch"),
        ("time\nnoon\n", "2: time: 'noon' is neither seconds nor an ISO time stamp"),
        ("time\n-1\n", "2: time: -1 is not within 366 days"),
        ("time\nnan\n", "2: time: nan is not within 366 days"),
        ("time\n1764000000\n", "2: time: 1764000000 is not within 366 days; seconds count from"),
        ("time,kind\n,page\n", "2: no time"),
        ("time\n1,2\n", "2: 2 cells under 1 columns"),
        ("time,num_images\n1,two\n", "2: num_images: 'two' is not a whole number"),
        ("time,num_images\n1,9\n", "2: num_images: 9, but for kind generate it is 1 to 8"),
        ("time,num_images\n1,0000000011\n", "2: num_images: 0000000011, but for kind generate"),
        ("time,num_images\n1,0\n", "2: num_images: 0, but for kind generate it is 1 to 8"),
        ("time,kind,num_images\n1,page,1\n", "2: num_images: 1, but for kind page it is none"),
        ("time,kind,num_images\n1,batch,1" + "0" * 40, "2: num_images: 1000"),
        ('time\n1\n"2\n', "3: not CSV: "),
        ("time\n1\n2026-11-24\n", "3: time: a time stamp without a zone, but line 2 has seconds"),
        ("time\n2026-11-24\n2026-11-24T01:00Z\n", "3: time: a time stamp with a zone, but line 2"),
        ("time\n2026-11-24\n2028-11-24\n", "3: time: more than 366 days after the first arrival"),
        ('{"time": 1}\n{"time": 2', "2: not JSON; write one {…} a line"),
        ('{"time": 1}\n[]', "2: not a JSON object"),
        ('{"time": 1}\n{"kind": "page"}', "2: no column time"),
        ('{"time": 1}\n{"time": null}', "2: no time"),
        ('{"time": true}', "1: no time"),
        ('{"time": 1, "num_images": true}', "1: num_images: 'True' is not a whole number"),
        ('{"time": 1, "kind": ["page"]}', "1: kind: "),
        (b"time,kind\n1,page\n2,\xff\n", "3: not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_its_number(tmp_path, text, fault):
    with pytest.raises(InvalidTrace) as caught:
        trace_of(tmp_path, text)
    assert caught.value.detail.startswith(f"{tmp_path / 'trace'}:{fault}")
    assert "\n" not in caught.value.detail


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidTrace, match=r"^cannot read .*nix\.csv: No such file"):
        read_trace(tmp_path / "nix.csv")


def test_the_sample_is_the_day_that_the_rule_draws():
    assert SPARSE_DAY.read_text() == as_csv(working_day(seed=1))
    kinds = [arrival.kind for arrival in read_trace(SPARSE_DAY).arrivals]
    assert (kinds.count(Kind.PAGE), kinds.count(Kind.BATCH)) == (72, 1)
    assert 20 <= kinds.count(Kind.GENERATE) <= 30
