"""The manifest: what became of every row of a script, for spreadsheets, for programs, for eyes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

from imagegen.batch.contact_sheet import SheetRow, card, page_head, page_tail
from imagegen.batch.output import OpenFile, RowResult
from imagegen.generation import GenerationRequest

_ABOUT_THE_RESULT = (
    "key", "generation_id", "preset_version", "model", "created_at", "gpu_s",
    "estimated_cost_usd", "brand_scores", "warnings", "error_code", "error",
)  # fmt: skip
_COLUMNS = ("line", "status", "files", *GenerationRequest.model_fields, *_ABOUT_THE_RESULT)
_FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")


FILES = ("manifest.json", "manifest.csv", "contact-sheet.html")


@dataclass(frozen=True)
class ManifestRow:
    """One row of a script: `invalid` never became a request, `pending` has not been answered."""

    line: int
    status: Literal["succeeded", "failed", "invalid", "pending"]
    key: str | None = None
    request: Mapping[str, Any] | None = None  # as ScriptRow.told has it
    result: RowResult | None = None
    error_code: str | None = None
    error: str | None = None


def write_manifest(title: str, rows: Iterable[ManifestRow], open_file: OpenFile) -> None:
    """Writes the FILES, in one go and row by row."""
    with ExitStack() as files:
        for_programs, for_spreadsheets, for_eyes = (
            files.enter_context(open_file(name)) for name in FILES
        )
        for_programs.write(b'{"script": %s, "rows": [' % json.dumps(title).encode())
        # The mark tells spreadsheets that this is UTF-8.
        for_spreadsheets.write(csv_line(_COLUMNS).encode("utf-8-sig"))
        for_eyes.write(page_head(title).encode())
        between = b"\n"
        for row in rows:
            told = as_json(row)
            for_programs.write(between + json.dumps(told, ensure_ascii=False).encode())
            between = b",\n"
            for_spreadsheets.write(_as_csv(told).encode())
            for_eyes.write(_as_cards(row).encode())
        for_programs.write(b"\n]}\n")
        for_eyes.write(page_tail().encode())


def as_json(row: ManifestRow) -> dict[str, Any]:
    """What manifest.json says about a row."""
    generation = row.result.generation if row.result else None
    return {
        "line": row.line,
        "status": row.status,
        "key": row.key,
        "request": row.request and dict(row.request),
        "files": list(row.result.files) if row.result else [],
        "generation": generation and generation.model_dump(mode="json"),
        "error_code": row.error_code,
        "error": row.error,
    }


def csv_line(cells: Iterable[object]) -> str:
    """The cells as one record."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _as_csv(told: Mapping[str, Any]) -> str:
    """The row flattened: the request's fields, the result's, the generation's."""
    generation = told["generation"] or {"usage": {}}
    cells = {
        **(told["request"] or {}),
        **told,
        **{name: generation.get(name) for name in ("preset_version", "model", "created_at")},
        **generation["usage"],
        "generation_id": generation.get("id"),
        "files": "; ".join(told["files"]),
        "brand_scores": "; ".join(
            "" if image["score"] is None else str(image["score"]["total"])
            for image in generation.get("images", ())
        ),
        "warnings": "; ".join(generation.get("warnings", ())),
    }
    return csv_line(_harmless(cells.get(column)) for column in _COLUMNS)


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe (CWE-1236)."""
    if isinstance(cell, dict):
        return json.dumps(cell, ensure_ascii=False)
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return "'" + cell
    return cell


def _as_cards(row: ManifestRow) -> str:
    """One card for each picture; a row without any has one that says why."""
    about = SheetRow(
        line=row.line,
        status=row.status,
        brand=row.request["brand"] if row.request else "",
        prompt=row.request["prompt"] if row.request else "",
        error=row.error or "",
    )
    generation = row.result.generation if row.result else None
    if row.status != "succeeded" or not row.result or not generation:
        return card(about)
    return "".join(
        card(about, file, image)
        for file, image in zip(row.result.files, generation.images, strict=True)
    )
