"""An arrival trace: who asked when, read from CSV or JSONL, faults told by line."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from imagegen.errors import InvalidTrace

COLUMNS = ("time", "kind", "num_images")
DAY_S = 86_400.0
MAX_DAYS = 366
SPARSE_DAY = Path(__file__).with_name("sparse_day.csv")


class Kind(StrEnum):
    """What somebody asked for."""

    PAGE = "page"  # a page, a list, a finished picture: nothing that needs a GPU
    GENERATE = "generate"  # pictures that somebody waits for
    BATCH = "batch"  # a prompt script: nobody waits


_MOST_IMAGES = {Kind.PAGE: 0, Kind.GENERATE: 8, Kind.BATCH: 100_000}


@dataclass(frozen=True)
class Arrival:
    """One line of a trace. at_s: seconds since the midnight before the first arrival."""

    at_s: float
    kind: Kind
    num_images: int  # 0 for a page


@dataclass(frozen=True)
class Trace:
    """All arrivals, in the order of their times."""

    arrivals: tuple[Arrival, ...]

    @property
    def horizon_s(self) -> float:
        """The midnight after the last arrival; instances that are kept warm are kept until then."""
        last_s = self.arrivals[-1].at_s if self.arrivals else 0.0
        return (math.floor(last_s / DAY_S) + 1) * DAY_S

    def of(self, *kinds: Kind) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.kind in kinds]


@dataclass(frozen=True)
class _Row:
    """A line as read, its time not yet counted from midnight."""

    line: int
    time: float | datetime
    kind: Kind
    num_images: int


def read_trace(path: Path) -> Trace:
    """Raises InvalidTrace, in one line, for the first fault."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidTrace(f"cannot read {path}: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidTrace(f"{path}:{line}: not UTF-8") from None
    try:
        return _read(text)
    except InvalidTrace as error:
        raise InvalidTrace(f"{path}:{error}") from None


def _read(text: str) -> Trace:
    rows = list(_read_jsonl(text) if text.lstrip()[:1] == "{" else _read_csv(text))
    if not rows:
        _refuse(1, "no arrivals; each line after the columns' names is one")
    return Trace(tuple(sorted(_from_midnight(rows), key=lambda arrival: arrival.at_s)))


def _read_jsonl(text: str) -> Iterator[_Row]:
    for line, said in enumerate(text.split("\n"), start=1):
        if not said.strip():
            continue
        try:
            cells = json.loads(said)
        except (ValueError, RecursionError):
            _refuse(line, "not JSON; write one {…} a line")
        if not isinstance(cells, dict):
            _refuse(line, "not a JSON object; write one {…} a line")
        _check_columns(line, list(cells))
        yield _row(line, {name: cell for name, cell in cells.items() if cell is not None})


def _read_csv(text: str) -> Iterator[_Row]:
    delimiter = max(",;\t", key=text.lstrip().partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    try:
        for record in reader:
            cells = [cell.strip() for cell in record]
            if not any(cells):
                continue
            if not header:
                header = cells
                _check_columns(reader.line_num, header)
                continue
            if any(cells[len(header) :]):
                _refuse(reader.line_num, f"{len(cells)} cells under {len(header)} columns")
            said = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
            yield _row(reader.line_num, said)
    except csv.Error as error:
        _refuse(reader.line_num, f"not CSV: {error}")


def _check_columns(line: int, names: Sequence[str]) -> None:
    for name in names:
        if name not in COLUMNS:
            known = ", ".join(COLUMNS)
            _refuse(line, f"unknown column {name[:40]!r}; the columns are {known}")
    if len(set(names)) < len(names):
        _refuse(line, "a column stands there twice")
    if "time" not in names:
        _refuse(line, "no column time; seconds since midnight, or ISO time stamps")


def _row(line: int, cells: Mapping[str, object]) -> _Row:
    kind = _kind(line, cells.get("kind", Kind.GENERATE.value))
    return _Row(line, _time(line, cells.get("time")), kind, _num_images(line, kind, cells))


def _kind(line: int, said: object) -> Kind:
    if said not in list(Kind):
        _refuse(line, f"kind: {str(said)[:40]!r} is none of {', '.join(Kind)}")
    return Kind(str(said))


def _num_images(line: int, kind: Kind, cells: Mapping[str, object]) -> int:
    most = _MOST_IMAGES[kind]
    said = cells.get("num_images", min(1, most))
    number = str(said)
    if isinstance(said, bool) or not (number.isascii() and number.isdigit()):
        _refuse(line, f"num_images: {number[:40]!r} is not a whole number")
    digits = number.lstrip("0") or "0"
    if len(digits) > len(str(most)) or not min(1, most) <= int(digits) <= most:
        allowed = f"1 to {most:,}" if most else "none"
        _refuse(line, f"num_images: {number[:40]}, but for kind {kind} it is {allowed}")
    return int(digits)


def _time(line: int, said: object) -> float | datetime:
    """Seconds, or a moment. JSON may hold either; in CSV both are text."""
    if said is None or isinstance(said, bool | list | dict):
        _refuse(line, "no time; write seconds since midnight, or an ISO time stamp")
    text = str(said)
    try:
        seconds = float(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            _refuse(line, f"time: {text[:40]!r} is neither seconds nor an ISO time stamp")
    if not 0 <= seconds <= MAX_DAYS * DAY_S:
        advice = "seconds count from the first day's midnight; write Unix times as ISO time stamps"
        _refuse(line, f"time: {text[:40]} is not within {MAX_DAYS} days; {advice}")
    return seconds


def _from_midnight(rows: Sequence[_Row]) -> Iterator[Arrival]:
    first = rows[0]
    for row in rows:
        if _way_of_writing(row.time) != _way_of_writing(first.time):
            ways = f"{_way_of_writing(row.time)}, but line {first.line} has"
            _refuse(row.line, f"time: {ways} {_way_of_writing(first.time)}")
    moments = [row.time for row in rows if isinstance(row.time, datetime)]
    midnight = min(moments).replace(hour=0, minute=0, second=0, microsecond=0) if moments else None
    for row in rows:
        if isinstance(row.time, float):
            yield Arrival(row.time, row.kind, row.num_images)
            continue
        assert midnight is not None
        at_s = (row.time - midnight).total_seconds()
        if at_s > MAX_DAYS * DAY_S:
            _refuse(row.line, f"time: more than {MAX_DAYS} days after the first arrival")
        yield Arrival(at_s, row.kind, row.num_images)


def _way_of_writing(time: float | datetime) -> str:
    if isinstance(time, float):
        return "seconds"
    return "a time stamp " + ("without a zone" if time.tzinfo is None else "with a zone")


def _refuse(line: int, fault: str) -> NoReturn:
    raise InvalidTrace(f"{line}: {fault}")
