"""A ZIP of the pictures that somebody has chosen, with a contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from imagegen.batch import contact_sheet
from imagegen.batch.contact_sheet import SheetRow
from imagegen.errors import FieldError, ImagegenError, InvalidRequest, UnknownImage
from imagegen.generation import GeneratedImage
from imagegen.generations.records import GenerationRecord
from imagegen.web.auth import current_caller
from imagegen.web.collaborators import Collaborators
from imagegen.web.errors import failure_of
from imagegen.web.studio.asking import named_picture
from imagegen.web.studio.faults import fault_page, with_status_of
from imagegen.web.zip_stream import zip_response

MOST_PICTURES = 100
_NAME = "pictures"
Chosen = tuple[GenerationRecord, GeneratedImage]


def register_selection(blueprint: Blueprint, parts: Collaborators) -> None:
    """Reading wakes no renderer."""

    @blueprint.get("/studio/pictures.zip")
    def pictures() -> ResponseReturnValue:
        """Those that `picture` names, each as `gen_…/0`; faults are told on a page."""
        names = list(dict.fromkeys(request.args.getlist("picture")))
        try:
            chosen = _chosen(parts, names)  # what is not there is told before all else
        except ImagegenError as error:
            return with_status_of(error, fault_page(failure_of(error), "told.choose"))
        return zip_response(_NAME, _files(chosen, parts.library.file))


def _chosen(parts: Collaborators, names: list[str]) -> list[Chosen]:
    if not 0 < len(names) <= MOST_PICTURES:
        raise InvalidRequest(FieldError("picture", f"must be said 1 to {MOST_PICTURES} times"))
    return [_found(parts, name) for name in names]


def _found(parts: Collaborators, name: str) -> Chosen:
    generation_id, index = named_picture("picture", name)
    record = parts.library.record(generation_id, index, current_caller())
    return record, record.images[index]


def _files(
    chosen: list[Chosen], read: Callable[[GeneratedImage], bytes]
) -> Iterator[tuple[str, bytes]]:
    """One picture in memory at a time; of one whose file is gone the sheet says so."""
    sheet = [contact_sheet.page_head(_NAME)]
    for number, (record, image) in enumerate(chosen, 1):
        brand = record.request.brand
        name = f"{number:03}-{brand}-{image.seed}.{image.output_format.extension}"
        row = SheetRow(number, record.status, brand, record.request.prompt, "")
        try:
            data = read(image)
        except UnknownImage as error:
            sheet.append(contact_sheet.card(replace(row, error=error.detail)))
            continue
        yield f"{_NAME}/{name}", data
        sheet.append(contact_sheet.card(row, name, image))
    sheet.append(contact_sheet.page_tail())
    yield f"{_NAME}/index.html", "".join(sheet).encode()
