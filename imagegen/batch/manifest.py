"""The manifest: what became of every row of a script, for spreadsheets, for programs, for eyes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from imagegen.batch.contact_sheet import SheetPicture, contact_sheet
from imagegen.batch.output import RowResult
from imagegen.generation import GenerationRequest

_ABOUT_THE_RESULT = (
    "key", "generation_id", "preset_version", "model", "created_at", "gpu_s",
    "estimated_cost_usd", "warnings", "error_code", "error",
)  # fmt: skip
_COLUMNS = ("line", "status", "files", *GenerationRequest.model_fields, *_ABOUT_THE_RESULT)
_FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")


@dataclass(frozen=True)
class ManifestRow:
    """One row of a script: `invalid` never became a request, `pending` has not been tried."""

    line: int
    status: Literal["succeeded", "failed", "invalid", "pending"]
    key: str | None = None
    request: GenerationRequest | None = None
    result: RowResult | None = None
    error_code: str | None = None
    error: str | None = None


def manifest_files(title: str, rows: Sequence[ManifestRow]) -> dict[str, bytes]:
    """manifest.json, manifest.csv and contact-sheet.html."""
    content = {"script": title, "rows": [as_json(row) for row in rows]}
    failures = [f"line {row.line}: {row.error or row.status}" for row in rows if not _pictures(row)]
    pictures = [picture for row in rows for picture in _pictures(row)]
    return {
        "manifest.json": json.dumps(content, ensure_ascii=False, indent=1).encode(),
        # The mark tells spreadsheets that this is UTF-8.
        "manifest.csv": _as_csv(rows).encode("utf-8-sig"),
        "contact-sheet.html": contact_sheet(title, pictures, failures).encode(),
    }


def as_json(row: ManifestRow) -> dict[str, Any]:
    """What manifest.json says about a row."""
    generation = row.result.generation if row.result else None
    return {
        "line": row.line,
        "status": row.status,
        "key": row.key,
        "request": row.request and row.request.model_dump(mode="json", exclude_none=True),
        "files": list(row.result.files) if row.result else [],
        "generation": generation and generation.model_dump(mode="json"),
        "error_code": row.error_code,
        "error": row.error,
    }


def _as_csv(rows: Sequence[ManifestRow]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in rows:
        cells = _cells(row)
        writer.writerow(_harmless(cells.get(column)) for column in _COLUMNS)
    return text.getvalue()


def _cells(row: ManifestRow) -> dict[str, Any]:
    """The row flattened: the request's fields, the result's, the generation's."""
    flat = as_json(row)
    generation = flat["generation"] or {"usage": {}}
    return {
        **(flat["request"] or {}),
        **flat,
        **{name: generation.get(name) for name in ("preset_version", "model", "created_at")},
        **generation["usage"],
        "generation_id": generation.get("id"),
        "files": "; ".join(flat["files"]),
        "warnings": "; ".join(generation.get("warnings", ())),
    }


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe (CWE-1236)."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS):
        return "'" + cell
    return cell


def _pictures(row: ManifestRow) -> list[SheetPicture]:
    if row.status != "succeeded" or not row.request or not row.result or not row.result.generation:
        return []
    return [
        SheetPicture(
            file=file,
            line=row.line,
            brand=row.request.brand,
            prompt=row.request.prompt,
            seed=image.seed,
            width=image.width,
            height=image.height,
        )
        for file, image in zip(row.result.files, row.result.generation.images, strict=True)
    ]
