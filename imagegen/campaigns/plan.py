"""Plan: what somebody pasted, read and checked before anything is started."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass

from imagegen.batch.estimate import Estimate, Measured
from imagegen.batch.rows import FIELDS
from imagegen.batch.script import PromptScript, read_pasted
from imagegen.campaigns.record import BadLine, CampaignRow
from imagegen.errors import CallerError, FieldError, InvalidRequest, InvalidScript
from imagegen.generation import Generation, GenerationRequest, ModelInfo
from imagegen.presets import PresetCatalog

MOST_ROWS = 1_000
MOST_LETTERS = 1 << 20


@dataclass(frozen=True)
class Plan:
    """Rows that can be rendered, and lines that cannot."""

    name: str
    rows: tuple[CampaignRow, ...]
    bad_lines: tuple[BadLine, ...]
    repeated: int  # rows that say the same as an earlier one
    estimate: Estimate | None  # None: nothing was rendered yet to judge by

    @property
    def num_images(self) -> int:
        return sum(row.request.num_images for row in self.rows)


@dataclass(frozen=True)
class Pasted:
    """What the form says."""

    name: str
    text: str  # CSV, JSON lines, or a prompt a line
    brand: str = ""  # for rows that name none
    num_images: int = 1  # for rows that say none


def plan_of(
    pasted: Pasted,
    catalog: PresetCatalog,
    earlier: Iterable[Generation],
    model: ModelInfo | None,
) -> Plan:
    """catalog: the caller's brands. earlier: generations to judge the cost by. model: if it is
    known; what it cannot draw is told then, too.

    Raises InvalidRequest for what concerns the whole text.
    """
    script = _read(pasted)
    rows: list[CampaignRow] = []
    bad_lines = [BadLine(line=bad.line, message=bad.message) for bad in script.bad_rows]
    for row in script.rows:
        request = row.request.model_copy(update={"campaign": pasted.name, "deadline_s": None})
        try:
            _refuse(request, catalog, model)
        except CallerError as error:
            bad_lines.append(BadLine(line=row.line, message=error.detail))
        else:
            rows.append(CampaignRow(line=row.line, request=request))
    bad_lines.sort(key=lambda bad: bad.line)
    return Plan(
        pasted.name, tuple(rows), tuple(bad_lines), _repeated(rows), _estimate(rows, earlier)
    )


def _refuse(request: GenerationRequest, catalog: PresetCatalog, model: ModelInfo | None) -> None:
    """Raises what is wrong with it."""
    preset = catalog.get(request.brand)
    if model is None:
        preset.refuse_words(request)
    else:
        preset.resolve(request, model)


def _repeated(rows: list[CampaignRow]) -> int:
    said = {row.request.model_copy(update={"seed": None}).model_dump_json() for row in rows}
    return len(rows) - len(said)


def _read(pasted: Pasted) -> PromptScript:
    if not pasted.text.strip("\ufeff \t\r\n"):
        raise InvalidRequest(FieldError("text", "has no row; write a prompt a line"))
    if len(pasted.text) > MOST_LETTERS:
        raise InvalidRequest(FieldError("text", f"may have {MOST_LETTERS:,} letters at most"))
    try:
        name = GenerationRequest.model_validate(
            {"brand": "x", "prompt": "x", "campaign": pasted.name}
        ).campaign
    except ValueError:
        name = None
    if not name:
        raise InvalidRequest(FieldError("name", "must be 1 to 64 characters"))
    try:
        unsaid = {"num_images": pasted.num_images}
        return read_pasted(
            _as_script(pasted),
            MOST_ROWS,
            unsaid | {"brand": pasted.brand} if pasted.brand else unsaid,
        )
    except InvalidScript as error:
        raise InvalidRequest(FieldError("text", error.detail)) from None


def _as_script(pasted: Pasted) -> str:
    """JSON lines, in which rows keep the line they stood on; CSV says its columns itself."""
    text = pasted.text.lstrip("\ufeff")
    first = next((line for line in text.splitlines() if line.strip()), "")
    if _is_object(first) or _names_columns(first):
        return text
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    said = (number for number, row in enumerate(rows, 1) if row.strip())
    rows = rows[: next(itertools.islice(said, MOST_ROWS, None), None)]  # one too many is enough
    return "\n".join(json.dumps({"prompt": row.strip()}) if row.strip() else "" for row in rows)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _names_columns(line: str) -> bool:
    """Whether a line is a table's head: it names the prompt's column, and another one or none."""
    for delimiter in ",;\t":
        cells = [cell.strip().strip('"') for cell in line.split(delimiter)]
        named = [cell for cell in cells if cell in FIELDS or cell.startswith("var.")]
        if "prompt" in named and (len(named) > 1 or cells == ["prompt"]):
            return True
    return False


def _estimate(rows: list[CampaignRow], earlier: Iterable[Generation]) -> Estimate | None:
    measured = Measured(earlier)
    if measured.is_empty or not rows:
        return None
    said = (row.request.model_dump(mode="json", exclude_none=True) for row in rows)
    return measured.estimate(said)
