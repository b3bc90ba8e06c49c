"""The files of prompt scripts: CSV and JSONL become rows of cells, faults told by line."""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from imagegen.errors import InvalidScript
from imagegen.generation import GenerationRequest

FIELDS = tuple(GenerationRequest.model_fields)
_VARIABLE_COLUMN = "var."


@dataclass(frozen=True)
class BadRow:
    """A row that cannot become a request, and why."""

    line: int
    message: str
    original: str = field(default="", repr=False)  # the line itself, where its answer needs it
    code: str = "invalid_request"  # of the failure that it would have been


@dataclass(frozen=True)
class Cells:
    """A row as written: field values (text from CSV, JSON values from JSONL) and its variables."""

    line: int
    fields: dict[str, object]
    variables: dict[str, list[str]] = field(default_factory=dict)
    typed: bool = False


def read_rows(data: bytes, file: str) -> Iterator[Cells | BadRow]:
    """Every row of a CSV or JSONL script, in order.

    Raises InvalidScript for what concerns the whole file.
    """
    text = decoded(data, file)
    is_jsonl = suffix_of(file) in (".jsonl", ".ndjson", ".json") or text.lstrip()[:1] == "{"
    return _read_jsonl(text) if is_jsonl else _read_csv(text)


def read_file(file: str | Path) -> bytes:
    """A script's content, here or at `gs://…`. Raises InvalidScript."""
    name = str(file)
    return _read_object(name) if name.startswith("gs://") else _read_local(name)


def suffix_of(file: str | Path) -> str:
    """`.csv`, in small letters."""
    return PurePosixPath(file).suffix.lower()


def near(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` where one of `known` resembles `word`, else nothing."""
    names = difflib.get_close_matches(word, sorted(known), n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(names)}?)" if names else ""


def decoded(data: bytes, file: str) -> str:
    """A script's text. Raises InvalidScript where it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidScript(f"{file}:{line}: not UTF-8; save the file as “CSV UTF-8”") from None


def _read_local(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InvalidScript(f"cannot read {file}: {error.strerror}") from None


def _read_object(file: str) -> bytes:
    from imagegen.storage.bucket_folder import BucketFolder  # Google's library takes a second

    folder, _, name = file.rpartition("/")
    data = BucketFolder(folder).read(name)
    if data is None:
        raise InvalidScript(f"cannot read {file}: there is no such object")
    return data


def _read_jsonl(text: str) -> Iterator[Cells | BadRow]:
    # Only \n ends a line: JSON strings may hold U+2028 and its like, which splitlines() would cut.
    rows = [
        _parse_object(number, line)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    _refuse_unknown(
        (row.line, name)
        for row in rows
        if isinstance(row, Cells)
        for name in row.fields
        if name not in (*FIELDS, "variables")
    )
    return map(_with_variables, rows)


def _parse_object(number: int, line: str) -> Cells | BadRow:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRow(number, f"not JSON: {error}")
    if not isinstance(row, dict):
        return BadRow(number, "not a JSON object; write one {…} a line")
    if any(0xD800 <= ord(letter) < 0xE000 for letter in json.dumps(row, ensure_ascii=False)):
        return BadRow(number, "holds half of a character (a lone surrogate, \\ud800 to \\udfff)")
    return Cells(
        number, {name: value for name, value in row.items() if value is not None}, typed=True
    )


def _with_variables(row: Cells | BadRow) -> Cells | BadRow:
    """Moves a JSON row's `variables` to their place."""
    if isinstance(row, BadRow) or "variables" not in row.fields:
        return row
    said = row.fields["variables"]
    if not isinstance(said, dict):
        return BadRow(row.line, 'variables: write {"name": ["one", "another"]}')
    variables: dict[str, list[str]] = {}
    for name, values in said.items():
        listed = values if isinstance(values, list) else [values]
        if not all(isinstance(v, str | int | float) and not isinstance(v, bool) for v in listed):
            return BadRow(row.line, f"variables: {name}: only text and numbers")
        variables[name] = [str(value) for value in listed]
    fields = {name: value for name, value in row.fields.items() if name != "variables"}
    return Cells(row.line, fields, variables, typed=True)


def _read_csv(text: str) -> Iterator[Cells | BadRow]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = _csv_lines(text, _delimiter(text))
    header: list[str] = []
    for number, cells in lines:
        if isinstance(cells, BadRow):
            raise InvalidScript(f"line {number}: {cells.message}")
        if any(cells):
            # spreadsheets end lines with empty columns; a cell below one is told where it stands
            header = cells[: max(at for at, cell in enumerate(cells, start=1) if cell)]
            _check_header(number, header)
            break
    if not header:
        raise InvalidScript("the script is empty; its first line names the columns")
    for number, cells in lines:
        if isinstance(cells, BadRow):
            yield cells
        elif any(cells):
            yield _named(number, header, cells)


def _delimiter(text: str) -> str:
    """The one of `,` `;` tab under which the first line names the most columns we know."""
    first = text.lstrip().partition("\n")[0]

    def known(delimiter: str) -> int:
        cells = next(csv.reader([first], delimiter=delimiter), [])
        return sum(cell.strip() in FIELDS or _names_a_variable(cell.strip()) for cell in cells)

    return max(",;\t", key=known)


def _csv_lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str] | BadRow]]:
    """Each record with the number of the line it begins on, cells stripped.

    `strict` makes a forgotten closing quote an error instead of one cell that swallows the file;
    the lines behind it are read anew.
    """
    lines = io.StringIO(text).readlines()  # splitlines() would cut at U+2028 and its like
    begun = 0
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = begun + reader.line_num + 1
        try:
            yield number, [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            yield number, BadRow(number, f"not CSV: {error}")
            begun = number
            reader = csv.reader(
                itertools.islice(lines, begun, None), delimiter=delimiter, strict=True
            )


def _check_header(line: int, header: Sequence[str]) -> None:
    _refuse_unknown(
        (line, name) for name in header if name not in FIELDS and not _names_a_variable(name)
    )
    if twice := sorted(name for name, times in Counter(header).items() if times > 1):
        raise InvalidScript(f"line {line}: the column {twice[0]!r} stands there twice")


def _names_a_variable(column: str) -> bool:
    return column.startswith(_VARIABLE_COLUMN) and column != _VARIABLE_COLUMN


def _refuse_unknown(places: Iterable[tuple[int, str]]) -> None:
    """Raises InvalidScript naming each unknown name once, where it first stands."""
    first: dict[str, int] = {}
    for line, name in places:
        first.setdefault(name, line)
    if first:
        raise InvalidScript(
            "; ".join(
                f"line {line}: unknown column {name[:80]!r}{near(name[:80], FIELDS)}"
                for name, line in first.items()
            )
            + f". The columns are {', '.join(FIELDS)}."
        )


def _named(line: int, header: Sequence[str], cells: Sequence[str]) -> Cells | BadRow:
    if any(cells[len(header) :]):
        return BadRow(
            line,
            f"{len(cells)} cells under {len(header)} columns;"
            ' a text that holds the delimiter goes in "quotes"',
        )
    said = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
    return Cells(
        line,
        {name: cell for name, cell in said.items() if name in FIELDS},
        {
            name.removeprefix(_VARIABLE_COLUMN): split_values(cell, "|")
            for name, cell in said.items()
            if name not in FIELDS
        },
    )


def split_values(text: str, separator: str) -> list[str]:
    """`mug| lamp |` -> ["mug", "lamp"]."""
    return [value.strip() for value in text.split(separator) if value.strip()]
