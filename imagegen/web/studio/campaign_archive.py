"""What one takes home of a campaign: its pictures, a contact sheet, a table of its rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from imagegen.batch import contact_sheet
from imagegen.batch.contact_sheet import SheetRow
from imagegen.campaigns.progress import Progress, RowState
from imagegen.campaigns.record import CampaignRecord
from imagegen.errors import UnknownImage
from imagegen.generation import GeneratedImage
from imagegen.generations.records import GenerationRecord

_COLUMNS = ("line", "status", "brand", "prompt", "seed", "file", "error")


def archive_name(campaign: CampaignRecord) -> str:
    """Letters and digits that every file system takes."""
    return re.sub(r"[^\w-]+", "-", campaign.name, flags=re.ASCII).strip("-") or "campaign"


def files_of(
    campaign: CampaignRecord, progress: Progress, read: Callable[[GeneratedImage], bytes]
) -> Iterator[tuple[str, bytes]]:
    """One picture in memory at a time; of one whose file is gone the sheet and the table say so.

    Raises StorageUnavailable.
    """
    folder = archive_name(campaign)
    sheet = [contact_sheet.page_head(campaign.name)]
    table: list[tuple[str, ...]] = [_COLUMNS]
    for state in progress.rows:
        request = state.row.request
        shown = SheetRow(state.row.line, state.status, request.brand, request.prompt, state.error)
        pictures = list(_pictures(state))
        for name, image in pictures:
            try:
                data = read(image)
            except UnknownImage as error:
                sheet.append(contact_sheet.card(replace(shown, error=error.detail)))
                table.append(_line(state, str(image.seed), "", error.detail))
                continue
            yield f"{folder}/{name}", data
            sheet.append(contact_sheet.card(shown, name, image))
            table.append(_line(state, str(image.seed), name, ""))
        if not pictures:
            sheet.append(contact_sheet.card(shown))
            table.append(_line(state, "", "", state.error))
    sheet.append(contact_sheet.page_tail())
    yield f"{folder}/index.html", "".join(sheet).encode()
    yield f"{folder}/rows.csv", _csv(table)


def _pictures(state: RowState) -> Iterator[tuple[str, GeneratedImage]]:
    record: GenerationRecord | None = state.record
    for index, image in enumerate(() if record is None else record.images):
        brand, ending = state.row.request.brand, image.output_format.extension
        yield f"{state.index + 1:04}-{brand}-{index}-{image.seed}.{ending}", image


def _line(state: RowState, seed: str, file: str, error: str) -> tuple[str, ...]:
    request = state.row.request
    return (
        str(state.row.line), state.status, request.brand, request.prompt, seed, file, error,
    )  # fmt: skip


def _csv(table: list[tuple[str, ...]]) -> bytes:
    """With a byte order mark, for Excel; what would be a formula there is text."""
    file = io.StringIO()
    writer = csv.writer(file)
    for row in table:
        writer.writerow([f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in row])
    return file.getvalue().encode("utf-8-sig")
