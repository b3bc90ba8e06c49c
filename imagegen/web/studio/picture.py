"""A picture's own page: its recipe, its marks, and the same once more."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from imagegen.errors import ImagegenError, MarkedMeanwhile, UnknownGeneration, UnknownImage
from imagegen.generation import GeneratedImage
from imagegen.generations.records import GenerationRecord
from imagegen.library.entries import Entry
from imagegen.library.marks import Marking
from imagegen.parsing import read_strings
from imagegen.web.auth import current_caller
from imagegen.web.caller import still_there
from imagegen.web.collaborators import Collaborators
from imagegen.web.errors import failure_of
from imagegen.web.studio.faults import with_status_of
from imagegen.web.studio.picture_view import PictureView, again, largest_difference
from imagegen.web.studio.shell import current_texts
from imagegen.web.studio.told import sentences_of

_UNSEEN = 3  # of 255: what roundings make of a picture that was rendered beside others


@dataclass(frozen=True)
class Compared:
    """The picture that this one is a repetition of, and how far both are apart."""

    generation_id: str
    index: int
    difference: int  # as `largest_difference` has it

    @property
    def is_near(self) -> bool:
        """Nobody sees that they are not the same."""
        return self.difference <= _UNSEEN


def register_picture(blueprint: Blueprint, parts: Collaborators) -> None:
    """Forms answer with a page that says what came of it."""
    pages = _Pages(parts)
    blueprint.add_app_template_filter(_thumbnail, "thumbnail_of")

    @blueprint.get("/library/<generation_id>/<int:index>")
    def picture(generation_id: str, index: int) -> ResponseReturnValue:
        return pages.picture(generation_id, index)

    @blueprint.post("/library/<generation_id>/<int:index>/mark")
    def mark(generation_id: str, index: int) -> ResponseReturnValue:
        return pages.mark(generation_id, index)

    @blueprint.post("/library/<generation_id>/<int:index>/again")
    def render_again(generation_id: str, index: int) -> ResponseReturnValue:
        """The same request, alone, for the same seed; then the page of what came of it."""
        return pages.render_again(generation_id, index)


@dataclass(frozen=True)
class _Pages:
    parts: Collaborators

    def picture(self, generation_id: str, index: int, failure: ImagegenError | None = None) -> str:
        caller, library = current_caller(), self.parts.library
        record = library.record(generation_id, index, caller)
        data = library.file(record.images[index])
        return render_template(
            "picture.html",
            view=PictureView.of(
                record,
                index,
                data,
                self.parts.catalog.seen_by(caller),
                self.parts.engine.status().model,
            ),
            drift=library.drift(record.request.brand, caller),
            marks=library.marks(generation_id, caller).images[index],
            failure=failure and sentences_of(failure_of(failure), current_texts()),
            compared=self._compared(data),
        )

    def mark(self, generation_id: str, index: int) -> ResponseReturnValue:
        marking = read_strings(Marking, request.form)
        try:
            self.parts.library.mark(generation_id, index, marking, current_caller())
        except MarkedMeanwhile as error:
            return with_status_of(error, self.picture(generation_id, index, error))
        return _to(generation_id, index)

    def render_again(self, generation_id: str, index: int) -> ResponseReturnValue:
        caller = current_caller()
        record = self.parts.library.record(generation_id, index, caller)
        try:
            started = self.parts.generations.start(again(record, index), caller)
            made = started.result(still_there(request))
        except ImagegenError as error:
            return with_status_of(error, self.picture(generation_id, index, error))
        return _to(made.id, 0, of=f"{generation_id}/{index}")

    def _compared(self, data: bytes) -> Compared | None:
        generation_id, _, index = request.args.get("of", "").partition("/")
        if not (index.isascii() and index.isdecimal()):
            return None
        library = self.parts.library
        try:
            record = library.record(generation_id, int(index), current_caller())
            other = library.file(record.images[int(index)])
        except (UnknownGeneration, UnknownImage):
            return None  # there is nothing left to compare with
        return Compared(generation_id, int(index), largest_difference(data, other))


def _thumbnail(image: GeneratedImage, record: GenerationRecord) -> str:
    [picture] = [one for one in Entry.of(record).pictures if one.seed == image.seed]
    return url_for("thumbnails.thumbnail", path=picture.path)


def _to(generation_id: str, index: int, of: str | None = None) -> ResponseReturnValue:
    url = url_for("library.picture", generation_id=generation_id, index=index, of=of)
    return redirect(url, HTTPStatus.SEE_OTHER)
